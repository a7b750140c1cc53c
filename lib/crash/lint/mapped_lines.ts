/**
 * Lines of the region that programs stored to through mappings, until they are durable: stored,
 * flushed by a thread, fenced by the same one. For lints; the newest store of a line stands for all.
 * Offsets and lengths are bytes of the region. Memory grows with the lines that are not durable.
 */
import { FILESYSTEM_THREAD } from '../../trace/event.js';
import { LINE_BYTES } from '../../units.js';

interface Line<Store> {
  store: Store;
  /** Since its newest store; undefined: nobody did. */
  flushedBy: number | undefined;
}

export class MappedLines<Store> {
  private readonly lines = new Map<number, Line<Store>>();
  /** Lines that a thread flushed and has not fenced; some may be stored to again, or durable. */
  private readonly flushed = new Map<number, Set<number>>();
  /** Lines that unread() has not named. */
  private fresh = new Set<number>();

  /** A program stored through a mapping. */
  stored(offset: number, lengthBytes: number, store: Store): void {
    for (const line of linesOf(offset, lengthBytes)) {
      this.lines.set(line, { store, flushedBy: undefined });
      this.fresh.add(line);
    }
  }

  /** @returns whether anything was stored there since it was flushed last */
  flush(offset: number, lengthBytes: number, thread: number): boolean {
    // Few lines wait; a flush may be of a whole file.
    const end = offset + lengthBytes;
    const isWide = lengthBytes / LINE_BYTES > this.lines.size;
    const candidates = isWide ? this.lines.keys() : linesOf(offset, lengthBytes);
    const mine = this.flushed.get(thread) ?? new Set();
    let found = false;
    for (const line of candidates) {
      if (line * LINE_BYTES >= end || (line + 1) * LINE_BYTES <= offset) continue;
      const waiting = this.lines.get(line);
      if (waiting === undefined || waiting.flushedBy !== undefined) continue;
      waiting.flushedBy = thread;
      mine.add(line);
      found = true;
    }
    this.flushed.set(thread, mine);
    return found;
  }

  /** @returns whether the thread had flushed anything since its last fence */
  fence(thread: number): boolean {
    const mine = this.flushed.get(thread);
    if (mine === undefined) return false;
    this.flushed.delete(thread);
    for (const line of mine) {
      if (this.lines.get(line)?.flushedBy === thread) this.forget(line);
    }
    return true;
  }

  /** The filesystem's stores are flushed in the same step, and what programs stored there too. */
  overwritten(offset: number, lengthBytes: number): void {
    if (this.lines.size > 0) this.flush(offset, lengthBytes, FILESYSTEM_THREAD);
  }

  /** Nothing there is anybody's any more. */
  freed(offset: number, lengthBytes: number): void {
    if (this.lines.size === 0) return;
    for (const line of linesOf(offset, lengthBytes)) this.forget(line);
  }

  /** What is not durable and was stored since this was asked last. */
  unread(): { store: Store; isFlushed: boolean }[] {
    const found = [...this.fresh].map((line) => {
      const { store, flushedBy } = this.lines.get(line)!;
      return { store, isFlushed: flushedBy !== undefined };
    });
    this.fresh = new Set();
    return found;
  }

  private forget(line: number): void {
    this.lines.delete(line);
    this.fresh.delete(line);
  }
}

function* linesOf(offset: number, lengthBytes: number): Generator<number> {
  const end = offset + lengthBytes;
  for (let line = Math.floor(offset / LINE_BYTES); line * LINE_BYTES < end; line++) yield line;
}
