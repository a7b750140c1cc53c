// Inode flags by ioctl and by chattr, and the read-only mount.
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import {
  calls,
  checkTable,
  makeMount,
  makePlace,
  mountImage,
  needsMount,
  type Row,
  unmount,
} from './mounted.js';

const tables: [title: string, rows: Row[]][] = [
  [
    'an immutable file changes in nothing until the flag is taken off',
    [
      ['open A f rdwr+creat', '0'],
      ['write A abc', '3'],
      ['open B f rd', '0'],
      ['setflags B i', '0'],
      ['getflags B', 'i'],
      ['open C f rd', '0'],
      ['open C f wr', 'EPERM'],
      ['truncate f 0', 'EPERM'],
      ['chmod f 600', 'EPERM'],
      ['chown f 1 1', 'EPERM'],
      ['utimens f 1 2', 'EPERM'],
      ['setxattr f user.a v', 'EPERM'],
      ['link f g', 'EPERM'],
      ['unlink f', 'EPERM'],
      ['rename f g', 'EPERM'],
      ['read B 3 0', 'abc'],
      ['setflags B none', '0'],
      ['unlink f', '0'],
    ],
  ],
  [
    'an append-only file only grows',
    [
      ['open A f rdwr+creat', '0'],
      ['write A abc', '3'],
      ['setflags A a', '0'],
      ['getflags A', 'a'],
      ['open B f wr', 'EPERM'],
      ['open B f wr+append+trunc', 'EPERM'],
      ['open B f wr+append', '0'],
      ['write B def', '3'],
      ['truncate f 0', 'EPERM'],
      ['unlink f', 'EPERM'],
      ['rename f g', 'EPERM'],
      ['open C f rd', '0'],
      ['read C 10', 'abcdef'],
      ['setflags A none', '0'],
      ['unlink f', '0'],
    ],
  ],
  [
    'an immutable directory keeps its names',
    [
      ['mkdir d', '0'],
      ['open A d/f wr+creat', '0'],
      ['open D d rd+dir', '0'],
      ['setflags D i', '0'],
      ['open B d/g wr+creat', 'EPERM'],
      ['unlink d/f', 'EPERM'],
      ['rename d/f g', 'EPERM'],
      ['mkdir d/e', 'EPERM'],
      ['write A still', '5'],
      ['setflags D none', '0'],
      ['unlink d/f', '0'],
    ],
  ],
  [
    'other flags are kept',
    [
      ['open A f rdwr+creat', '0'],
      ['setflags A d+A', '0'],
      ['getflags A', 'dA'],
      ['setflags A none', '0'],
      ['getflags A', ''],
    ],
  ],
];

for (const [title, rows] of tables) {
  t.test(title, async (t) => {
    const { dir } = makePlace(t);
    // What a failing table leaves immutable could not be removed.
    t.teardown(() => {
      spawnSync('chattr', ['-R', '-i', '-a', dir]);
    });
    checkTable(t, dir, rows);
  });
}

t.test('only root sets the immutable flag', async (t) => {
  checkTable(t, makePlace(t).dir, [
    ['chmod . 777', '0'],
    ['as 1000 1000', '0'],
    ['open A f rdwr+creat', '0'],
    ['setflags A i', 'EPERM'],
    ['setflags A a', 'EPERM'],
    ['setflags A d', '0'],
    ['root', '0'],
    ['open B g rdwr+creat', '0'],
    ['as 1000 1000', '0'],
    ['setflags B d', /^(EPERM|EACCES)$/],
  ]);
});

t.test('lsattr shows what chattr sets', async (t) => {
  const { dir } = makePlace(t);
  const path = join(dir, 'f');
  calls(dir, ['open A f wr+creat']);
  execFileSync('chattr', ['+i', path]);
  t.match(execFileSync('lsattr', [path], { encoding: 'utf8' }), /^-*i-*/);
  execFileSync('chattr', ['-i', path]);
  t.notMatch(execFileSync('lsattr', [path], { encoding: 'utf8' }).split(' ')[0], 'i');
});

t.test('a read-only mount shows everything and changes nothing', needsMount, async (t) => {
  const { dir, image } = makeMount(t);
  calls(dir, [
    'open A f rdwr+creat',
    'write A abc',
    'mkdir d',
    'symlink f l',
    'setxattr f user.a v',
  ]);
  unmount(dir);
  mountImage(t, image, dir, 'ro,allow_other');
  checkTable(t, dir, [
    ['list .', 'd,f,l'],
    ['open A f rd', '0'],
    ['read A 9', 'abc'],
    ['getxattr f user.a', 'v'],
    ['readlink l', 'f'],
    ...[
      'open B f wr',
      'open B g wr+creat',
      'open B f rd+trunc',
      'mkdir e',
      'rmdir d',
      'unlink f',
      'rename f g',
      'link f g',
      'symlink x s',
      'mknod p fifo 644',
      'truncate f 0',
      'chmod f 600',
      'chown f 1 1',
      'utimens f 1 2',
      'setxattr f user.a w',
      'removexattr f user.a',
    ].map((call): Row => [call, 'EROFS']),
    ['access f 2', 'EROFS'],
    ['stat f s', '3'],
  ]);
});
