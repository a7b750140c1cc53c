// Direct mappings beside everything else that changes a file: what one stores the others see.
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cannotMap, daxMount, fauxdax, Mapper } from './place.js';

type Row = readonly [call: string, answer: string];

const PUNCH_KEEP = 3;
const KEEP = 1;
const ZERO = 16;
const COLLAPSE = 8;
const INSERT = 32;

const tables: [title: string, rows: Row[]][] = [
  [
    'a load of a hole allocates nothing, a store one page',
    [
      ['open A f rw+creat', '0'],
      ['truncate A 65536', '0'],
      ['map M A 0 65536 shared', '0'],
      ['load M 0 8', '<.*8>'],
      ['seek A data 0', 'ENXIO'],
      ['store M 8200 x', '0'],
      ['seek A data 0', '8192'],
      ['seek A hole 8192', '12288'],
      ['load M 8199 3', '.x.'],
      ['read A 3 8199', '.x.'],
    ],
  ],
  [
    'a store to an unwritten page converts only that page',
    [
      ['open A f rw+creat', '0'],
      ['fallocate A 0 0 65536', '0'],
      ['map M A 0 65536 shared', '0'],
      ['load M 12288 4', '<.*4>'],
      ['seek A data 0', 'ENXIO'],
      ['store M 12288 y', '0'],
      ['seek A data 0', '12288'],
      ['seek A hole 12288', '16384'],
    ],
  ],
  [
    'write changes what a mapping shows: in place, in a hole, at the end',
    [
      ['open A f rw+creat', '0'],
      ['truncate A 32768', '0'],
      ['map M A 0 65536 shared', '0'],
      ['load M 4096 5', '<.*5>'],
      ['write A hole 4096', '4'],
      ['load M 4095 6', '.hole.'],
      ['write A HO 4096', '2'],
      ['load M 4095 6', '.HOle.'],
      ['load M 32768 1', 'SIGBUS 32768'],
      ['write A end 32768', '3'],
      ['load M 32768 4', 'end.'],
      ['load M 36864 1', 'SIGBUS 36864'],
    ],
  ],
  [
    'truncation takes pages away, and growing brings zeroes',
    [
      ['open A f rw+creat', '0'],
      ['truncate A 16384', '0'],
      ['map M A 0 16384 shared', '0'],
      ['fill M 0 x 16384', '0'],
      ['truncate A 6000', '0'],
      ['load M 5998 4', 'xx..'],
      ['load M 8195 1', 'SIGBUS 8195'],
      ['store M 12289 y', 'SIGBUS 12289'],
      ['truncate A 16384', '0'],
      ['load M 5998 4', 'xx..'],
      ['load M 8192 4', '<.*4>'],
      ['store M 12289 y', '0'],
      ['read A 3 12288', '.y.'],
    ],
  ],
  [
    'punched and zeroed ranges read as zeroes; what follows stays',
    [
      ['open A f rw+creat', '0'],
      ['truncate A 32768', '0'],
      ['map M A 0 32768 shared', '0'],
      ['fill M 0 x 32768', '0'],
      [`fallocate A ${PUNCH_KEEP} 4000 4300`, '0'],
      ['load M 3998 4', 'xx..'],
      ['load M 8298 4', '..xx'],
      ['store M 4096 y', '0'],
      ['read A 2 4096', 'y.'],
      [`fallocate A ${ZERO} 12288 4096`, '0'],
      ['load M 12286 4', 'xx..'],
      ['store M 12289 z', '0'],
      ['load M 12287 4', 'x.z.'],
      [`fallocate A ${KEEP} 32768 4096`, '0'],
      ['load M 32767 1', 'x'],
    ],
  ],
  [
    'collapse and insert move what a mapping shows',
    [
      ['open A f rw+creat', '0'],
      ['truncate A 16384', '0'],
      ['map M A 0 32768 shared', '0'],
      ['fill M 0 a 4096', '0'],
      ['fill M 4096 b 4096', '0'],
      ['fill M 8192 c 8192', '0'],
      [`fallocate A ${COLLAPSE} 4096 4096`, '0'],
      ['load M 4094 4', 'aacc'],
      ['load M 12288 1', 'SIGBUS 12288'],
      [`fallocate A ${INSERT} 4096 8192`, '0'],
      ['load M 4094 4', 'aa..'],
      ['load M 12286 4', '..cc'],
      ['load M 20479 1', 'c'],
      ['load M 20480 1', 'SIGBUS 20480'],
      ['read A 4 12286', '..cc'],
    ],
  ],
  [
    'a private mapping sees what is stored until it stores itself, page by page',
    [
      ['open A f rw+creat', '0'],
      ['truncate A 16384', '0'],
      ['map S A 0 16384 shared', '0'],
      ['map P A 0 16384 private', '0'],
      ['load P 0 4', '<.*4>'],
      ['store S 0 one', '0'],
      ['load P 0 4', 'one.'],
      ['store P 0 own', '0'],
      ['load S 0 4', 'one.'],
      ['read A 4 0', 'one.'],
      ['store S 0 two', '0'],
      ['store S 4096 two', '0'],
      ['load P 0 4', 'own.'],
      ['load P 4096 4', 'two.'],
      ['store P 8192 mine', '0'],
      ['seek A data 8192', 'ENXIO'],
      ['write A file 8192', '4'],
      ['load P 8192 4', 'mine'],
      ['load S 8192 4', 'file'],
      [`fallocate A ${PUNCH_KEEP} 0 16384`, '0'],
      ['load P 0 3', 'own'],
      ['load P 4096 3', '...'],
      ['truncate A 4096', '0'],
      ['load P 8192 4', 'SIGBUS 8192'],
      ['load P 0 3', 'own'],
    ],
  ],
  [
    'write(2) out of a mapping of the same file',
    [
      ['open A f rw+creat', '0'],
      ['truncate A 32768', '0'],
      ['map M A 0 32768 shared', '0'],
      ['store M 0 text', '0'],
      ['writemap A M 0 4096 8192', '4096'],
      ['load M 8192 5', 'text.'],
      ['writemap A M 16384 4096 20480', '4096'],
      ['load M 20480 4', '<.*4>'],
    ],
  ],
  [
    'a fork keeps the mappings, shared and private',
    [
      ['open A f rw+creat', '0'],
      ['truncate A 16384', '0'],
      ['map S A 0 16384 shared', '0'],
      ['map P A 0 16384 private', '0'],
      ['store S 0 parent', '0'],
      ['store P 4096 own', '0'],
      ['fork load S 0 6', 'parent'],
      ['fork store S 8192 child', '0'],
      ['load S 8192 5', 'child'],
      ['fork load P 4092 7', '<.*4>own'],
      ['fork load P 4096 3', 'own'],
      ['fork store P 4096 kid', '0'],
      ['load P 4096 3', 'own'],
      ['fork msync S 0 16384', '0'],
      ['store S 8192 again', '0'],
      ['read A 5 8192', 'again'],
    ],
  ],
  [
    'an unlinked file lives on in its mapping',
    [
      ['open A f rw+creat', '0'],
      ['truncate A 8192', '0'],
      ['map M A 0 8192 shared', '0'],
      ['store M 0 alive', '0'],
      ['unlink f', '0'],
      ['close A', '0'],
      ['load M 0 5', 'alive'],
      ['store M 4096 well', '0'],
      ['msync M 0 8192', '0'],
      ['load M 4096 4', 'well'],
    ],
  ],
  [
    'parts of a mapping go, the rest stays',
    [
      ['open A f rw+creat', '0'],
      ['truncate A 16384', '0'],
      ['map M A 0 16384 shared', '0'],
      ['fill M 0 x 16384', '0'],
      ['unmap M 4096 4096', '0'],
      ['store M 8192 y', '0'],
      ['load M 4094 2', 'xx'],
      ['read A 3 8191', 'xyx'],
      ['msync M 8192 8192', '0'],
      ['truncate A 10000', '0'],
      ['load M 8192 2', 'yx'],
      ['load M 12288 1', 'SIGBUS 12288'],
    ],
  ],
];

t.test('one process', { skip: cannotMap }, async (t) => {
  const { dir, mount } = await daxMount(t);
  for (const [index, [title, rows]] of tables.entries()) {
    await t.test(title, async (t) => {
      const place = join(dir, String(index));
      mkdirSync(place);
      const mapper = Mapper.direct(t, place);
      await mapper.check(t, rows);
      t.equal(await mapper.end(), 0);
      const { dax } = (await mount.info()).daemon;
      t.match(dax, { clients: 0, mappings: 0, waiting: 0 }, 'nothing is left of the process');
    });
  }
});

t.test(
  'processes with and without mappings see each other at once',
  { skip: cannotMap },
  async (t) => {
    const { dir } = await daxMount(t);
    const [a, b, plain] = [Mapper.direct(t, dir), Mapper.direct(t, dir), Mapper.plain(t, dir)];
    await a.check(t, [
      ['open A f rw+creat', '0'],
      ['truncate A 65536', '0'],
      ['map M A 0 65536 shared', '0'],
      ['load M 0 1', '.'],
    ]);
    await b.check(t, [
      ['open A f rw', '0'],
      ['map M A 0 65536 shared', '0'],
      ['load M 3000 1', '.'],
    ]);
    await plain.check(t, [
      ['open A f rw', '0'],
      ['map M A 0 4096 shared', 'ENODEV'],
    ]);
    for (let turn = 0; turn < 20; turn++) {
      const at = turn * 3000;
      t.equal(await a.call(`store M ${at} ping${turn}`), '0');
      const length = 4 + String(turn).length;
      t.equal(await b.call(`load M ${at} ${length}`), `ping${turn}`);
      t.equal(await b.call(`store M ${at} pong${turn}`), '0');
      t.equal(await plain.call(`read A ${length} ${at}`), `pong${turn}`);
      t.equal(await plain.call(`write A pang${turn} ${at}`), String(length));
      t.equal(await a.call(`load M ${at} ${length}`), `pang${turn}`);
      if (turn % 5 === 0) t.equal(await b.call('msync M 0 65536'), '0');
    }
  },
);

t.test(
  'the first store to a clean page moves the modification time',
  { skip: cannotMap },
  async (t) => {
    const { dir } = await daxMount(t);
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A f rw+creat', '0'],
      ['truncate A 4096', '0'],
      ['map M A 0 4096 shared', '0'],
    ]);
    const times = () => statSync(join(dir, 'f'), { bigint: true });
    let last = times();
    const steps: [call: string, moves: boolean][] = [
      ['load M 0 1', false],
      ['store M 0 x', true],
      ['load M 0 1', false],
      ['msync M 0 4096', false],
      ['store M 0 y', true],
    ];
    for (const [call, moves] of steps) {
      await mapper.call(call);
      const now = times();
      t.equal(now.mtimeNs > last.mtimeNs, moves, `mtime after ${call}`);
      t.equal(now.ctimeNs > last.ctimeNs, moves, `ctime after ${call}`);
      last = now;
    }
  },
);

t.test('what a run stored, the page cache shows afterwards', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t);
  const path = join(dir, 'f');
  writeFileSync(path, 'a'.repeat(8192));
  t.equal(readFileSync(path, 'utf8').slice(0, 2), 'aa');
  const mapper = Mapper.direct(t, dir);
  await mapper.check(t, [
    ['open A f rw', '0'],
    ['map M A 0 8192 shared', '0'],
    ['store M 4096 new', '0'],
  ]);
  t.equal(readFileSync(path, 'utf8').slice(4096, 4100), 'newa', 'while it runs');
  await mapper.call('store M 0 last');
  t.equal(await mapper.end(), 0);
  t.equal(readFileSync(path, 'utf8').slice(0, 5), 'lasta', 'and when it has ended');
});

t.test(
  'a file that was open before the run is mapped by the page cache; MAP_SYNC is refused',
  { skip: cannotMap },
  async (t) => {
    const { dir } = await daxMount(t);
    const plain = Mapper.plain(t, dir);
    await plain.check(t, [
      ['open A f rw+creat', '0'],
      ['truncate A 4096', '0'],
      ['map M A 0 4096 shared', '0'],
      ['store M 0 cache', '0'],
    ]);
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A f rw', '0'],
      ['map M A 0 4096 sync', 'EOPNOTSUPP'],
      ['map M A 0 4096 shared', '0'],
      ['load M 0 5', 'cache'],
    ]);
  },
);

t.test('sendfile finds what collapse and insert moved', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t);
  const script = `
import ctypes, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
os.pwrite(fd, b'a' * 4096 + b'b' * 4096, 0)
fallocate = ctypes.CDLL(None).fallocate
fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
def first():
    out, into = os.pipe()
    os.sendfile(into, fd, 0, 4096)
    return os.read(out, 4)
assert first() == b'aaaa'
assert fallocate(fd, 8, 0, 4096) == 0
assert first() == b'bbbb', first()
assert fallocate(fd, 32, 0, 4096) == 0
assert first() == bytes(4), first()
`;
  const done = fauxdax('run', dir, '--', 'python3', '-c', script, join(dir, 'f'));
  t.equal(done.status, 0, done.text);
});
