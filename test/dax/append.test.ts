// Where a file ends, for who appends to it, when that moved past the kernel's FUSE.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMap, daxMount, Mapper } from './place.js';

const PAGE = 4096;
const COLLAPSE = 0x8;
const INSERT = 0x20;

t.test(
  'what is appended after collapse and insert is at the end',
  { skip: cannotMap },
  async (t) => {
    const { dir } = await daxMount(t);
    const path = join(dir, 'f');
    writeFileSync(path, Buffer.concat([Buffer.alloc(PAGE, 'a'), Buffer.alloc(PAGE, 'b')]));
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A f rw', '0'],
      ['open B f rw,append', '0'],
      ['map M A 0 16384 shared', '0'],
      ['store M 0 A', '0'],
      [`fallocate A ${COLLAPSE} 0 4096`, '0'],
      ['write B collapsed 0', '9'],
      ['seek A end 0', String(PAGE + 9)],
      [`fallocate A ${INSERT} 0 8192`, '0'],
      ['write B inserted 0', '8'],
      ['seek B end 0', String(3 * PAGE + 17)],
      [`load M ${3 * PAGE - 2} 25`, 'bbcollapsedinserted<.*6>'],
    ]);
    t.equal(await mapper.end(), 0);
    const wanted = `${'\0'.repeat(2 * PAGE)}${'b'.repeat(PAGE)}collapsedinserted`;
    t.equal(readFileSync(path, 'latin1') === wanted, true, 'as another process reads it');
  },
);
