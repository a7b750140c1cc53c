/**
 * The models `eadr`, `sector` and `posix` told once more from SPEC.md, slowly: every set of lost
 * operations tried against the rules, every page copied, every sector with all its values. What the
 * real ones are compared with, on traces of a few operations.
 */
import { canaryPage } from '../../lib/canary.js';
import { UNWRITTEN, WRITTEN } from '../../lib/space/extent_list.js';
import type { TraceEvent } from '../../lib/trace/event.js';
import type { TraceSource } from '../../lib/trace/source.js';
import { LINE_BYTES, PAGE_BYTES } from '../../lib/units.js';
import { type PageId, PlainFiles, type PlainOperation } from './plain_files.js';

const SECTOR_BYTES = 512;
const ZEROES = '\0'.repeat(PAGE_BYTES);
const DATA_CALLS = ['WRITE', 'FALLOCATE', 'COPY_FILE_RANGE'];

/** Of one position; others are left out. */
const STATES_MAX = 300;
const OPERATIONS_MAX = 8;

export class TooManyStates extends Error {}

/** A page's contents, oldest first: what is durable, then what each store made of it. */
type Values = { position: number; bytes: string }[];

/** What a trace did up to a position. */
class History {
  readonly operations: PlainOperation[] = [];
  committed = 0;
  readonly calls = new Map<number, string>();
  readonly pages = new Map<string, Values>();
  readonly files = new PlainFiles();
  /** Forces, with the number of operations before each. */
  readonly forces: { ino: number | undefined; count: number }[] = [];
  private readonly uses = new Map<number, number>();
  private freed: string[] = [];
  private group: PlainOperation | undefined;

  constructor(
    private readonly source: TraceSource,
    end: number,
    /** Each use of a region page is a page of its own, which was zero. */
    private readonly hasUses: boolean,
    /** A force leaves nothing of its file undecided. */
    private readonly forcesPages: boolean,
  ) {
    for (const [index, event] of [...source.events()].slice(0, end).entries()) {
      this.take(event, index + 1);
    }
  }

  pageId: PageId = (page) => (this.hasUses ? `${page}.${this.uses.get(page) ?? 0}` : `${page}`);

  valuesOf(id: string): Values {
    let values = this.pages.get(id);
    if (values === undefined) {
      const base = Buffer.from(this.source.base.page(Number.parseInt(id, 10))).toString('latin1');
      values = [{ position: 0, bytes: this.hasUses ? ZEROES : base }];
      this.pages.set(id, values);
    }
    return values;
  }

  private take(event: TraceEvent, position: number): void {
    if (event.type === 'call') this.calls.set(event.callId, event.operation);
    if (event.type === 'store') this.store(event.offset, event.bytes, position);
    if (event.type === 'canary' && !this.hasUses) {
      for (let page = event.page; page < event.page + event.pageCount; page++) {
        const bytes = canaryPage(Buffer.alloc(PAGE_BYTES), page, event.ownerIno).toString('latin1');
        this.pages.set(`${page}`, [{ position, bytes }]);
      }
    }
    if (event.type === 'metadata') this.record(event, position);
    if (event.type === 'commit') {
      this.end(position);
      this.committed = this.operations.length;
      for (const id of new Set(this.freed)) {
        const page = Number.parseInt(id, 10);
        if (this.pageId(page) === id) this.uses.set(page, (this.uses.get(page) ?? 0) + 1);
      }
      this.freed = [];
    }
    if (event.type === 'force') this.force(event.kind === 'syncfs' ? undefined : event.ino);
  }

  private store(offset: number, bytes: Uint8Array, position: number): void {
    const text = Buffer.from(bytes).toString('latin1');
    for (let at = 0; at < text.length; ) {
      const page = Math.floor((offset + at) / PAGE_BYTES);
      const from = (offset + at) % PAGE_BYTES;
      const part = text.slice(at, at + PAGE_BYTES - from);
      const values = this.valuesOf(this.pageId(page));
      const old = values.at(-1)!.bytes;
      const next = old.slice(0, from) + part + old.slice(from + part.length);
      values.push({ position, bytes: next });
      at += part.length;
    }
  }

  private record(event: TraceEvent & { type: 'metadata' }, position: number): void {
    const { record, callId } = event;
    if (record.type === 'end-operation') {
      this.end(position);
      return;
    }
    this.group ??= {
      number: this.operations.length,
      callId,
      position,
      records: [],
      before: this.files.copy(),
      after: this.files,
      pageId: this.pageId,
    };
    this.group.records.push(record);
    const before = this.pagesOf();
    this.files.apply(record, this.pageId);
    const after = this.pagesOf();
    for (const id of before) if (!after.has(id)) this.freed.push(id);
  }

  private pagesOf(): Set<string> {
    const ids = [...this.files.inodes.values()].flatMap(({ pages }) => [...pages.values()]);
    return new Set(ids.map(({ id }) => id));
  }

  private end(position: number): void {
    if (this.group === undefined) return;
    const uses = new Map(this.uses);
    const pageId: PageId = (page) => (this.hasUses ? `${page}.${uses.get(page) ?? 0}` : `${page}`);
    this.operations.push({ ...this.group, position, after: this.files.copy(), pageId });
    this.group = undefined;
  }

  private force(ino: number | undefined): void {
    this.forces.push({ ino, count: this.operations.length });
    if (!this.forcesPages) return;
    const own = [...(this.files.inodes.get(ino ?? 0)?.pages.values() ?? [])].map(({ id }) => id);
    for (const id of ino === undefined ? [...this.pages.keys()] : own) {
      this.pages.set(id, [this.valuesOf(id).at(-1)!]);
    }
  }
}

export function eadrStates(source: TraceSource, position: number): Set<string> {
  const history = new History(source, position, false, false);
  const last = [...source.events()][position - 1];
  const found = new Set<string>();
  for (let kept = history.committed; kept <= history.operations.length; kept++) {
    const files = replay(history.operations, (number) => number < kept);
    const isStore = last?.type === 'store';
    const firstLine = isStore ? Math.floor(last.offset / LINE_BYTES) : 0;
    const endLine = isStore ? Math.ceil((last.offset + last.bytes.length) / LINE_BYTES) : 0;
    for (let cut = firstLine; cut <= endLine; cut++) {
      const bytesOf = (id: string) => {
        const values = history.valuesOf(id);
        const whole = values.at(-1)!;
        if (!isStore || whole.position !== position) return whole.bytes;
        const bytes = Math.max(0, Math.min(PAGE_BYTES, cut * LINE_BYTES - Number(id) * PAGE_BYTES));
        return whole.bytes.slice(0, bytes) + values.at(-2)!.bytes.slice(bytes);
      };
      found.add(files.seen(bytesOf));
    }
  }
  return found;
}

export function sectorStates(source: TraceSource, position: number): Set<string> {
  const history = new History(source, position, false, true);
  const { operations, committed } = history;
  const lateFiles = operations.map((operation) => lateFile(history, operation));
  const isForced = (number: number) =>
    history.forces.some(({ ino, count }) => {
      return count > number && (ino === undefined || ino === lateFiles[number]);
    });
  const undecided = operations.filter(({ number }) =>
    lateFiles[number] === undefined ? number >= committed : !isForced(number),
  );
  const isAllowed = (lost: ReadonlySet<number>) => {
    const firstJournaled = undecided.find(
      ({ number }) => lateFiles[number] === undefined && lost.has(number),
    );
    return undecided.every(({ number }) => {
      if (lost.has(number)) return true;
      if (firstJournaled !== undefined && number > firstJournaled.number) return false;
      const isSame = (other: number) => lateFiles[other] === lateFiles[number];
      return [...lost].every((other) => !isSame(other) || other > number);
    });
  };
  const floorOf = (id: string, sector: number, lost: ReadonlySet<number>) => {
    let floor = 0;
    for (const operation of operations) {
      if (!lost.has(operation.number) && orders(operation, id, sector)) floor = operation.position;
    }
    return floor;
  };
  return statesOf(history, undecided, isAllowed, floorOf);
}

export function posixStates(source: TraceSource, position: number): Set<string> {
  const history = new History(source, position, true, true);
  const undecided = history.operations.filter((operation) => {
    const subjects = posixSubjects(operation);
    return !history.forces.some(({ ino, count }) => {
      return count > operation.number && (ino === undefined || subjects.has(ino));
    });
  });
  return statesOf(
    history,
    undecided,
    () => true,
    () => 0,
  );
}

/** Whose force makes an operation durable. */
function posixSubjects({ records }: PlainOperation): Set<number> {
  const names = records.flatMap((record) => ('parentIno' in record ? [record.parentIno] : []));
  if (names.length > 0) return new Set(names);
  const data = records.flatMap((record) => {
    const isSize = record.type === 'set-inode' && record.patch.sizeBytes !== undefined;
    return isSize || record.type === 'map' || record.type === 'unmap' ? [record.ino] : [];
  });
  if (data.length > 0) return new Set(data);
  return new Set(records.flatMap((record) => ('ino' in record ? [record.ino] : [])));
}

/** The file of a late operation; undefined of a journaled one. */
function lateFile(history: History, operation: PlainOperation): number | undefined {
  const { records, before, callId } = operation;
  const call = history.calls.get(callId);
  if (call !== undefined && !DATA_CALLS.includes(call)) return undefined;
  const inos = new Set<number>();
  let isLate = false;
  for (const record of records) {
    if (record.type === 'set-inode') {
      const fields = Object.keys(record.patch).join(' ');
      if (/nlink|uid|gid|flags|projectId|parentIno|target|rdev/.test(fields)) return undefined;
      if (record.patch.sizeBytes !== undefined && call !== undefined) isLate = true;
    } else if (record.type === 'map') {
      for (let index = 0; index < record.pageCount; index++) {
        const old = before.inodes.get(record.ino)?.pages.get(record.filePage + index);
        if (old === undefined) continue;
        const isSame = old.id === operation.pageId(record.regionPage + index);
        if (!isSame || record.state === UNWRITTEN) return undefined;
      }
      isLate = true;
    } else {
      return undefined;
    }
    inos.add(record.ino);
  }
  return isLate && inos.size === 1 ? [...inos][0] : undefined;
}

/** Whether what a sector held when the operation ended is durable when the operation is kept. */
function orders(operation: PlainOperation, id: string, sector: number): boolean {
  const { records, before, after, pageId } = operation;
  for (const record of records) {
    if (record.type === 'map' && record.state === WRITTEN) {
      for (let index = 0; index < record.pageCount; index++) {
        if (pageId(record.regionPage + index) === id) return true;
      }
    }
    if (record.type !== 'set-inode' || record.patch.sizeBytes === undefined) continue;
    const from = before.inodes.get(record.ino)?.sizeBytes ?? 0;
    const inode = after.inodes.get(record.ino);
    for (const [page, mapped] of inode?.pages ?? []) {
      if (mapped.id !== id || !mapped.isWritten) continue;
      const start = page * PAGE_BYTES + sector * SECTOR_BYTES;
      if (start < inode!.sizeBytes && start + SECTOR_BYTES > from && inode!.sizeBytes > from) {
        return true;
      }
    }
  }
  return false;
}

function replay(operations: PlainOperation[], isKept: (number: number) => boolean): PlainFiles {
  const files = new PlainFiles();
  operations.forEach((operation, index) => {
    if (isKept(operation.number) && files.applyWhole(operation)) return;
    const later = operations.slice(index + 1).filter(({ number }) => isKept(number));
    const records = later.flatMap((one) => one.records);
    const named = records.flatMap((record) =>
      record.type === 'add-name' || record.type === 'replace-name' ? [record.ino] : [],
    );
    files.imply(operation, new Set(named));
  });
  return files;
}

function statesOf(
  history: History,
  undecided: PlainOperation[],
  isAllowed: (lost: ReadonlySet<number>) => boolean,
  floorOf: (id: string, sector: number, lost: ReadonlySet<number>) => number,
): Set<string> {
  if (undecided.length > OPERATIONS_MAX) throw new TooManyStates();
  const found = new Set<string>();
  let tried = 0;
  for (let bits = 0; bits < 2 ** undecided.length; bits++) {
    const gone = undecided.filter((_, index) => (bits >> index) & 1).map(({ number }) => number);
    const lost = new Set(gone);
    if (!isAllowed(lost)) continue;
    const files = replay(history.operations, (number) => !lost.has(number));
    const open: { id: string; sector: number; values: string[] }[] = [];
    for (const [id, shownBytes] of files.shown()) {
      for (let sector = 0; sector * SECTOR_BYTES < shownBytes; sector++) {
        const values = sectorValues(history.valuesOf(id), sector, floorOf(id, sector, lost));
        open.push({ id, sector, values });
      }
    }
    const count = open.reduce((product, { values }) => product * values.length, 1);
    tried += count;
    if (tried > STATES_MAX) throw new TooManyStates();
    for (let number = 0; number < count; number++) {
      const pages = new Map<string, string>();
      let rest = number;
      for (const { id, values } of open) {
        pages.set(id, (pages.get(id) ?? '') + values[rest % values.length]!);
        rest = Math.floor(rest / values.length);
      }
      found.add(files.seen((id) => (pages.get(id) ?? '').padEnd(PAGE_BYTES, '\0')));
    }
  }
  return found;
}

/** Different ones, from the one that stores up to `floor` left on. */
function sectorValues(values: Values, sector: number, floor: number): string[] {
  const first = Math.max(
    0,
    values.findLastIndex(({ position }) => position <= floor),
  );
  const parts = values
    .slice(first)
    .map(({ bytes }) => bytes.slice(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES));
  return [...new Set(parts)];
}
