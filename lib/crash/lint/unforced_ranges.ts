/**
 * Byte ranges of one file that were stored and not forced since, each with the epoch in which that
 * was. Offsets are bytes of the file. Owned by the lint that looks for overwrites.
 */

interface UnforcedRange {
  from: number;
  /** Behind the last byte. */
  to: number;
  epoch: number;
  /** Of the call that stored it first in its epoch. */
  position: number;
}

/** A file stored in more separate pieces than this is forgotten and begun anew. */
const RANGES_MAX = 4096;

export class UnforcedRanges {
  /** Ascending, none overlaps another. */
  private ranges: UnforcedRange[] = [];

  /** The first range in [from, to) that was stored before `epoch`. */
  findOlder(from: number, to: number, epoch: number): UnforcedRange | undefined {
    for (let index = this.firstEndingAfter(from); index < this.ranges.length; index++) {
      const range = this.ranges[index]!;
      if (range.from >= to) return undefined;
      if (range.epoch < epoch) return range;
    }
    return undefined;
  }

  /** Takes the place of what was stored there before. */
  add(added: UnforcedRange): void {
    const { from, to, epoch } = added;
    if (from >= to) return;
    if (this.ranges.length >= RANGES_MAX) this.ranges = [];
    const start = this.firstEndingAfter(from);
    let end = start;
    const pieces: UnforcedRange[] = [added];
    for (; end < this.ranges.length && this.ranges[end]!.from < to; end++) {
      const old = this.ranges[end]!;
      if (old.from < from) pieces.unshift({ ...old, to: from });
      if (old.to > to) pieces.push({ ...old, from: to });
    }
    const before = pieces[0] === added ? this.ranges[start - 1] : undefined;
    if (before !== undefined && before.to === from && before.epoch === epoch) {
      before.to = to;
      pieces.shift();
    }
    this.ranges.splice(start, end - start, ...pieces);
  }

  clear(): void {
    this.ranges = [];
  }

  private firstEndingAfter(offset: number): number {
    let low = 0;
    let high = this.ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.ranges[middle]!.to <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
