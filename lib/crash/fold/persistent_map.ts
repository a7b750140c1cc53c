/**
 * An immutable map whose versions share what they have in common: a trie of 32 branches a level
 * over a 32-bit hash of the key. A change costs a few small arrays, and comparing two versions
 * costs as much as they differ, which is what thousands of metadata versions of one trace need.
 */

export type MapKey = number | string;

interface Leaf<K, V> {
  readonly hash: number;
  /** More than one when hashes collide. */
  readonly entries: readonly (readonly [K, V])[];
}

interface Branch<K, V> {
  readonly mask: number;
  readonly slots: readonly TrieNode<K, V>[];
}

type TrieNode<K, V> = Leaf<K, V> | Branch<K, V>;

export class PersistentMap<K extends MapKey, V> {
  private constructor(private readonly root: TrieNode<K, V> | undefined) {}

  /** An empty map. */
  static none<K extends MapKey, V>(): PersistentMap<K, V> {
    return new PersistentMap<K, V>(undefined);
  }

  get(key: K): V | undefined {
    const hash = hashOf(key);
    let node = this.root;
    for (let shift = 0; node !== undefined; shift += 5) {
      if ('entries' in node) {
        return node.hash === hash ? node.entries.find(([other]) => other === key)?.[1] : undefined;
      }
      const bit = 1 << ((hash >>> shift) & 31);
      if ((node.mask & bit) === 0) return undefined;
      node = node.slots[bitCount(node.mask & (bit - 1))];
    }
    return undefined;
  }

  /** This map with `key` set; this one stays as it is. */
  set(key: K, value: V): PersistentMap<K, V> {
    return new PersistentMap(insert(this.root, 0, { hash: hashOf(key), entries: [[key, value]] }));
  }

  /** Keys whose values differ, each once, with both values; undefined where a key is not set. */
  *differences(other: PersistentMap<K, V>): IterableIterator<[K, V | undefined, V | undefined]> {
    yield* compare(this.root, other.root);
  }
}

function insert<K, V>(node: TrieNode<K, V> | undefined, shift: number, leaf: Leaf<K, V>) {
  if (node === undefined) return leaf;
  if ('entries' in node) {
    if (node.hash === leaf.hash) {
      const [[key]] = leaf.entries as [readonly [K, V]];
      const others = node.entries.filter(([other]) => other !== key);
      return { hash: node.hash, entries: [...others, ...leaf.entries] };
    }
    const alone: Branch<K, V> = { mask: 1 << ((node.hash >>> shift) & 31), slots: [node] };
    return insertInBranch(alone, shift, leaf);
  }
  return insertInBranch(node, shift, leaf);
}

function insertInBranch<K, V>(node: Branch<K, V>, shift: number, leaf: Leaf<K, V>): TrieNode<K, V> {
  const bit = 1 << ((leaf.hash >>> shift) & 31);
  const index = bitCount(node.mask & (bit - 1));
  const slots = node.slots.slice();
  if ((node.mask & bit) === 0) slots.splice(index, 0, leaf);
  else slots[index] = insert(slots[index], shift + 5, leaf);
  return { mask: node.mask | bit, slots };
}

function* compare<K, V>(
  a: TrieNode<K, V> | undefined,
  b: TrieNode<K, V> | undefined,
): IterableIterator<[K, V | undefined, V | undefined]> {
  if (a === b) return;
  if (a !== undefined && b !== undefined && 'slots' in a && 'slots' in b) {
    const mask = a.mask | b.mask;
    for (let place = 0; place < 32; place++) {
      const bit = 1 << place;
      if ((mask & bit) !== 0) yield* compare(slotOf(a, bit), slotOf(b, bit));
    }
    return;
  }
  const before = new Map(entriesOf(a));
  const after = new Map(entriesOf(b));
  for (const [key, value] of before) {
    if (after.get(key) !== value) yield [key, value, after.get(key)];
  }
  for (const [key, value] of after) if (!before.has(key)) yield [key, undefined, value];
}

function slotOf<K, V>(node: Branch<K, V>, bit: number): TrieNode<K, V> | undefined {
  return (node.mask & bit) === 0 ? undefined : node.slots[bitCount(node.mask & (bit - 1))];
}

function* entriesOf<K, V>(node: TrieNode<K, V> | undefined): IterableIterator<readonly [K, V]> {
  if (node === undefined) return;
  if ('entries' in node) yield* node.entries;
  else for (const slot of node.slots) yield* entriesOf(slot);
}

function hashOf(key: MapKey): number {
  let hash = 0x811c9dc5;
  if (typeof key === 'number') {
    hash = Math.imul(key | 0, 0x9e3779b1) ^ Math.floor(key / 2 ** 32);
  } else {
    for (let index = 0; index < key.length; index++) {
      hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
    }
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}

function bitCount(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
