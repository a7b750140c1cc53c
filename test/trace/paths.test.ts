/** Paths and words for calls, as they were when the call was made. */
import t from 'tap';
import { CallTexts } from '../../lib/trace/call_text.js';
import type { CallEvent } from '../../lib/trace/event.js';
import { PathTracker } from '../../lib/trace/paths.js';
import type { MetadataRecord } from '../../lib/metadata/records.js';
import { call, sampleBase } from './sample.js';

const change = (record: MetadataRecord) => ({ type: 'metadata', callId: 1, record }) as const;
const add = (parentIno: number, name: string, ino: number) =>
  change({ type: 'add-name', parentIno, name, ino });
const remove = (parentIno: number, name: string) =>
  change({ type: 'remove-name', parentIno, name });
const replace = (parentIno: number, name: string, ino: number) =>
  change({ type: 'replace-name', parentIno, name, ino });

t.test('a path follows every change of a name', async (t) => {
  const paths = new PathTracker(sampleBase(t));
  t.equal(paths.path(1), '.');
  t.equal(paths.path(2), 'file', 'a name of the base');
  t.equal(paths.path(77), '#77', 'nothing is known');
  paths.observe(add(1, 'dir', 3));
  paths.observe(add(3, 'a', 4));
  t.equal(paths.path(4), 'dir/a');
  paths.observe(remove(1, 'dir'));
  paths.observe(add(1, 'moved', 3));
  t.equal(paths.path(4), 'moved/a', 'a directory was renamed');
  paths.observe(add(1, 'other', 4));
  paths.observe(remove(3, 'a'));
  t.equal(paths.path(4), 'other', 'the name that is left of two');
  paths.observe(add(1, 'tmp', 5));
  paths.observe(remove(1, 'tmp'));
  paths.observe(replace(1, 'other', 5));
  t.equal(paths.path(5), 'other');
  t.equal(paths.path(4), 'other', 'the last name of what was replaced');
  t.notOk(paths.isNamed(4));
  t.ok(paths.isNamed(5));
  t.equal(paths.pathOf(3, 'new'), 'moved/new');
});

t.test('an inode whose directory was removed keeps its last path', async (t) => {
  const paths = new PathTracker(sampleBase(t));
  for (const event of [add(1, 'd', 3), add(3, 'x', 4), remove(3, 'x'), remove(1, 'd')]) {
    paths.observe(event);
  }
  t.equal(paths.path(4), 'd/x');
  t.notOk(paths.isNamed(4));
});

t.test('a loop of directories ends', async (t) => {
  const paths = new PathTracker(sampleBase(t));
  paths.observe(add(4, 'a', 3));
  paths.observe(add(3, 'b', 4));
  t.ok(paths.path(3).startsWith('b/a/') || paths.path(3).includes('a/b'));
});

t.test('a call is named by what it does to which path', async (t) => {
  const texts = new CallTexts(sampleBase(t));
  texts.observe(add(1, 'dir', 3));
  texts.observe({ type: 'process', pid: 7, parentPid: 1, command: 'python3 work.py' });
  const table: [string, CallEvent][] = [
    ['write(file, offset 0, 120 bytes)', call('WRITE', { offset: 0, lengthBytes: 120 })],
    ['write(file, offset 9, 1 byte)', call('WRITE', { offset: 9, lengthBytes: 1 })],
    [
      'writeback of a mapping of file (offset 0, 4096 bytes)',
      call('WRITE', { pid: 0, offset: 0, lengthBytes: 4096, isWriteback: true }),
    ],
    [
      'writeback of file (offset 0, 5 bytes)',
      call('WRITE', { offset: 0, lengthBytes: 5, isWriteback: true }),
    ],
    ['read(file, offset 1, 2 bytes)', call('READ', { offset: 1, lengthBytes: 2 })],
    ['fsync(file)', call('FSYNC', { flags: 0 })],
    ['fdatasync(file)', call('FSYNC', { flags: 1 })],
    ['fsync(directory .)', call('FSYNCDIR', { ino: 1 })],
    ['syncfs()', call('SYNCFS', { ino: 1 })],
    ['create(new)', call('CREATE', { ino: 1, name: 'new' })],
    ['create(a file without name in dir)', call('TMPFILE', { ino: 3 })],
    ['mkdir(dir/sub)', call('MKDIR', { ino: 3, name: 'sub' })],
    ['unlink(file)', call('UNLINK', { ino: 1, name: 'file' })],
    ['rmdir(dir)', call('RMDIR', { ino: 1, name: 'dir' })],
    ['symlink(l → ../x)', call('SYMLINK', { ino: 1, name: 'l', name2: '../x' })],
    ['rename(file → dir/b)', call('RENAME2', { ino: 1, ino2: 3, name: 'file', name2: 'b' })],
    [
      'exchange(file ↔ dir/b)',
      call('RENAME2', { ino: 1, ino2: 3, name: 'file', name2: 'b', flags: 2 }),
    ],
    ['link(file → dir/b)', call('LINK', { ino: 3, ino2: 2, name: 'b' })],
    ['truncate(file, 0)', call('SETATTR', { flags: 8 | 32, lengthBytes: 0 })],
    ['chmod(file)', call('SETATTR', { flags: 1 })],
    ['chown(file)', call('SETATTR', { flags: 4 })],
    ['utimens(file)', call('SETATTR', { flags: 32 | 256 })],
    ['open(file)', call('OPEN', { flags: 2 })],
    ['open(file, emptied)', call('OPEN', { flags: 0o1001 })],
    ['close(file)', call('RELEASE')],
    ['punch_hole(file, offset 0, 9 bytes)', call('FALLOCATE', { lengthBytes: 9, flags: 3 })],
    ['fallocate(file, offset 0, 9 bytes)', call('FALLOCATE', { lengthBytes: 9, flags: 0 })],
    ['setxattr(file, user.x)', call('SETXATTR', { name: 'user.x' })],
    [
      'copy_file_range(file → dir, offset 0, 9 bytes)',
      call('COPY_FILE_RANGE', { ino2: 3, lengthBytes: 9 }),
    ],
    ['ioctl(file)', call('IOCTL', { flags: 1 })],
  ];
  for (const [text, event] of table) t.equal(texts.of(event, 5).text, text);
  const rename = call('RENAME2', { ino: 1, ino2: 3, name: 'file', name2: 'b' });
  t.match(texts.of(rename, 5), {
    callId: rename.callId,
    position: 5,
    pid: 7,
    command: 'python3 work.py',
    operation: 'RENAME2',
    path: 'file',
    path2: 'dir/b',
  });
  t.match(texts.of(call('WRITE', { pid: 8, offset: 3, lengthBytes: 4 }), 0), {
    command: '',
    offset: 3,
    lengthBytes: 4,
  });
});
