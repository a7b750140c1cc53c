/**
 * Versions of a persistent map: each keeps what it had, equal hashes of different keys are kept
 * apart, and what differs between two versions is found whichever way they came to be.
 */
import t from 'tap';
import { type MapKey, PersistentMap } from '../../lib/crash/fold/persistent_map.js';
import { Random } from '../../lib/random.js';

/** Numbers whose 32 low bits are 0: hashed by what is above them, in a few bits. */
const farKey = (index: number) => index * 2 ** 32;

function differences<K extends MapKey, V>(from: PersistentMap<K, V>, to: PersistentMap<K, V>) {
  const found = [...from.differences(to)];
  const byKey = new Map(found.map(([key, before, after]) => [key, [before, after]]));
  if (byKey.size !== found.length) throw new Error('a key was named twice');
  return byKey;
}

t.test('an empty map has nothing', async (t) => {
  const none = PersistentMap.none<string, number>();
  t.equal(none.get('a'), undefined);
  t.equal(differences(none, none).size, 0);
});

t.test('setting makes a version, and the one before stays as it was', async (t) => {
  const none = PersistentMap.none<string, number>();
  const one = none.set('a', 1);
  const two = one.set('a', 2).set('b', 3);
  t.same([none.get('a'), one.get('a'), two.get('a')], [undefined, 1, 2]);
  t.same([one.get('b'), two.get('b')], [undefined, 3]);
});

t.test('a number and the same number as text are two keys', async (t) => {
  const map = PersistentMap.none<MapKey, number>().set(1, 1).set('1', 2);
  t.same([map.get(1), map.get('1')], [1, 2]);
});

const KEYS: [string, (index: number) => MapKey][] = [
  ['small numbers', (index) => index],
  ['numbers above 2^32', farKey],
  ['text', (index) => `${index % 7}/name ${index}`],
  ['numbers of one hash', (index) => 0.5 + index / 2048],
];

for (const [name, keyOf] of KEYS) {
  t.test(`every version is as a Map at that time was: ${name}`, async (t) => {
    const random = new Random(1);
    const versions = [{ map: PersistentMap.none<MapKey, number>(), wanted: new Map() }];
    for (let step = 0; step < 400; step++) {
      const { map, wanted } = versions[random.oneIn(5) ? random.below(versions.length) : step]!;
      const key = keyOf(random.below(200));
      const value = random.below(3);
      versions.push({ map: map.set(key, value), wanted: new Map(wanted).set(key, value) });
    }
    let wrong = 0;
    for (const { map, wanted } of versions) {
      for (let index = 0; index < 200; index++) {
        if (map.get(keyOf(index)) !== wanted.get(keyOf(index))) wrong++;
      }
    }
    t.equal(wrong, 0);
    for (let count = 0; count < 200; count++) {
      const from = versions[random.below(versions.length)]!;
      const to = versions[random.below(versions.length)]!;
      const wanted = new Map();
      for (const key of new Set([...from.wanted.keys(), ...to.wanted.keys()])) {
        const pair = [from.wanted.get(key), to.wanted.get(key)];
        if (pair[0] !== pair[1]) wanted.set(key, pair);
      }
      const found = differences(from.map, to.map);
      const sorted = (pairs: Map<MapKey, unknown>) => JSON.stringify([...pairs].sort(byKey));
      if (sorted(found) !== sorted(wanted)) t.fail(`${count}: ${sorted(found)}`);
    }
  });
}

function byKey([a]: [MapKey, unknown], [b]: [MapKey, unknown]): number {
  return a < b ? -1 : 1;
}
