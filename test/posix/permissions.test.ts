// Permissions as other users meet them: mode bits, sticky and setgid directories, access lists.
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { calls, checkTable, makePlace, type Row } from './mounted.js';

const tables: [title: string, rows: Row[]][] = [
  [
    'mode bits decide for owner, group and others',
    [
      ['open A f wr+creat', '0'],
      ['chmod f 640', '0'],
      ['chown f 1000 2000', '0'],
      ['as 1000 1000', '0'],
      ['open A f rdwr', '0'],
      ['root', '0'],
      ['as 1001 1001 2000', '0'],
      ['open A f rd', '0'],
      ['open A f wr', 'EACCES'],
      ['access f 4', '0'],
      ['access f 2', 'EACCES'],
      ['root', '0'],
      ['as 1001 1001', '0'],
      ['open A f rd', 'EACCES'],
      ['chmod f 777', 'EPERM'],
      ['chown f 1001 -1', 'EPERM'],
      ['utimens f 1 2', 'EPERM'],
      ['utimens f now now', 'EACCES'],
      ['truncate f 0', 'EACCES'],
      ['getxattr f user.a', 'EACCES'],
    ],
  ],
  [
    'the owner may give a file only to groups of its own, and loses sgid with a foreign group',
    [
      ['chmod . 777', '0'],
      ['as 1000 1000 1500', '0'],
      ['open A f wr+creat', '0'],
      ['stat f ug', '1000 1000'],
      ['chown f -1 1500', '0'],
      ['chown f -1 1600', 'EPERM'],
      ['chown f 1001 -1', 'EPERM'],
      ['chmod f 2755', '0'],
      ['stat f m', '2755'],
      ['root', '0'],
      ['chown f -1 1600', '0'],
      ['as 1000 1000 1500', '0'],
      ['chmod f 2755', '0'],
      ['stat f m', '755'],
    ],
  ],
  [
    'a directory without search permission hides what is in it',
    [
      ['mkdir d', '0'],
      ['open A d/f wr+creat', '0'],
      ['chmod d 744', '0'],
      ['as 1000 1000', '0'],
      ['stat d/f t', 'EACCES'],
      ['list d', 'f'],
      ['open A d/g wr+creat', 'EACCES'],
      ['root', '0'],
      ['chmod d 711', '0'],
      ['as 1000 1000', '0'],
      ['stat d/f t', 'reg'],
      ['list d', 'EACCES'],
      ['unlink d/f', 'EACCES'],
      ['mkdir d/e', 'EACCES'],
      ['rename d/f d/g', 'EACCES'],
    ],
  ],
  [
    'in a sticky directory only owners remove and rename',
    [
      ['mkdir d', '0'],
      ['chmod d 1777', '0'],
      ['as 1000 1000', '0'],
      ['open A d/f wr+creat 666', '0'],
      ['mkdir d/e', '0'],
      ['root', '0'],
      ['as 1001 1001', '0'],
      ['unlink d/f', 'EPERM'],
      ['rename d/f d/g', 'EPERM'],
      ['rmdir d/e', 'EPERM'],
      ['open B d/own wr+creat', '0'],
      ['rename d/own d/f', 'EPERM'],
      ['rename d/own d/mine', '0'],
      ['unlink d/mine', '0'],
      ['root', '0'],
      ['as 1000 1000', '0'],
      ['rename d/f d/g', '0'],
      ['unlink d/g', '0'],
      ['rmdir d/e', '0'],
    ],
  ],
  [
    'a setgid directory hands its group down, and its bit to directories',
    [
      ['mkdir d', '0'],
      ['chown d 0 1500', '0'],
      ['chmod d 2777', '0'],
      ['as 1000 1000', '0'],
      ['umask 0', '0'],
      ['open A d/f wr+creat 2775', '0'],
      ['stat d/f ugm', '1000 1500 775'],
      ['mkdir d/e 755', '0'],
      ['stat d/e ugm', '1000 1500 2755'],
      ['symlink x d/l', '0'],
      ['stat d/l ug', '1000 1500'],
      ['mknod d/p fifo 644', '0'],
      ['stat d/p ug', '1000 1500'],
      ['open B d rdwr+tmpfile 644', '0'],
      ['fstat B ug', '1000 1500'],
    ],
  ],
  [
    'an ordinary user makes no devices and sets no trusted attributes',
    [
      ['chmod . 777', '0'],
      ['as 1000 1000', '0'],
      ['mknod c chr 644 1 3', 'EPERM'],
      ['mknod p fifo 644', '0'],
      ['open A f wr+creat', '0'],
      ['setxattr f trusted.a v', 'EPERM'],
      ['setxattr f user.a v', '0'],
      ['setxattr f security.a v', 'EPERM'],
    ],
  ],
];

for (const [title, rows] of tables) {
  t.test(title, async (t) => checkTable(t, makePlace(t).dir, rows));
}

const acl = {
  skip: spawnSync('setfacl', ['--version']).status === 0 ? false : 'package acl is missing',
};

function getfacl(path: string): string[] {
  const args = ['--omit-header', '--numeric', '--absolute-names', path];
  return execFileSync('getfacl', args, { encoding: 'utf8' }).trim().split('\n');
}

t.test('an access list is kept, shown in the mode, and decides', acl, async (t) => {
  const { dir } = makePlace(t);
  const path = join(dir, 'f');
  calls(dir, ['open A f wr+creat 640', 'chmod . 755']);
  execFileSync('setfacl', ['-m', 'u:1000:rw,g:1500:r', path]);
  t.strictSame(getfacl(path), [
    'user::rw-',
    'user:1000:rw-',
    'group::r--',
    'group:1500:r--',
    'mask::rw-',
    'other::---',
  ]);
  checkTable(t, dir, [
    ['stat f m', '660'],
    ['as 1000 1000', '0'],
    ['open A f rdwr', '0'],
    ['root', '0'],
    ['as 1001 1001 1500', '0'],
    ['open A f rd', '0'],
    ['open A f wr', 'EACCES'],
    ['root', '0'],
    ['as 1002 1002', '0'],
    ['open A f rd', 'EACCES'],
    ['root', '0'],
    ['chmod f 640', '0'],
    ['as 1000 1000', '0'],
    ['open A f wr', 'EACCES'],
  ]);
  t.ok(getfacl(path).includes('mask::r--'), 'chmod changes the mask');
  execFileSync('setfacl', ['-b', path]);
  t.strictSame(getfacl(path), ['user::rw-', 'group::r--', 'other::---']);
});

t.test('a default access list is inherited by files and directories', acl, async (t) => {
  const { dir } = makePlace(t);
  const path = join(dir, 'd');
  calls(dir, ['mkdir d 755']);
  execFileSync('setfacl', ['-d', '-m', 'u::rwx,u:1000:rwx,g::rx,o::-', path]);
  checkTable(t, dir, [
    ['umask 077', '0'],
    ['open A d/f wr+creat 666', '0'],
    ['stat d/f m', '660'],
    ['mkdir d/e 777', '0'],
    ['stat d/e m', '770'],
    ['open A d/e/g wr+creat 640', '0'],
  ]);
  t.strictSame(
    getfacl(join(path, 'f')).filter((line) => line !== ''),
    [
      'user::rw-',
      'user:1000:rwx\t#effective:rw-',
      'group::r-x\t#effective:r--',
      'mask::rw-',
      'other::---',
    ],
  );
  t.ok(getfacl(join(path, 'e')).includes('default:user:1000:rwx'), 'directories hand it on');
  checkTable(t, dir, [
    ['as 1000 1000', '0'],
    ['open A d/f rdwr', '0'],
    ['root', '0'],
    ['as 1001 1001', '0'],
    ['open A d/f rd', 'EACCES'],
  ]);
});
