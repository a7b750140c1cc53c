import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  statSync,
} from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { Errno } from '../../lib/errno.js';
import { loadNative } from '../../lib/native.js';
import { scratchFolder } from './scratch.js';

const native = loadNative();
const NO_SENDER = {
  skip: spawnSync('python3', ['--version']).status !== 0 && 'no python3 to send a descriptor',
};
const NO_MOUNT = {
  skip:
    (process.getuid!() !== 0 && 'mount(2) needs root') ||
    (!existsSync('/dev/fuse') && 'there is no /dev/fuse'),
};

/** Code of the Errno that `call` throws. */
function codeOf(call: () => unknown): string {
  try {
    call();
    return 'nothing thrown';
  } catch (error) {
    return error instanceof Errno ? error.code : String(error);
  }
}

t.test('a lock keeps other open files out until its descriptor closes', async (t) => {
  const path = join(scratchFolder(t), 'lock');
  const first = openSync(path, 'w');
  const second = openSync(path, 'r');
  t.teardown(() => closeSync(second));
  t.equal(native.lockFile(first), true);
  t.equal(native.lockFile(first), true, 'again by its owner');
  t.equal(native.lockFile(second), false);
  native.closeDescriptor(first);
  t.equal(native.lockFile(second), true);
  t.equal(
    codeOf(() => native.lockFile(first)),
    'EBADF',
  );
});

t.test('allocating a file gives it size and blocks, and a full host is ENOSPC', async (t) => {
  const path = join(scratchFolder(t), 'file');
  const fd = openSync(path, 'w');
  t.teardown(() => closeSync(fd));
  native.allocateFile(fd, 1 << 20);
  t.equal(fstatSync(fd).size, 1 << 20);
  t.ok(fstatSync(fd).blocks * 512 >= 1 << 20);
  native.allocateFile(fd, 4096);
  t.equal(fstatSync(fd).size, 1 << 20, 'never shrinks');
  t.ok(['ENOSPC', 'EFBIG'].includes(codeOf(() => native.allocateFile(fd, 2 ** 52))));
  t.throws(() => native.allocateFile(fd, 0), RangeError);
});

t.test('closing a descriptor closes it, once', async (t) => {
  const [left, right] = native.socketPair();
  native.closeDescriptor(left);
  t.notOk(existsSync(`/proc/self/fd/${left}`));
  t.equal(
    codeOf(() => native.closeDescriptor(left)),
    'EBADF',
  );
  native.closeDescriptor(right);
  t.throws(() => native.closeDescriptor(-1), RangeError);
});

t.test('descriptors made here do not leak into child processes', async (t) => {
  const pair = native.socketPair();
  for (const fd of pair) {
    const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!;
    t.ok(Number.parseInt(flags, 8) & 0o2000000, 'O_CLOEXEC');
    native.closeDescriptor(fd);
  }
});

t.test(
  'a descriptor that another process sends arrives open and close-on-exec',
  NO_SENDER,
  async (t) => {
    const path = join(scratchFolder(t), 'sent');
    const [ours, theirs] = native.socketPair();
    const script = `import socket,os,sys
s=socket.socket(fileno=3)
fd=os.open(sys.argv[1],os.O_RDWR|os.O_CREAT)
os.write(fd,b"through the socket")
socket.send_fds(s,[b"\\0"],[fd])`;
    const sender = spawn('python3', ['-c', script, path], { stdio: [0, 1, 2, theirs] });
    const fd = native.receiveDescriptor(ours);
    t.equal(fstatSync(fd).ino, statSync(path).ino);
    t.equal(fstatSync(fd).size, 18);
    t.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /flags:\s+02\d{6}/, 'close-on-exec');
    await new Promise((resolve) => sender.on('exit', resolve));
    for (const open of [fd, ours, theirs]) native.closeDescriptor(open);
  },
);

t.test(
  'a peer that sends no descriptor is ENODATA, a descriptor that is no socket ENOTSOCK',
  async (t) => {
    const [ours, theirs] = native.socketPair();
    native.closeDescriptor(theirs);
    t.equal(
      codeOf(() => native.receiveDescriptor(ours)),
      'ENODATA',
    );
    native.closeDescriptor(ours);
    const fd = openSync('/dev/null', 'r');
    t.equal(
      codeOf(() => native.receiveDescriptor(fd)),
      'ENOTSOCK',
    );
    closeSync(fd);
  },
);

t.test(
  'mount puts fuse.fauxdax into the mount table and unmount takes it out',
  NO_MOUNT,
  async (t) => {
    const dir = join(scratchFolder(t), 'mnt');
    mkdirSync(dir);
    const data = 'rootmode=40000,user_id=0,group_id=0';
    const fd = native.mountFuse(dir, '/some image', 6, data); // MS_NOSUID | MS_NODEV
    const line = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .find((entry) => entry.includes(dir));
    t.match(line, / rw,nosuid,nodev\S* - fuse\.fauxdax \/some\\040image /);
    native.unmount(dir, true);
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), dir);
    native.closeDescriptor(fd);
    t.equal(
      codeOf(() => native.unmount(dir, false)),
      'EINVAL',
    );
  },
);

t.test(
  'a mount that the kernel refuses names the reason and leaves no descriptor',
  NO_MOUNT,
  async (t) => {
    const dir = scratchFolder(t);
    // Of /dev/fuse only: the test runner opens and closes pipes of its own meanwhile.
    const open = () => readdirSync('/proc/self/fd').filter(isFuse).length;
    const data = 'rootmode=40000,user_id=0,group_id=0';
    t.equal(
      codeOf(() => native.mountFuse(join(dir, 'no'), 'x', 0, data)),
      'ENOENT',
    );
    t.equal(
      codeOf(() => native.mountFuse(dir, 'x', 0, 'nonsense=1')),
      'EINVAL',
    );
    t.equal(open(), 0);
  },
);

t.test('an errno keeps its name and number on the way up', async (t) => {
  try {
    native.closeDescriptor(2 ** 30);
    t.fail('closed');
  } catch (error) {
    t.ok(error instanceof Errno);
    t.equal((error as Errno).errno, constants.errno.EBADF);
    t.match((error as Errno).message, /descriptor 1073741824: Bad file descriptor/);
  }
});

/** Whether a descriptor of this process is of /dev/fuse; one closed since is not. */
function isFuse(fd: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/fuse';
  } catch {
    return false;
  }
}
