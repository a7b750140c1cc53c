/**
 * All states of one crash point that share their metadata: which pages they show, which units of
 * data are undecided there, which values each may have. A state is the ground plus the units that
 * its choice names; every other unit has its newest or its durable value.
 *
 * Value 0 of a unit is its durable value; value n is what it holds after the n-th store to it since
 * then that changed it. With torn words, value 8 i + w is value i with its first w words (of 8
 * bytes) taken from value i + 1.
 */
import assert from 'node:assert/strict';
import { LINE_BYTES, LINES_PER_PAGE } from '../../units.js';
import type { Catalog, Place } from '../fold/catalog.js';
import type { StateChoice } from '../choice.js';
import type { MetadataPlan } from '../fold/database_store.js';
import type { Fold } from '../fold/fold.js';
import { addCatalogs, addPage, type Sum } from './image_hash.js';
import type { DataSpace, LineUnit } from '../models/model.js';
import {
  type Entry,
  applyEntries,
  applyEntry,
  type PageMoment,
  touches,
} from '../fold/page_history.js';
import type { FloorRule } from '../models/persistence.js';

const WORD_BYTES = 8;
const WORDS_PER_LINE = LINE_BYTES / WORD_BYTES;

/** The newest metadata with its sum over durable pages and, found when it is asked for, newest ones. */
export interface Anchor {
  readonly sum: Sum;
  readonly catalog: Catalog;
  readonly newest: { sum: Sum | undefined };
}

export interface GroundParts {
  readonly position: number;
  readonly catalog: Catalog;
  readonly plan: MetadataPlan;
  readonly floor: FloorRule;
  /** Lines that are kept or lost together. */
  readonly unitLines: number;
  readonly order: DataSpace['order'];
  readonly tornBytes: 8 | undefined;
  /** Pages with undecided stores at the position, ascending. */
  readonly undecidedPages: readonly number[];
  readonly anchor: Anchor;
  /** Which page of the fold a region page of the state shows, and the other way round. */
  readonly pageKey: (regionPage: number) => number;
  readonly regionPage: (pageKey: number) => number;
}

export class Ground {
  private readonly contents = { newest: new Map(), durable: new Map() } as Record<
    StateChoice['otherLines'],
    Map<number, Uint8Array>
  >;
  private readonly sums: Partial<Record<StateChoice['otherLines'], Sum>> = {};
  private space: DataSpace | undefined;

  constructor(
    private readonly fold: Fold,
    readonly parts: GroundParts,
  ) {}

  /** Units that the metadata shows and that have more than one value. */
  data(): DataSpace {
    this.space ??= { units: this.findUnits(), order: this.parts.order };
    return this.space;
  }

  /** Of the value counts of all undecided units, whether this metadata shows them or not. */
  valueProduct(): bigint {
    let product = 1n;
    for (const page of this.parts.undecidedPages) {
      const moment = this.moment(page);
      for (let line = 0; line < LINES_PER_PAGE; line += this.parts.unitLines) {
        const { bytes, callIds } = this.values(page, moment, line);
        const { valueCount } = this.numbered(bytes.length, callIds);
        if (valueCount > 1) product *= BigInt(valueCount);
      }
    }
    return product;
  }

  /** A page in which no unit is named. */
  page(page: number, otherLines: StateChoice['otherLines']): Uint8Array {
    const contents = this.contents[otherLines];
    let bytes = contents.get(page);
    if (bytes === undefined) {
      bytes = this.makePage(page, otherLines);
      contents.set(page, bytes);
    }
    return bytes;
  }

  /** A page with values of its units by their first line. */
  pageWith(
    page: number,
    otherLines: StateChoice['otherLines'],
    named: ReadonlyMap<number, number>,
  ): Uint8Array {
    const bytes = Uint8Array.prototype.slice.call(this.page(page, otherLines));
    const moment = this.moment(page);
    for (const [line, value] of named) {
      const lineInPage = line % LINES_PER_PAGE;
      const values = this.values(page, moment, lineInPage).bytes;
      bytes.set(unitValue(values, value, this.parts.tornBytes), lineInPage * LINE_BYTES);
    }
    return bytes;
  }

  places(page: number): Place[] {
    return this.parts.catalog.places(page, this.fold.owners.candidates(page));
  }

  /** The sum of the state in which no unit is named. */
  sum(otherLines: StateChoice['otherLines']): Sum {
    const known = this.sums[otherLines];
    if (known !== undefined) return known;
    const { anchor, catalog } = this.parts;
    // No choice changes what the newest bytes of a page are: found once for all grounds of a point.
    const isNewest = otherLines === 'newest';
    const start = (isNewest ? anchor.newest.sum : undefined) ?? this.sumOverPages(otherLines);
    if (isNewest) anchor.newest.sum = start;
    const sum = start.slice();
    addCatalogs(sum, anchor.catalog, catalog, (page) => this.page(page, otherLines));
    this.sums[otherLines] = sum;
    return sum;
  }

  /** Of the anchor's metadata. */
  private sumOverPages(otherLines: StateChoice['otherLines']): Sum {
    const { anchor } = this.parts;
    const sum = anchor.sum.slice();
    for (const page of this.parts.undecidedPages) {
      const places = anchor.catalog.places(page, this.fold.owners.candidates(page));
      if (places.length === 0) continue;
      addPage(sum, places, this.moment(page).durable, this.page(page, otherLines));
    }
    return sum;
  }

  private moment(page: number): PageMoment {
    return this.fold.pages.at(page, this.parts.position);
  }

  private makePage(page: number, otherLines: StateChoice['otherLines']): Uint8Array {
    const moment = this.moment(page);
    const { durable, entries } = moment;
    if (entries.length === 0) return durable;
    const { durableAt } = moment;
    if (otherLines === 'newest') return newestPage(moment);
    const floors: number[] = [];
    for (let line = 0; line < LINES_PER_PAGE; line++) {
      floors.push(this.parts.floor(page, moment, line));
    }
    if (floors.every((floor, line) => floor <= durableAt(line))) return durable;
    const last = entries.at(-1)!.position;
    if (floors.every((floor) => floor >= last)) return newestPage(moment);
    const bytes = Uint8Array.prototype.slice.call(durable);
    applyEntries(bytes, entries, durableAt, (line) => floors[line]!);
    return bytes;
  }

  private findUnits(): LineUnit[] {
    const units: LineUnit[] = [];
    const { unitLines } = this.parts;
    for (const page of this.parts.undecidedPages) {
      const [place] = this.places(page);
      if (place === undefined) continue;
      const moment = this.moment(page);
      const endLine = Math.ceil(place.visibleBytes / LINE_BYTES);
      for (let line = 0; line < endLine; line += unitLines) {
        const { bytes, callIds } = this.values(page, moment, line);
        if (bytes.length < 2) continue;
        units.push({
          line: this.parts.regionPage(page) * LINES_PER_PAGE + line,
          lineCount: unitLines,
          ...this.numbered(bytes.length, callIds),
          ino: place.inode.ino,
          filePage: place.filePage,
        });
      }
    }
    return units.sort((a, b) => a.line - b.line);
  }

  private numbered(count: number, callIds: number[]) {
    if (this.parts.tornBytes === undefined) return { valueCount: count, callIds };
    const torn = callIds.flatMap((callId) => Array<number>(WORDS_PER_LINE).fill(callId));
    return { valueCount: torn.length + 1, callIds: torn };
  }

  /** Values of the unit that starts at a line, oldest first; callIds[i] stored value i + 1. */
  private values(
    page: number,
    moment: PageMoment,
    firstLine: number,
  ): { bytes: Uint8Array[]; callIds: number[] } {
    const start = firstLine * LINE_BYTES;
    const end = start + this.parts.unitLines * LINE_BYTES;
    const endLine = firstLine + this.parts.unitLines;
    const current = Uint8Array.prototype.slice.call(moment.durable, start, end);
    const values = [Uint8Array.prototype.slice.call(current)];
    const callIds: number[] = [];
    const floors: number[] = [];
    for (let line = firstLine; line < endLine; line++) {
      floors.push(this.parts.floor(page, moment, line));
    }
    for (const entry of moment.entries) {
      if (entry.bytes === null) continue;
      let isDurable = true;
      for (let line = firstLine; line < endLine; line++) {
        if (!touches(entry, line) || entry.position <= moment.durableAt(line)) continue;
        applyEntry(current, start, entry, line * LINE_BYTES, (line + 1) * LINE_BYTES);
        if (entry.position > floors[line - firstLine]!) isDurable = false;
      }
      if (Buffer.compare(current, values.at(-1)!) === 0) continue;
      const value = Uint8Array.prototype.slice.call(current);
      if (isDurable) {
        values[0] = value;
      } else {
        values.push(value);
        callIds.push(entry.callId);
      }
    }
    return { bytes: values, callIds };
  }
}

/** By the last store; the same bytes for as long as nothing else is stored or made durable. */
const newestPages = new WeakMap<Entry, { durable: Uint8Array; bytes: Uint8Array }>();

function newestPage({ durable, entries, durableAt }: PageMoment): Uint8Array {
  const last = entries.at(-1)!;
  const known = newestPages.get(last);
  if (known?.durable === durable) return known.bytes;
  const bytes = Uint8Array.prototype.slice.call(durable);
  applyEntries(bytes, entries, durableAt, () => Infinity);
  newestPages.set(last, { durable, bytes });
  return bytes;
}

function unitValue(values: Uint8Array[], value: number, tornBytes: 8 | undefined): Uint8Array {
  const index = tornBytes === undefined ? value : Math.floor(value / WORDS_PER_LINE);
  const bytes = values[index];
  assert(bytes !== undefined, `a line has no value ${value}`);
  const words = tornBytes === undefined ? 0 : value % WORDS_PER_LINE;
  if (words === 0) return bytes;
  const next = values[index + 1];
  assert(next !== undefined, `a line has no value ${value}`);
  const torn = Uint8Array.prototype.slice.call(bytes);
  torn.set(next.subarray(0, words * WORD_BYTES));
  return torn;
}
