/**
 * What a minimal failing state says about cause: which calls it lost, and which later thing had to
 * be lost with them for the check to pass. Everything here was seen in a run; explain.ts only puts
 * it into words.
 */
import { LINE_BYTES, PAGE_BYTES, pageOf } from '../../units.js';
import type { CallBook, KnownCall, StoreFate } from './calls.js';
import { type Exploration, NOTHING_LOST } from '../search/exploration.js';
import {
  choiceOf,
  type LostLine,
  lostCallsOf,
  type Loss,
  type Minimal,
  OPERATION_SETS_MAX,
} from './minimise.js';
import type { LineUnit } from '../models/model.js';
import type { Site } from '../search/strategy.js';

const SURVIVORS_MAX = 32;

export type Survivor =
  /** The check passes when what was printed since is not known to it. */
  | { kind: 'acknowledgement'; line: string; position: number }
  /** It passes when the rest of the same calls' lines is lost too. */
  | { kind: 'rest-of-call'; keptLines: number; lostLines: number }
  /** It passes when this later call is lost too. */
  | { kind: 'call'; call: KnownCall }
  /** It passes when this earlier call is lost too: the check fails between the two. */
  | { kind: 'earlier-call'; call: KnownCall };

export interface Evidence {
  /** In the order they were made. */
  lost: KnownCall[];
  /** Names, sizes or attributes are lost, not only bytes. */
  losesOperations: boolean;
  losesLines: boolean;
  /** The lost lines held something before: they were written over. */
  isOverwrite: boolean;
  /** A lost call's metadata (size, mapping) is there and its bytes are not. */
  keepsOperationOfLost: boolean;
  survivor: Survivor | undefined;
  /** Nothing is lost, and after this call, which came after the crash, the check passes. */
  missing: KnownCall | undefined;
  /** Bytes of the smallest thing that the model loses. */
  pieceBytes: number;
  /** The first lost line, and why, when it was stored through a DAX mapping. */
  lostStore: { offset: number; lengthBytes: number; fate: StoreFate } | undefined;
}

export class Witness {
  constructor(
    private readonly exploration: Exploration,
    private readonly book: CallBook,
  ) {}

  /** At the crash point of the minimal state. Nothing else may run. */
  async evidence(site: Site, minimal: Minimal): Promise<Evidence> {
    const { loss } = minimal;
    const lostIds = lostCalls(site, loss);
    const lost = this.book.thatMatter(lostIds);
    const missing = lost.length === 0 ? await this.missing(site, minimal) : undefined;
    const lostOperations = new Set(loss.operations);
    const keptOperations = site.point.operations.filter(
      ({ number }) => !lostOperations.has(number),
    );
    return {
      lost,
      losesOperations: loss.operations.length > 0,
      losesLines: loss.lines.length > 0,
      isOverwrite: overwrites(site, loss, lost),
      keepsOperationOfLost: keptOperations.some(({ callId }) => lostIds.has(callId)),
      survivor: await this.survivor(site, minimal, lost),
      missing,
      pieceBytes: (loss.lines[0]?.unit.lineCount ?? 1) * LINE_BYTES,
      lostStore: this.lostStore(minimal, lost),
    };
  }

  private lostStore(
    { loss, position }: Minimal,
    [first]: readonly KnownCall[],
  ): Evidence['lostStore'] {
    if (first?.event.operation !== 'DAX_STORE') return undefined;
    const { callId } = first.text;
    const units = loss.lines.filter((line) => lostCallsOf(line).includes(callId));
    const [unit] = units.map((line) => line.unit);
    if (unit === undefined) return undefined;
    const offset = unit.filePage * PAGE_BYTES + ((unit.line * LINE_BYTES) % PAGE_BYTES);
    const lengthBytes = units.length * unit.lineCount * LINE_BYTES;
    return { offset, lengthBytes, fate: this.book.flushesOf(first, offset, position) };
  }

  /** The first call to come after which, nothing lost, the check passes. */
  private async missing({ point, model }: Site, minimal: Minimal): Promise<KnownCall | undefined> {
    const acknowledged = this.exploration.acknowledged(point);
    for (const call of this.book.changingAfter(minimal.position).slice(0, SURVIVORS_MAX)) {
      const position = call.changes!.to;
      const there = this.exploration.siteAt(position);
      const choice = { model, position, ...NOTHING_LOST };
      if ((await this.exploration.judge(there, choice, acknowledged)) === undefined) return call;
    }
    return this.book.writebackAfter(minimal.position);
  }

  private async survivor(
    site: Site,
    minimal: Minimal,
    lost: readonly KnownCall[],
  ): Promise<Survivor | undefined> {
    const [first] = lost;
    const acknowledgement = await this.acknowledgement(site, minimal, first?.text.position ?? 0);
    if (first === undefined) {
      const call = this.book.changedLast(minimal.position);
      return acknowledgement ?? (call === undefined ? undefined : { kind: 'earlier-call', call });
    }
    return (
      acknowledgement ??
      (await this.restOfCall(site, minimal)) ??
      (await this.otherCall(site, minimal, first))
    );
  }

  private async acknowledgement(
    site: Site,
    { loss, verdict, position }: Minimal,
    since: number,
  ): Promise<Survivor | undefined> {
    const all = this.exploration.acknowledged(site.point);
    const before = this.book.linesBefore(since);
    if (before >= all.length) return undefined;
    const choice = choiceOf(site, loss);
    const passes = async (count: number) =>
      (await this.exploration.judge(site, choice, all.slice(0, count))) === undefined;
    if (!(await passes(before))) return undefined;
    // The first line whose knowledge makes the check fail.
    let [low, high] = [before, all.length];
    while (low + 1 < high) {
      const middle = (low + high) >> 1;
      if (await passes(middle)) low = middle;
      else high = middle;
    }
    const line = all[low]!;
    const printedAt = this.book.printedAt(line) ?? position;
    return verdict.oracle === 'synced'
      ? undefined
      : { kind: 'acknowledgement', line, position: printedAt };
  }

  private async restOfCall(site: Site, { loss }: Minimal): Promise<Survivor | undefined> {
    const lostIds = new Set(loss.lines.flatMap(lostCallsOf));
    if (lostIds.size === 0) return undefined;
    const { units } = site.point.data({ lostOperations: loss.operations });
    const whole = withoutCalls(units, lostIds);
    const lostLines = loss.lines.length;
    const keptLines = whole.length - lostLines;
    if (keptLines <= 0) return undefined;
    const choice = choiceOf(site, { operations: loss.operations, lines: whole });
    if ((await this.exploration.judge(site, choice)) !== undefined) return undefined;
    return { kind: 'rest-of-call', keptLines, lostLines };
  }

  /** Another undecided call without which the check passes: a later one before earlier ones. */
  private async otherCall(
    site: Site,
    { loss }: Minimal,
    first: KnownCall,
  ): Promise<Survivor | undefined> {
    const { point } = site;
    const lostIds = lostCalls(site, loss);
    const { units } = point.data({ lostOperations: loss.operations });
    const ids = [
      ...point.operations.map(({ callId }) => callId),
      ...units.flatMap(({ callIds }) => callIds),
    ];
    const kept = this.book.inOrder(ids).filter(({ text }) => !lostIds.has(text.callId));
    const isLater = ({ text }: KnownCall) => text.position > first.text.position;
    const later = kept.filter(isLater).slice(0, SURVIVORS_MAX);
    const earlier = kept.filter((call) => !isLater(call)).reverse();
    for (const call of [...later, ...earlier.slice(0, SURVIVORS_MAX)]) {
      const more = withCallLost(site, loss, call.text.callId);
      if (more === undefined) continue;
      if ((await this.exploration.judge(site, choiceOf(site, more))) === undefined) {
        return { kind: isLater(call) ? 'call' : 'earlier-call', call };
      }
    }
    return undefined;
  }
}

/** All calls of which something is lost. */
export function lostCalls({ point }: Site, loss: Loss): Set<number> {
  const lost = new Set(loss.operations);
  const ids = new Set(loss.lines.flatMap(lostCallsOf));
  for (const { number, callId } of point.operations) if (lost.has(number)) ids.add(callId);
  ids.delete(0);
  return ids;
}

/** All stores of the calls, and those after them to the same lines. */
function withoutCalls(units: readonly LineUnit[], lost: ReadonlySet<number>): LostLine[] {
  const lines: LostLine[] = [];
  for (const unit of units) {
    const value = unit.callIds.findIndex((callId) => lost.has(callId));
    if (value >= 0) lines.push({ unit, lostStores: unit.callIds.length - value });
  }
  return lines;
}

/** The loss and all that a call did: the smallest set of operations that the model allows. */
function withCallLost({ point }: Site, loss: Loss, callId: number): Loss | undefined {
  const needed = new Set(loss.operations);
  for (const operation of point.operations) {
    if (operation.callId === callId) needed.add(operation.number);
  }
  let operations: number[] | undefined = loss.operations;
  if (needed.size > loss.operations.length) operations = smallestSuperset(point, needed);
  if (operations === undefined) return undefined;
  const { units } = point.data({ lostOperations: operations });
  const before = new Map(loss.lines.map((line) => [line.unit.line, lostCallsOf(line)[0]!]));
  const lines: LostLine[] = [];
  for (const unit of units) {
    const first = before.get(unit.line);
    const value = unit.callIds.findIndex((id) => id === callId || id === first);
    if (value >= 0) lines.push({ unit, lostStores: unit.callIds.length - value });
  }
  return { operations, lines };
}

function smallestSuperset(point: Site['point'], needed: ReadonlySet<number>): number[] | undefined {
  let best: number[] | undefined;
  let listed = 0;
  for (const { lostOperations } of point.metadataChoices()) {
    if (++listed > OPERATION_SETS_MAX) break;
    if (best !== undefined && lostOperations.length >= best.length) continue;
    const has = new Set(lostOperations);
    if ([...needed].every((number) => has.has(number))) best = lostOperations;
  }
  return best;
}

/** Whether the bytes that a lost call wrote were others before, not zeroes. */
function overwrites(site: Site, loss: Loss, lost: readonly KnownCall[]): boolean {
  if (loss.lines.length === 0) return false;
  const state = site.point.state(choiceOf(site, loss));
  try {
    return loss.lines.some((line) => {
      const { unit } = line;
      const page = state.page(pageOf(unit.line * LINE_BYTES));
      const fileOffset = unit.filePage * PAGE_BYTES;
      const inPage = (unit.line * LINE_BYTES) % PAGE_BYTES;
      const ids = lostCallsOf(line);
      const writes = lost.filter(({ text }) => ids.includes(text.callId));
      return writes.some(({ text: { offset = 0, lengthBytes = 0 } }) => {
        const from = Math.max(inPage, offset - fileOffset);
        const lineEnd = inPage + unit.lineCount * LINE_BYTES;
        const to = Math.min(lineEnd, offset + lengthBytes - fileOffset);
        return to > from && page.subarray(from, to).some((byte) => byte !== 0);
      });
    });
  } finally {
    state.release();
  }
}
