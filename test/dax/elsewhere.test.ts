// Mappings as buffers of calls on files elsewhere, whose pages the kernel keeps for the time of a call:
// O_DIRECT on a disk.
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMap, daxMount, fauxdax } from './place.js';

/** Pages that nobody has touched, stored ones, and ones that a sync has protected. */
const CALLS = `
import mmap, os, sys
here, away = sys.argv[1:]
PAGE, MIB = 4096, 1 << 20
file = os.open(here, os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 8 * MIB)
mapping = mmap.mmap(file, 8 * MIB)
view = memoryview(mapping)
try:
  disk = os.open(away, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
except OSError:
  sys.exit(77)
mapping[0:PAGE] = b"a" * PAGE
def write(at): return os.pwritev(disk, [view[at : at + 4 * PAGE]], 0)
def read(at): return os.preadv(disk, [view[at : at + 4 * PAGE]], 0)
def seen(at): return mapping[at : at + 2], os.pread(file, 2, at), mapping[at + PAGE : at + PAGE + 2]
print("a page and holes out:", write(0))
print("into pages of no storage:", read(MIB), *seen(MIB))
mapping.flush()
mapping[0:2] = b"bb"
write(0)
print("into pages that were synced:", read(MIB), *seen(MIB))
other = mmap.mmap(file, 8 * MIB)
if other[4 * MIB] != 0: raise AssertionError
print("into a hole of 2 MiB that another mapping shows:", read(4 * MIB), *seen(4 * MIB), other[4 * MIB : 4 * MIB + 2])
`;

t.test('what O_DIRECT elsewhere reads and writes in mappings', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t);
  const disk = mkdtempSync(join(process.env['HOME'] ?? '/var/tmp', 'fauxdax-elsewhere-'));
  t.teardown(() => rmSync(disk, { recursive: true, force: true }));
  const words = ['python3', '-c', CALLS, join(dir, 'f'), join(disk, 'f')];
  const done = fauxdax('run', dir, '--', ...words);
  if (done.status === 77) {
    t.pass('O_DIRECT', { skip: `${disk}: this filesystem has none` });
    return;
  }
  t.equal(done.status, 0);
  const lines = [
    'a page and holes out: 16384',
    "into pages of no storage: 16384 b'aa' b'aa' b'\\x00\\x00'",
    "into pages that were synced: 16384 b'bb' b'bb' b'\\x00\\x00'",
    "into a hole of 2 MiB that another mapping shows: 16384 b'bb' b'bb' b'\\x00\\x00' b'bb'",
  ];
  t.equal(done.text, `${lines.join('\n')}\n`);
});
