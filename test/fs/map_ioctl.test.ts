/** The map of a file by ioctl, as SPEC.md lays it out, beside what the daemon says it is. */
import { spawnSync } from 'node:child_process';
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makePlace, mounted } from './image.js';

const PROGRAM = `
import fcntl, json, struct, sys
MAP = 0xd0004401
page, out = 0, []
with open(sys.argv[1], 'rb') as f:
    while True:
        answer = bytearray(4096)
        struct.pack_into('<Q', answer, 0, page)
        fcntl.ioctl(f, MAP, answer, True)
        start, count, more, size = struct.unpack_from('<QIIQ', answer)
        extents = [struct.unpack_from('<QQQQ', answer, 32 + 32 * i) for i in range(count)]
        out += extents
        if not more: break
        page = extents[-1][0] + extents[-1][2]
print(json.dumps({'size': size, 'extents': out}))
`;

t.test('the map ioctl gives every extent, over several calls where they do not fit', async (t) => {
  const place = makePlace(t);
  const fs = await mounted(t, place);
  const path = join(place.dir, 'f');
  const fd = openSync(path, 'w');
  // 300 extents: every other page is written, and 127 fit into one answer.
  for (let page = 0; page < 600; page += 2) writeSync(fd, 'x', page * 4096);
  fsyncSync(fd);
  closeSync(fd);
  t.equal(spawnSync('fallocate', ['-n', '-o', '4194304', '-l', '8192', path]).status, 0);
  const run = spawnSync('python3', ['-c', PROGRAM, path], { encoding: 'utf8' });
  t.equal(run.status, 0, run.stderr);
  const expected = await fs.map(path);
  const seen = JSON.parse(run.stdout) as { size: number; extents: number[][] };
  t.equal(seen.size, expected.size);
  t.same(
    seen.extents,
    expected.extents.map(({ filePage, regionPage, pageCount, state }) => {
      return [filePage, regionPage, pageCount, state === 'written' ? 1 : 0];
    }),
  );
  t.equal(seen.extents.length, 301);
  t.equal(seen.extents.at(-1)?.[3], 0, 'the preallocated pages are unwritten');
});
