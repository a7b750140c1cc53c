/**
 * What the kernel holds of us: one node for each inode number it has been told and not forgotten,
 * with its lookup and open counts and the path by which it was last seen. Nodes outlive a crash in
 * place (the kernel keeps its references), inodes need not: a node whose inode is gone is stale.
 */
import assert from 'node:assert/strict';
import { ROOT_INO } from '../lib/metadata/inode.js';

export interface Node {
  readonly ino: number;
  /** References the kernel took with LOOKUP, CREATE, ...; given back by FORGET. */
  lookups: number;
  /** Open file descriptions, counted from OPEN and CREATE to RELEASE. */
  opens: number;
  /** Files: opened so that every read and write reaches us. Decided by the first open. */
  isDax: boolean;
  /** The kernel may hold pages from before stores that went past it. */
  hasOldPages: boolean;
  /** A DAX file, since the first open: the kernel has read pages into its cache all the same. */
  isCached: boolean;
  /** The name by which the kernel last reached it; a hint for paths, wrong after nothing. */
  parentIno: number;
  name: string;
}

const PATH_DEPTH_MAX = 4096;

function makeNode(ino: number, parentIno: number, name: string): Node {
  const states = { isDax: false, hasOldPages: false, isCached: false };
  return { ino, lookups: 1, opens: 0, ...states, parentIno, name };
}

export class Nodes {
  readonly #nodes = new Map<number, Node>();

  constructor() {
    // The kernel never looks the root up and never forgets it.
    const root = makeNode(ROOT_INO, ROOT_INO, '');
    this.#nodes.set(ROOT_INO, root);
  }

  get count(): number {
    return this.#nodes.size;
  }

  get(ino: number): Node | undefined {
    return this.#nodes.get(ino);
  }

  all(): IterableIterator<Node> {
    return this.#nodes.values();
  }

  /** One more kernel reference. */
  looked(ino: number, parentIno: number, name: string): void {
    const node = this.#nodes.get(ino);
    if (node === undefined) {
      this.#nodes.set(ino, makeNode(ino, parentIno, name));
      return;
    }
    node.lookups += 1;
    node.parentIno = parentIno;
    node.name = name;
  }

  /** The kernel gives `count` references back. Returns the node when that was the last one. */
  forget(ino: number, count: number): Node | undefined {
    const node = this.#nodes.get(ino);
    if (node === undefined || ino === ROOT_INO) return undefined;
    assert(count <= node.lookups, `inode ${ino}: forget ${count} of ${node.lookups} lookups`);
    node.lookups -= count;
    if (node.lookups > 0) return undefined;
    this.#nodes.delete(ino);
    return node;
  }

  /** A name moved: paths follow it. */
  moved(ino: number, parentIno: number, name: string): void {
    const node = this.#nodes.get(ino);
    if (node === undefined) return;
    node.parentIno = parentIno;
    node.name = name;
  }

  /** The path inside the mount by which `ino` was last seen, beginning with a slash. */
  path(ino: number): string {
    const parts: string[] = [];
    let at = ino;
    for (let depth = 0; at !== ROOT_INO && depth < PATH_DEPTH_MAX; depth += 1) {
      const node = this.#nodes.get(at);
      if (node === undefined) break;
      parts.push(node.name);
      at = node.parentIno;
    }
    return `/${parts.reverse().join('/')}`;
  }

  /** The path of entry `name` in directory `parentIno`. */
  pathOf(parentIno: number, name: string): string {
    const parent = this.path(parentIno);
    return parent === '/' ? `/${name}` : `${parent}/${name}`;
  }
}
