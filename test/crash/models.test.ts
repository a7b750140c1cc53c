/**
 * The rules of the persistence models, one short trace each: what files a power cut at the end may
 * leave. `seen` names every outcome: each file asked for as `name=contents`, files not there left out.
 */
import t from 'tap';
import type { ModelName } from '../../lib/crash/choice.js';
import { points } from '../../lib/crash/state/points.js';
import type { TraceEvent } from '../../lib/trace/event.js';
import { PAGE_BYTES } from '../../lib/units.js';
import { allChoices } from './choices.js';
import { findInode, RecordedImage, seenIn } from './recorded_image.js';

/** Outcomes at the last crash point, with files cut to their first few bytes, sorted. */
function seen(image: RecordedImage, model: ModelName, cutBytes = 6): string[] {
  const found = new Set<string>();
  const end: TraceEvent = { type: 'workload-end', timeNs: 0, exitStatus: 0, signal: null };
  const events = () => [...image.recorded, end];
  for (const point of points({ base: image.base, info: image.info, events }, model)) {
    if (point.position !== image.position) continue;
    let count = 0n;
    const sets = new Set<string>();
    for (const { lostOperations } of point.metadataChoices()) {
      sets.add(lostOperations.join());
      count++;
    }
    if (count !== point.metadataChoiceCount || BigInt(sets.size) !== count) {
      throw new Error(`${count} sets, ${sets.size} different, not ${point.metadataChoiceCount}`);
    }
    for (const choice of allChoices(model, point)) {
      const state = point.state(choice);
      const { files, open } = seenIn(state);
      const parts = [...files].map(([path, text]) => `${path}=${text.slice(0, cutBytes)}`);
      if (open.stale().length > 0) parts.push('STALE');
      found.add(parts.join(' ').replaceAll('\0', '0'));
      state.release();
    }
  }
  return [...found].sort();
}

const full = (letter: string) => letter.repeat(PAGE_BYTES);

t.test('dax: an unsynced file is there or not, with or without its bytes', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'new');
  t.same(seen(image, 'dax'), ['', 'a=', 'a=new']);
});

t.test('dax: a fence without a commit makes bytes durable, not the file', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'old');
  image.force('fsync', 'a');
  image.write('a', 0, 'new');
  image.region.fence();
  image.create('b');
  t.same(seen(image, 'dax'), ['a=new', 'a=new b=']);
});

t.test('dax: each line of an overwrite is old or new by itself', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'o'.repeat(128));
  image.force('fsync', 'a');
  image.write('a', 60, 'nnnnnnnn');
  const wanted = [
    ['oooo', 'oooo'],
    ['nnnn', 'oooo'],
    ['oooo', 'nnnn'],
    ['nnnn', 'nnnn'],
  ].map((line) => `a=${'o'.repeat(60)}${line.join('')}`);
  t.same(seen(image, 'dax', 68), wanted.sort());
});

t.test('dax: what a kept operation came after is as flushed then, or newer', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, '1');
  image.force('fsync', 'a');
  image.write('a', 0, '2');
  image.create('b');
  image.write('a', 0, '3');
  t.same(seen(image, 'dax'), ['a=1', 'a=2', 'a=2 b=', 'a=3', 'a=3 b=']);
});

t.test('dax: a store that was not flushed stays undecided across a fence', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, '1');
  image.force('fsync', 'a');
  const { regionPage } = image.metadata.extents(image.lookup('a')).at(0)!;
  image.region.store(regionPage * PAGE_BYTES, Buffer.from('2'));
  image.region.flush(regionPage * PAGE_BYTES, 1);
  image.region.store(regionPage * PAGE_BYTES, Buffer.from('3'));
  image.region.fence();
  t.same(seen(image, 'dax'), ['a=2', 'a=3']);
});

t.test('dax: truncation inside a page is undone, and yet its zeroes may stay', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'abcdef');
  image.force('fsync', 'a');
  image.truncate('a', 3);
  t.same(seen(image, 'dax'), ['a=abc', 'a=abc000', 'a=abcdef']);
});

t.test('dax: whole pages that were punched are back when the punch is lost', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, full('x'));
  image.force('fsync', 'a');
  image.punch('a', 0, PAGE_BYTES);
  t.same(seen(image, 'dax'), ['a=000000', 'a=xxxxxx']);
});

t.test('dax: torn words are between the values of a line', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'o'.repeat(64));
  image.force('fsync', 'a');
  image.write('a', 0, 'n'.repeat(64));
  const found = new Set<string>();
  for (const point of points(image, 'dax', { tornBytes: 8 })) {
    found.clear();
    for (const choice of allChoices('dax', point)) {
      const state = point.state(choice);
      t.equal(state.choice.tornBytes, 8);
      found.add(seenIn(state).files.get('a') ?? '');
      state.release();
    }
  }
  const torn = [0, 8, 16, 24, 32, 40, 48, 56, 64];
  t.same([...found].sort(), torn.map((n) => 'n'.repeat(n) + 'o'.repeat(64 - n)).sort());
});

t.test('eadr: stores are durable in order, cut off between two lines of one', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'o'.repeat(192));
  image.force('fsync', 'a');
  image.write('a', 0, '1');
  image.write('a', 63, 'nn');
  const wanted = [`1${'o'.repeat(63)}oo`, `1${'o'.repeat(62)}no`, `1${'o'.repeat(62)}nn`];
  t.same(
    seen(image, 'eadr', 66),
    wanted
      .map((text) => `a=${text.slice(0, 65)}${text[65] ?? ''}`.slice(0, 68))
      .map((text) => text.padEnd(68, 'o'))
      .sort(),
  );
});

t.test('eadr: an operation that was not committed is lost, its stores are not', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, '1');
  image.force('fsync', 'a');
  image.write('a', 0, '2');
  image.create('b');
  t.same(seen(image, 'eadr'), ['a=2', 'a=2 b=']);
});

t.test(
  'sector: a new file comes with its name only, or with bytes ordered before them',
  async (t) => {
    const image = new RecordedImage();
    image.create('a');
    image.write('a', 0, 'new');
    t.same(seen(image, 'sector'), ['', 'a=', 'a=new']);
  },
);

t.test('sector: a sync of one file leaves the late pages of another undecided', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'aaa');
  image.create('b');
  image.write('b', 0, 'bbb');
  image.force('fsync', 'b');
  t.same(seen(image, 'sector'), ['a= b=bbb', 'a=aaa b=bbb']);
});

t.test('sector: rename over a file that was not synced may leave it empty', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'old');
  image.force('fsync', 'a');
  image.create('tmp');
  image.write('tmp', 0, 'new');
  image.rename('tmp', 'a');
  t.same(seen(image, 'sector'), ['a=', 'a=new', 'a=old', 'a=old tmp=', 'a=old tmp=new']);
});

t.test('sector: overwritten sectors have any value, whatever else is synced', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'o'.repeat(1024));
  image.create('b');
  image.force('syncfs');
  image.write('a', 510, 'nnnn');
  image.write('b', 0, 'b');
  image.force('fsync', 'b');
  const text = (first: string, second: string) => `a=${'o'.repeat(510)}${first}${second} b=b`;
  t.same(
    seen(image, 'sector', 514),
    [text('oo', 'oo'), text('nn', 'oo'), text('oo', 'nn'), text('nn', 'nn')].sort(),
  );
  image.force('fdatasync', 'a');
  t.same(seen(image, 'sector', 514), [text('nn', 'nn')]);
});

t.test('sector: a size that grew comes with the bytes it took in', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'o'.repeat(600));
  image.force('fsync', 'a');
  // Into a page that is there: the second sector, to the end of the first one that is new, beyond.
  image.write('a', 600, 'n'.repeat(500));
  const old = `a=${'o'.repeat(600)}`;
  const grown = old + 'n'.repeat(500);
  t.same(seen(image, 'sector', 1100), [grown, old].sort());
  image.write('a', 0, 'x');
  const changed = (text: string) => text.replace('=o', '=x');
  t.same(seen(image, 'sector', 1100), [grown, old, changed(grown), changed(old)].sort());
});

t.test('sector: a size that grew keeps what was cut off before zero', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'o'.repeat(1024));
  image.force('fsync', 'a');
  image.truncate('a', 512);
  image.write('a', 1024, 'n');
  const cut = `a=${'o'.repeat(512)}`;
  const grown = `${cut}${'\0'.repeat(512)}n`.replaceAll('\0', '0');
  const kept = seen(image, 'sector', 1025).filter((state) => state.length > cut.length);
  t.ok(kept.includes(grown));
  t.same(
    kept.filter((state) => state.endsWith('n') && state !== grown),
    [],
  );
});

t.test('posix: names and contents are lost one by one', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'aaa');
  image.force('fsync', 'a');
  t.same(seen(image, 'posix'), ['', 'a=aaa']);
  image.force('fsyncdir', '');
  t.same(seen(image, 'posix'), ['a=aaa']);
});

t.test('posix: a synced directory names a file whose bytes were not synced', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'aaa');
  image.force('fsyncdir', '');
  t.same(seen(image, 'posix'), ['a=', 'a=000', 'a=aaa']);
});

t.test('posix: rename is one, and implies the file it names', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, 'old');
  image.force('syncfs');
  image.create('tmp');
  image.write('tmp', 0, 'new');
  image.force('fsync', 'tmp');
  image.rename('tmp', 'a');
  t.same(seen(image, 'posix'), ['a=new', 'a=old', 'a=old tmp=new']);
});

t.test(
  'posix: a lost rename gives the old file back after its pages were used again',
  async (t) => {
    const image = new RecordedImage(undefined);
    image.create('a');
    image.write('a', 0, 'old');
    image.force('syncfs');
    image.create('tmp');
    image.write('tmp', 0, 'new');
    image.force('fsync', 'tmp');
    image.rename('tmp', 'a');
    const freed = findInode(image.metadata, 'a')!;
    t.ok(freed);
    image.create('b');
    image.force('fsync', 'b');
    for (let count = 0; count < 62; count++) image.write('b', count * PAGE_BYTES, 'bbb');
    image.force('fsync', 'b');
    const wanted = [
      'a=new',
      'a=new b=bbb000',
      'a=old',
      'a=old b=bbb000',
      'a=old b=bbb000 tmp=new',
      'a=old tmp=new',
    ];
    t.same(seen(image, 'posix'), wanted.sort());
  },
);

t.test(
  'sector, posix: a sync with a range leaves the other pages of its file undecided',
  async (t) => {
    const image = new RecordedImage();
    image.create('a');
    image.write('a', 0, full('1') + full('2'));
    image.force('fsync', '');
    image.force('fsync', 'a');
    image.write('a', 0, 'x');
    image.write('a', PAGE_BYTES, 'y');
    const { ino } = image.lookup('a');
    const about = { pid: 1, timeNs: 0, ino, offset: PAGE_BYTES, lengthBytes: PAGE_BYTES };
    image.record({ type: 'call', callId: 99, operation: 'DAX_MSYNC', ...about });
    image.record({ type: 'force', callId: 99, kind: 'fdatasync', ino });
    image.record({ type: 'return', callId: 99, error: 0 });
    const ends = (model: ModelName) =>
      seen(image, model, 2 * PAGE_BYTES).map((text) => `${text[2]}${text[2 + PAGE_BYTES]}`);
    t.same(ends('sector'), ['1y', 'xy']);
    t.same(ends('posix'), ['1y', 'xy']);
  },
);

t.test('posix: what is in a directory that is lost is lost', async (t) => {
  const image = new RecordedImage();
  image.mkdir('d');
  image.create('d/a');
  t.same(seen(image, 'posix'), ['', 'd/=', 'd/= d/a=']);
});

t.test('posix: data that was cut off or punched is whole when that is lost', async (t) => {
  const image = new RecordedImage();
  image.create('a');
  image.write('a', 0, full('x'));
  image.force('syncfs');
  image.truncate('a', 0);
  image.write('a', 0, 'yyy');
  t.same(seen(image, 'posix'), ['a=', 'a=000', 'a=xxxxxx', 'a=yyy']);
});
