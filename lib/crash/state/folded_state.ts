/**
 * A crash state made from the fold of a trace: its ground (everything it shares with states of the
 * same point and metadata) and the values of the units that its choice names. Pages are made when
 * they are read first. Holds its position of the fold until it is released.
 */
import assert from 'node:assert/strict';
import type { StateChoice } from '../choice.js';
import type { DatabaseStore } from '../fold/database_store.js';
import type { Fold } from '../fold/fold.js';
import type { Ground } from './ground.js';
import { addPage, hashOf } from './image_hash.js';
import type { CrashState } from './state.js';
import { LINES_PER_PAGE } from '../../units.js';

export class FoldedState implements CrashState {
  readonly uuid: string;
  readonly pageCount: number;
  readonly metadataKey: string;
  /** Named units by page of the fold: first line to value. */
  private readonly named = new Map<number, Map<number, number>>();
  private readonly pages = new Map<number, Uint8Array>();
  private hash: string | undefined;
  private bytes: Uint8Array | undefined;
  private isReleased = false;

  constructor(
    private readonly fold: Fold,
    private readonly databases: DatabaseStore,
    private readonly ground: Ground,
    readonly choice: StateChoice,
  ) {
    this.uuid = fold.base.uuid;
    this.pageCount = ground.parts.plan.pageCount;
    this.metadataKey = ground.parts.plan.key;
    for (const [line, value] of choice.lines) {
      const page = ground.parts.pageKey(Math.floor(line / LINES_PER_PAGE));
      let named = this.named.get(page);
      if (named === undefined) {
        named = new Map();
        this.named.set(page, named);
      }
      named.set(line, value);
    }
    fold.pages.hold(ground.parts.position);
  }

  page(regionPage: number): Uint8Array {
    assert(!this.isReleased, 'the state was released');
    return this.foldPage(this.ground.parts.pageKey(regionPage));
  }

  get database(): Uint8Array {
    this.bytes ??= this.databases.database(this.ground.parts.plan);
    return this.bytes;
  }

  imageHash(): string {
    if (this.hash !== undefined) return this.hash;
    const { otherLines } = this.choice;
    const sum = this.ground.sum(otherLines).slice();
    for (const page of this.named.keys()) {
      const places = this.ground.places(page);
      addPage(sum, places, this.ground.page(page, otherLines), this.foldPage(page));
    }
    this.hash = hashOf(this.uuid, sum);
    return this.hash;
  }

  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.pages.clear();
    this.fold.pages.release(this.ground.parts.position);
  }

  private foldPage(page: number): Uint8Array {
    const named = this.named.get(page);
    const { otherLines } = this.choice;
    if (named === undefined) return this.ground.page(page, otherLines);
    let bytes = this.pages.get(page);
    if (bytes === undefined) {
      bytes = this.ground.pageWith(page, otherLines, named);
      this.pages.set(page, bytes);
    }
    return bytes;
  }
}
