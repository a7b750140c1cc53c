// Attributes: modes, owners, sizes and times, and what a change of one does to the others.
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { calls, checkTable, makePlace, type Row } from './mounted.js';

// A time of the clock, which no test sets: 2017 and later.
const now = /^1[5-9]\d{8}\.\d{9}$/;
const old = 'utimens f 5.000000001 6.999999999';
const oldTime = '6.999999999';

const tables: [title: string, rows: Row[]][] = [
  [
    'chmod sets all twelve bits and chown the owner, group or neither',
    [
      ['open A f wr+creat 644', '0'],
      ['chmod f 7777', '0'],
      ['stat f m', '7777'],
      ['chmod f 0', '0'],
      ['stat f m', '0'],
      ['chown f 4294967294 12', '0'],
      ['stat f ug', '4294967294 12'],
      ['chown f -1 13', '0'],
      ['stat f ug', '4294967294 13'],
      ['chown f 14 -1', '0'],
      ['stat f ug', '14 13'],
      ['symlink f l', '0'],
      ['lchown l 70000 70001', '0'],
      ['stat l ug', '70000 70001'],
      ['stat f ug', '14 13'],
      ['chown l 1 2', '0'],
      ['stat f ug', '1 2'],
      ['chmod none 644', 'ENOENT'],
    ],
  ],
  [
    'times keep nanoseconds, before 1970 and beyond 2038',
    [
      ['open A f wr+creat', '0'],
      ['utimens f 1.123456789 -1.000000001', '0'],
      ['stat f AM', '1.123456789 -1.000000001'],
      ['utimens f 5000000000.999999999 7', '0'],
      ['stat f AM', '5000000000.999999999 7.000000000'],
      ['utimens f 1.1000000000 7', 'EINVAL'],
    ],
  ],
  [
    'UTIME_OMIT keeps a time and UTIME_NOW takes the clock',
    [
      ['open A f wr+creat', '0'],
      [old, '0'],
      ['utimens f omit 8.5', '0'],
      ['stat f AM', '5.000000001 8.000000005'],
      ['utimens f 9.5 omit', '0'],
      ['stat f AM', '9.000000005 8.000000005'],
      ['utimens f omit omit', '0'],
      ['stat f AM', '9.000000005 8.000000005'],
      ['utimens f now omit', '0'],
      ['stat f A', now],
      ['stat f M', '8.000000005'],
      ['utimens f omit now', '0'],
      ['stat f M', now],
    ],
  ],
  [
    'what changes the bytes of a file moves its mtime',
    [
      ['open A f rdwr+creat', '0'],
      [old, '0'],
      ['write A x*5000', '5000'],
      ['stat f M', now],
      [old, '0'],
      ['write A y 10', '1'],
      ['fstat A M', now],
      [old, '0'],
      ['ftruncate A 100', '0'],
      ['stat f M', now],
      [old, '0'],
      ['ftruncate A 100', '0'],
      ['stat f M', now],
      [old, '0'],
      ['truncate f 9000', '0'],
      ['stat f M', now],
      [old, '0'],
      ['fallocate A punch+keep 0 4096', '0'],
      ['stat f M', now],
      [old, '0'],
      ['fallocate A zero 0 4096', '0'],
      ['stat f M', now],
      [old, '0'],
      ['open B f wr+trunc', '0'],
      ['stat f M', now],
      ['open B g wr+creat', '0'],
      ['write A x*100 0', '100'],
      ['utimens g 5 6', '0'],
      ['copy A 0 B 0 50', '50'],
      ['stat g M', now],
    ],
  ],
  [
    'what does not change the bytes leaves the mtime alone',
    [
      ['open A f rdwr+creat', '0'],
      ['write A abc', '3'],
      [old, '0'],
      ['read A 3 0', 'abc'],
      ['chmod f 600', '0'],
      ['chown f 1 1', '0'],
      ['setxattr f user.a v', '0'],
      ['link f g', '0'],
      ['rename g h', '0'],
      ['fsync A', '0'],
      ['write A -*0', '0'],
      ['stat f M', oldTime],
      ['open B f wr', '0'],
      ['close B', '0'],
      ['stat f M', oldTime],
    ],
  ],
  [
    'names that come and go move the mtime of their directory',
    [
      ['mkdir d', '0'],
      ['mkdir e', '0'],
      ...(
        [
          'open A d/f wr+creat',
          'link d/f d/g',
          'symlink x d/s',
          'mkdir d/m',
          'mknod d/p fifo 644',
          'rename d/g d/h',
          'rename d/h e/h',
          'rename e/h d/i',
          'unlink d/i',
          'rmdir d/m',
        ] as const
      ).flatMap((call): Row[] => [
        ['utimens d 5 6', '0'],
        [call, '0'],
        ['stat d M', now],
      ]),
      ['utimens d 5 6', '0'],
      ['open B d/f wr', '0'],
      ['write B inside', '6'],
      ['chmod d/f 600', '0'],
      ['mkdir d/p', 'EEXIST'],
      ['stat d M', '6.000000000'],
    ],
  ],
  [
    'reading moves an atime that is older than the mtime, and O_NOATIME does not',
    [
      ['open A f rdwr+creat', '0'],
      ['write A abc', '3'],
      ['close A', '0'],
      [old, '0'],
      ['open A f rd+noatime', '0'],
      ['read A 3', 'abc'],
      ['stat f A', '5.000000001'],
      // Past the page cache, which the read before has filled: only reads that reach us count.
      ['open A f rd+direct', '0'],
      ['read A 3', 'abc'],
      ['stat f A', now],
    ],
  ],
  [
    'truncate shortens, and lengthens with zeros',
    [
      ['open A f rdwr+creat', '0'],
      ['write A abcdefgh*1024', '8192'],
      ['ftruncate A 4099', '0'],
      ['fstat A s', '4099'],
      ['read A 10 4096', 'abc'],
      ['ftruncate A 4105', '0'],
      ['read A 20 4096', 'abc%00%00%00%00%00%00'],
      ['truncate f 20000', '0'],
      ['read A 100 4090', 'cdefghabc<%00*91>'],
      ['read A 30000 8192', '<%00*11808>'],
      ['truncate f 0', '0'],
      ['fstat A sb', '0 0'],
      ['truncate f -1', 'EINVAL'],
      ['truncate . 0', 'EISDIR'],
      ['open B f rd', '0'],
      ['ftruncate B 5', 'EINVAL'],
      ['truncate none 0', 'ENOENT'],
    ],
  ],
  [
    'a write by another user clears suid, and sgid where the group may execute',
    [
      ['chmod . 777', '0'],
      ['open A f rdwr+creat', '0'],
      ['chmod f 6777', '0'],
      ['as 1000 1000', '0'],
      ['open A f rdwr', '0'],
      ['write A x', '1'],
      ['stat f m', '777'],
      ['root', '0'],
      ['chmod f 6767', '0'],
      ['as 1000 1000', '0'],
      ['write A x', '1'],
      ['stat f m', /^2?767$/],
      ['root', '0'],
      ['chmod f 4777', '0'],
      ['as 1000 1000', '0'],
      ['truncate f 0', '0'],
      ['stat f m', '777'],
      ['root', '0'],
      ['chmod f 4777', '0'],
      ['as 1000 1000', '0'],
      ['ftruncate A 9', '0'],
      ['stat f m', '777'],
      ['root', '0'],
      ['chmod f 4777', '0'],
      ['as 1000 1000', '0'],
      ['fallocate A none 0 100', '0'],
      ['stat f m', '777'],
    ],
  ],
  [
    'chown of a file clears suid and sgid, of a directory it does not',
    [
      ['open A f wr+creat', '0'],
      ['chmod f 6755', '0'],
      ['chown f 3 3', '0'],
      ['stat f m', '755'],
      ['chmod f 6755', '0'],
      ['chown f -1 -1', '0'],
      ['stat f m', '755'],
      ['mkdir d', '0'],
      ['chmod d 6755', '0'],
      ['chown d 3 3', '0'],
      ['stat d m', '6755'],
    ],
  ],
];

for (const [title, rows] of tables) {
  t.test(title, async (t) => checkTable(t, makePlace(t).dir, rows));
}

t.test('every change of a file moves its ctime', async (t) => {
  const { dir } = makePlace(t);
  calls(dir, ['open A f wr+creat', 'mkdir d']);
  const changes = [
    'chmod f 600',
    'chown f 1 1',
    'utimens f 1 2',
    'link f g',
    'unlink g',
    'rename f h',
    'rename h f',
    'truncate f 10',
    'setxattr f user.a v',
    'removexattr f user.a',
  ];
  for (const change of changes) {
    const was = change === 'rename h f' ? 'h' : 'f';
    const before = calls(dir, [`stat ${was} C`])[0];
    // The clock that stamps files ticks every few milliseconds.
    spawnSync('sleep', ['0.02']);
    const name = change === 'rename f h' ? 'h' : 'f';
    const [done, after] = calls(dir, [change, `stat ${name} C`]);
    t.equal(done, '0', change);
    t.not(after, before, `${change} moves ctime`);
  }
});
