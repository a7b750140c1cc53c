/**
 * Orders in a trace that a crash can break, and syncs that do nothing, found in one pass without
 * running a check on anything. SPEC.md, Lints, has the rule of each. What is remembered is what is
 * not forced at the moment, so memory does not grow with the trace.
 *
 * An epoch ends with whatever relies on what came before it: a printed line, a rename, a force of
 * any file. What the kernel writes back after the workload's end is not looked at.
 */
import { type CallText, CallTexts } from '../../trace/call_text.js';
import type {
  CallEvent,
  FenceEvent,
  FlushEvent,
  ForceEvent,
  MetadataEvent,
  StoreEvent,
  TraceEvent,
} from '../../trace/event.js';
import type { TraceSource } from '../../trace/source.js';
import { PAGE_BYTES, pageOf } from '../../units.js';
import { MappedLines } from './mapped_lines.js';
import type { LintFinding, LintName } from '../result/result.js';
import { RunTimeState } from './run_time_state.js';
import { UnforcedRanges } from './unforced_ranges.js';

/** Different findings; what comes after them only counts where it repeats one. */
const FINDINGS_MAX = 1000;
const LINE_SHOWN_MAX = 60;
const SEVERITIES = ['error', 'warning', 'note'] as const;
type Severity = (typeof SEVERITIES)[number];

/** The worst first, in the order of the trace; repeats of (lint, path, operation) are one. */
export function lint(source: TraceSource): LintFinding[] {
  const linter = new Linter(source);
  let position = 0;
  for (const event of source.events()) {
    if (event.type === 'workload-end') break;
    linter.take(event, position);
    position++;
  }
  return linter.finish();
}

interface OpenCall {
  call: CallEvent;
  position: number;
  /** With the names of when it was first asked for; callText() makes it. */
  text?: CallText;
  /** Its bytes are among the unforced ranges. */
  isStored?: boolean;
}

/** A change that nothing has forced since. */
interface Pending {
  text: CallText;
  epoch: number;
  /** Of its last event: forces after it may cover it. */
  position: number;
}

interface PendingName extends Pending {
  /** The directory had the name when it was last forced. */
  wasThere: boolean;
}

interface FileState {
  ino: number;
  data: Pending | undefined;
  /** Whatever fdatasync need not save: attributes, xattrs, the names in a directory. */
  hasChangedAttributes: boolean;
  /** A program stored through a mapping: a sync may have been meant for that. */
  hasMappedStores: boolean;
  ranges: UnforcedRanges;
  /** Position of the last force; undefined: none in this trace. */
  forcedAt: number | undefined;
}

class Linter {
  private readonly texts: CallTexts;
  /** Calls that have not returned. */
  private readonly calls = new Map<number, OpenCall>();
  private readonly files = new Map<number, FileState>();
  /** By directory and name. */
  private readonly names = new Map<number, Map<string, PendingName>>();
  private readonly mapped = new MappedLines<OpenCall>();
  private readonly runTimeState: RunTimeState;
  /** What no printed line has been compared with. */
  private readonly newData = new Set<FileState>();
  private readonly newNames = new Set<PendingName>();
  private readonly findings = new Map<string, LintFinding>();
  private lastForcePosition = -1;
  private epoch = 0;

  constructor(source: TraceSource) {
    this.texts = new CallTexts(source.base);
    this.runTimeState = new RunTimeState(source.base, this.texts.places);
  }

  take(event: TraceEvent, position: number): void {
    switch (event.type) {
      case 'call':
        this.calls.set(event.callId, { call: this.texts.located(event), position });
        return;
      case 'return':
        this.calls.delete(event.callId);
        return;
      case 'store':
        this.stored(event, position);
        return;
      case 'flush':
        this.flushed(event);
        return;
      case 'fence':
        this.fenced(event);
        return;
      case 'canary':
        this.mapped.freed(event.page * PAGE_BYTES, event.pageCount * PAGE_BYTES);
        return;
      case 'metadata':
        this.changed(event, position);
        this.texts.observe(event);
        return;
      case 'force':
        this.forced(event, position);
        return;
      case 'commit':
        // MAP_SYNC: a page may be stored to once everything that shows it is durable.
        if (this.calls.get(event.callId)?.call.operation === 'DAX_FAULT') this.coverAll(position);
        return;
      case 'output':
        if (event.stream === 'stdout') this.printed(event.lines);
        return;
      default:
        this.texts.observe(event);
    }
  }

  /** Names that are left when the workload ended. */
  finish(): LintFinding[] {
    for (const pending of this.newNames) {
      const isRemoval = ['UNLINK', 'RMDIR'].includes(pending.text.operation);
      const isForced = this.lastForcePosition > pending.position;
      this.nameNotSynced(pending, isRemoval || isForced ? 'note' : 'warning', 'the end');
    }
    return [...this.findings.values()].sort(
      (a, b) =>
        SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) ||
        a.call.position - b.call.position,
    );
  }

  // Changes

  private stored({ callId, offset: at, bytes, isFlushed }: StoreEvent, position: number): void {
    const open = this.calls.get(callId);
    if (open?.call.operation === 'DAX_STORE') {
      const { ino, offset = 0 } = open.call;
      this.runTimeState.stored(ino, offset, bytes);
      if (this.runTimeState.has(ino, offset)) return;
      this.mapped.stored(at, bytes.length, open);
      this.file(ino).hasMappedStores = true;
      return;
    }
    if (isFlushed) this.mapped.overwritten(at, bytes.length);
    const ino = open === undefined ? undefined : storedIno(open.call);
    if (open === undefined || ino === undefined) return;
    const file = this.file(ino);
    this.dataChanged(file, open, position);
    // When the bytes of a mapping were stored is not known: only that it was before.
    if (open.isStored === true || open.call.isWriteback === true) return;
    open.isStored = true;
    const { offset, lengthBytes } = open.call;
    if (offset === undefined || lengthBytes === undefined) return;
    const [from, to] = [offset, offset + lengthBytes];
    const older = file.ranges.findOlder(from, to, this.epoch);
    if (older !== undefined && this.texts.paths.isNamed(ino))
      this.overwritten(open, older.position);
    file.ranges.add({ from, to, epoch: this.epoch, position: open.position });
  }

  private dataChanged(file: FileState, open: OpenCall, position: number): void {
    if (file.data?.epoch === this.epoch) {
      file.data.position = position;
      return;
    }
    file.data = { text: this.callText(open), epoch: this.epoch, position };
    this.newData.add(file);
  }

  private changed(event: MetadataEvent, position: number): void {
    const { record } = event;
    const open = this.calls.get(event.callId);
    switch (record.type) {
      case 'add-name':
      case 'remove-name':
      case 'replace-name':
        if (open !== undefined) this.nameChanged(record, open, position);
        return;
      case 'remove-inode': {
        const file = this.files.get(record.ino);
        if (file !== undefined) this.newData.delete(file);
        this.files.delete(record.ino);
        return;
      }
      case 'map':
      case 'unmap':
      case 'shift':
        if (open !== undefined) this.dataChanged(this.file(record.ino), open, position);
        return;
      case 'set-inode': {
        const keys = Object.keys(record.patch).filter((key) => !/^[amc]time/.test(key));
        if (keys.length === 0) return;
        const isData = keys.includes('sizeBytes') && open !== undefined;
        if (isData) this.dataChanged(this.file(record.ino), open, position);
        if (!isData || keys.length > 1) this.file(record.ino).hasChangedAttributes = true;
        return;
      }
      case 'end-operation':
        return;
      default:
        this.file(record.ino).hasChangedAttributes = true;
    }
  }

  private nameChanged(
    record: { type: string; parentIno: number; name: string; ino?: number },
    open: OpenCall,
    position: number,
  ): void {
    const { parentIno, name, ino } = record;
    this.file(parentIno).hasChangedAttributes = true;
    const text = this.callText(open);
    const directory = this.names.get(parentIno) ?? new Map<string, PendingName>();
    this.names.set(parentIno, directory);
    const old = directory.get(name);
    if (old !== undefined) this.newNames.delete(old);
    const wasThere = old?.wasThere ?? record.type !== 'add-name';
    if (record.type === 'remove-name' && !wasThere) {
      // It came and went between two forces: no crash shows the difference for good.
      directory.delete(name);
      return;
    }
    const pending = { text, epoch: this.epoch, position, wasThere };
    directory.set(name, pending);
    this.newNames.add(pending);
    if (ino === undefined || !open.call.operation.startsWith('RENAME')) return;
    const data = this.files.get(ino)?.data;
    if (data !== undefined) this.renamedBeforeData(text, data, record.type === 'replace-name');
    this.epoch++;
  }

  // Forces

  private forced(event: ForceEvent, position: number): void {
    const { ino, kind } = event;
    const isDataOnly = kind === 'fdatasync' || kind === 'odsync';
    if (kind === 'syncfs' || ino === 0) {
      this.coverAll(position);
    } else {
      const file = this.file(ino);
      const isData = file.data !== undefined || file.hasMappedStores;
      const isNeeded = isData || (!isDataOnly && file.hasChangedAttributes);
      if (!isNeeded) this.redundant(event.callId, file.forcedAt);
      this.coverFile(file, isDataOnly, position);
      if (kind === 'fsyncdir') this.coverNames(ino);
    }
    this.lastForcePosition = position;
    this.epoch++;
  }

  private coverAll(position: number): void {
    for (const file of this.files.values()) this.coverFile(file, false, position);
    for (const directory of [...this.names.keys()]) this.coverNames(directory);
  }

  private coverFile(file: FileState, isDataOnly: boolean, position: number): void {
    file.data = undefined;
    this.newData.delete(file);
    file.hasMappedStores = false;
    file.ranges.clear();
    if (!isDataOnly) file.hasChangedAttributes = false;
    file.forcedAt = position;
  }

  private coverNames(directoryIno: number): void {
    for (const pending of this.names.get(directoryIno)?.values() ?? []) {
      this.newNames.delete(pending);
    }
    this.names.delete(directoryIno);
  }

  private flushed({ callId, offset, lengthBytes, thread }: FlushEvent): void {
    const wasNeeded = this.mapped.flush(offset, lengthBytes, thread);
    const open = this.calls.get(callId);
    if (wasNeeded || open?.call.operation !== 'DAX_FLUSH') return;
    const text = this.callText(open);
    const what = `${text.text} has nothing to do: nothing there changed since it was flushed last`;
    this.found('redundant-flush', 'note', text, what);
  }

  private fenced({ callId, thread }: FenceEvent): void {
    const wasNeeded = this.mapped.fence(thread);
    const open = this.calls.get(callId);
    if (wasNeeded || open?.call.operation !== 'DAX_DRAIN') return;
    const text = this.callText(open);
    const what = `${text.text} has nothing to do: its thread flushed nothing since its last drain`;
    this.found('redundant-drain', 'note', text, what);
  }

  // Findings

  /** Whoever reads the line relies on all that came before it. */
  private printed(lines: string[]): void {
    const line = lines[0] ?? '';
    const shown = line.length > LINE_SHOWN_MAX ? `${line.slice(0, LINE_SHOWN_MAX)}...` : line;
    for (const file of this.newData) {
      if (!this.texts.paths.isNamed(file.ino)) continue;
      this.newData.delete(file);
      this.acknowledgedData(file.data!, shown);
    }
    for (const { store, isFlushed } of this.mapped.unread()) {
      if (this.texts.paths.isNamed(store.call.ino)) this.acknowledgedStore(store, isFlushed, shown);
    }
    const calls = new Set<number>();
    for (const pending of this.newNames) {
      // A rename changes two names.
      if (calls.has(pending.text.callId)) continue;
      calls.add(pending.text.callId);
      if (this.lastForcePosition > pending.position) {
        this.nameNotSynced(pending, 'note', `'${shown}' was printed`);
      } else {
        const what = `'${shown}' was printed before ${pending.text.text} was durable`;
        const how = 'fsync its directory first';
        this.found('acknowledged-before-durable', 'error', pending.text, `${what}: ${how}`);
      }
    }
    this.newNames.clear();
    this.epoch++;
  }

  private acknowledgedData(data: Pending, line: string): void {
    const { text } = data;
    const isForced = this.lastForcePosition > data.position;
    const but = isForced ? ', though another file was forced after it' : '';
    const what = `'${line}' was printed before ${text.text} was durable${but}`;
    const severity = isForced ? 'warning' : 'error';
    const how = `fsync ${storedPath(text)} first`;
    this.found('acknowledged-before-durable', severity, text, `${what}: ${how}`);
  }

  private acknowledgedStore(open: OpenCall, isFlushed: boolean, line: string): void {
    const text = this.callText(open);
    const what = `'${line}' was printed before ${text.text} was durable`;
    const how = isFlushed
      ? 'it was flushed, and the thread that did it has to drain first'
      : 'flush and drain it first (pmem_persist), or msync';
    this.found('acknowledged-before-durable', 'error', text, `${what}: ${how}`);
  }

  private renamedBeforeData(rename: CallText, data: Pending, replaces: boolean): void {
    const severity = replaces ? 'error' : 'warning';
    const lost = replaces ? 'both the old and the new content' : 'the content';
    const what = `${rename.text} while ${data.text.text} was not durable: a crash may lose ${lost}`;
    const how = `fsync ${rename.path} before the rename`;
    this.found('rename-before-data', severity, rename, `${what}: ${how}`);
  }

  private nameNotSynced(pending: Pending, severity: Severity, before: string): void {
    const { text } = pending;
    const what = `the directory was not forced between ${text.text} and ${before}`;
    const covered =
      this.lastForcePosition > pending.position
        ? ': a force of a file came between, which saves names on ext4 and xfs; ' +
          'only POSIX asks for more'
        : ': a crash may undo it: fsync the directory';
    this.found('name-not-synced', severity, text, what + covered);
  }

  private overwritten(open: OpenCall, firstPosition: number): void {
    const text = this.callText(open);
    const first = `what was stored at position ${firstPosition}`;
    const what = `${text.text} overwrites ${first}, which others rely on and nothing has forced`;
    const how = 'a crash may leave either or a mixture: fsync between the two';
    this.found('overwrite-before-durable', 'warning', text, `${what}: ${how}`);
  }

  private redundant(callId: number, forcedAt: number | undefined): void {
    const open = this.calls.get(callId);
    // A write with O_SYNC and its like force by themselves: nobody asked for that apart.
    if (open === undefined || !open.call.operation.startsWith('FSYNC')) return;
    const text = this.callText(open);
    const since = forcedAt === undefined ? 'the start' : `the last force at position ${forcedAt}`;
    const what = `${text.text} has nothing to do: nothing was stored or changed since ${since}`;
    this.found('redundant-sync', 'note', text, what);
  }

  private found(name: LintName, severity: Severity, call: CallText, text: string): void {
    const path = storedPath(call);
    // Libraries have state of their own in a mapping: it must not hide what the program forgot.
    const page = call.operation === 'DAX_STORE' ? pageOf(call.offset ?? 0) : '';
    const key = `${name}\0${path}\0${call.operation}\0${page}`;
    const known = this.findings.get(key);
    if (known === undefined) {
      if (this.findings.size >= FINDINGS_MAX) return;
      this.findings.set(key, { lint: name, severity, text, path, call, count: 1 });
      return;
    }
    known.count++;
    if (SEVERITIES.indexOf(severity) >= SEVERITIES.indexOf(known.severity)) return;
    Object.assign(known, { severity, text, call });
  }

  // What is known

  private file(ino: number): FileState {
    let file = this.files.get(ino);
    if (file === undefined) {
      const ranges = new UnforcedRanges();
      const changed = { data: undefined, hasChangedAttributes: false, hasMappedStores: false };
      file = { ino, ...changed, ranges, forcedAt: undefined };
      this.files.set(ino, file);
    }
    return file;
  }

  private callText(open: OpenCall): CallText {
    open.text ??= this.texts.of(open.call, open.position);
    return open.text;
  }
}

/** The file whose bytes a call stores; undefined for calls that store none. */
function storedIno(call: CallEvent): number | undefined {
  switch (call.operation) {
    case 'COPY_FILE_RANGE':
    case 'COPY_FILE_RANGE_64':
      return call.ino2;
    case 'WRITE':
    case 'FALLOCATE':
    case 'SETATTR':
    case 'OPEN':
      return call.ino;
    default:
      return undefined;
  }
}

/** What a call changes: the new name of a rename or a link, the target of a copy. */
function storedPath(text: CallText): string {
  return text.path2 ?? text.path;
}
