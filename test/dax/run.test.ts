// `fauxdax run` itself: what it refuses and says, and that it is transparent to the program.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { Image, mounted } from '../fs/image.js';
import { cannotMap, compiled, daxMount, fauxdax, Mapper, program } from './place.js';

function scratch(t: Test, parent = tmpdir()): string {
  const dir = mkdtempSync(join(parent, 'fauxdax-run-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function script(path: string, text: string): string {
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return path;
}

t.test('programs that a preload does not reach are refused', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t);
  const at = scratch(t);
  const isStatic = compiled('mapper', '-static');
  copyFileSync('/bin/true', join(at, 'setuid'));
  chmodSync(join(at, 'setuid'), 0o4755);
  const go = join(at, 'go');
  copyFileSync('/bin/true', go);
  execFileSync('objcopy', ['--add-section', `.go.buildinfo=${isStatic}`, go]);
  // An ELF file for another machine, as far as its header goes.
  const foreign = Buffer.alloc(64);
  foreign.write('\x7fELF\x02\x01\x01', 'latin1');
  foreign.writeUInt16LE(183, 18);
  script(join(at, 'arm'), foreign.toString('latin1'));
  script(join(at, 'by-static'), `#!${isStatic}\n`);
  script(join(at, 'by-env'), `#!/usr/bin/env ${isStatic}\n`);
  script(join(at, 'by-env-s'), `#!/usr/bin/env -S ${isStatic} -x\n`);
  script(join(at, 'by-none'), '#!/usr/bin/env no-such-command\n');
  const cases: [program: string, status: number, reason: RegExp][] = [
    [isStatic, 3, /statically linked/],
    [join(at, 'by-static'), 3, /statically linked/],
    [join(at, 'by-env'), 3, /statically linked/],
    [join(at, 'by-env-s'), 3, /statically linked/],
    [join(at, 'by-none'), 127, /no-such-command: no such command/],
    [join(at, 'setuid'), 3, /set-user-ID.* run a copy/],
    [go, 3, /a Go program/],
    [join(at, 'arm'), 3, /64-bit x86/],
    [join(at, 'none'), 127, /no such command/],
    ['no-such-command', 127, /no such command/],
    [join(at, '..'), 126, /not a program/],
    ['/etc/passwd', 126, /chmod \+x/],
  ];
  for (const [name, status, reason] of cases) {
    const done = fauxdax('run', dir, '--', name);
    t.equal(done.status, status, name);
    t.match(done.text, reason);
    t.match(done.text, /^fauxdax: run: [^\n]+\n$/, 'one line');
  }
});

t.test('a kernel that lacks something is refused', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t);
  const preload = compiled('lacking', '-shared', '-fPIC');
  const cases: [command: string, ...args: string[]][] = [
    ['setarch', '--uname-2.6'],
    ['env', `LD_PRELOAD=${preload}`, 'LACKING=all'],
    ['env', `LD_PRELOAD=${preload}`, 'LACKING=feature'],
    ['env', `LD_PRELOAD=${preload}`],
  ];
  const [old, without, feature, nothing] = cases.map(([command, ...args]) => {
    const words = [...args, process.execPath, program, 'run', dir, '--', 'echo', 'started'];
    return spawnSync(command, words, { encoding: 'utf8' });
  });
  const refused = { status: 3, stdout: '' };
  t.match(old, {
    ...refused,
    stderr: /^fauxdax: run: this is Linux 2\.6\..* need Linux 6\.7 or newer\n$/,
  });
  t.match(without, {
    ...refused,
    stderr: /^fauxdax: run: .* no userfaultfd \(ENOSYS\): build it with .*\n$/,
  });
  t.match(feature, {
    ...refused,
    stderr: /^fauxdax: run: .* lacks features 0x2000: build it with .*\n$/,
  });
  t.match(nothing, { status: 0, stdout: 'started\n' });
});

/** Gives a program CAP_NET_RAW, capabilities(7), where setcap(8) is there and allowed. */
function withCapability(path: string): boolean {
  copyFileSync('/bin/true', path);
  return spawnSync('setcap', ['cap_net_raw+ep', path]).status === 0;
}

t.test('a program with file capabilities is refused', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t);
  const path = join(scratch(t), 'capable');
  if (!withCapability(path)) {
    t.pass('a program with capabilities', { skip: 'setcap is not there, or may not' });
    return;
  }
  const done = fauxdax('run', dir, '--', path);
  t.equal(done.status, 3);
  t.match(done.text, /file capabilities, .* run a copy made by cp\n$/);
});

t.test('descriptors of the caller are inherited', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t);
  const out = join(scratch(t), 'out');
  const fd = openSync(out, 'w');
  const words = [program, 'run', dir, '--', 'sh', '-c', 'echo three >&3; echo nine >&9'];
  const none = 'ignore' as const;
  const done = spawnSync(process.execPath, words, {
    stdio: [none, none, 'pipe', fd, none, none, none, none, none, fd],
    encoding: 'utf8',
  });
  closeSync(fd);
  t.equal(done.stderr, '');
  t.equal(readFileSync(out, 'utf8'), 'three\nnine\n');
});

t.test(
  "pipes of the caller with both ends, as make's job server",
  { skip: cannotMap },
  async (t) => {
    const { dir } = await daxMount(t);
    const at = scratch(t);
    const words = `${process.execPath} ${program} run ${dir} --`;
    // Both jobs wait for each other, so both run at once: a make that lost its job server runs one.
    const other = { a: 'b', b: 'a' };
    const job = (name: 'a' | 'b') =>
      `${name}:\n\t@touch ${at}/${name}; timeout 20 sh -c 'until [ -e ${at}/${other[name]} ]; do sleep 0.1; done'\n`;
    writeFileSync(join(at, 'inner.mk'), `all: a b\n${job('a')}${job('b')}`);
    writeFileSync(join(at, 'outer.mk'), `all:\n\t+@${words} make -f ${join(at, 'inner.mk')}\n`);
    const env = { ...process.env, MAKEFLAGS: '', MFLAGS: '', MAKELEVEL: '' };
    const made = spawnSync('make', ['-j2', '-f', join(at, 'outer.mk')], { encoding: 'utf8', env });
    t.equal(made.status, 0, made.stderr);
    t.notMatch(made.stderr, /jobserver/, 'it has its job server');

    const pipe = '$^F = 255; pipe(R, W); syswrite(W, "token"); exec @ARGV';
    const read = 'pipe(R, W); open(A, "<&=", 3); sysread(A, $_, 5); print';
    const perl = ['-e', pipe, process.execPath, program, 'run', dir, '--', 'perl', '-e', read];
    t.equal(spawnSync('perl', perl, { encoding: 'utf8' }).stdout, 'token', 'ends that wait');
  },
);

t.test('a program ends with a run that is killed', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t);
  const words = [program, 'run', dir, '--', 'sh', '-c', 'echo $$; exec sleep 60'];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  const pid = await new Promise<number>((resolve) => {
    child.stdout.once('data', (text: Buffer) => resolve(Number(String(text))));
  });
  t.teardown(() => spawnSync('kill', ['-KILL', String(pid)]));
  child.kill('SIGKILL');
  // Its end of the pipe is the last one.
  const ended = new Promise<string>((resolve) =>
    child.stdout.once('close', () => resolve('ended')),
  );
  const late = new Promise<string>((resolve) => setTimeout(resolve, 10_000, 'goes on').unref());
  t.equal(await Promise.race([ended, late]), 'ended');
});

t.test(
  'a static program that the program starts has the mount as it is',
  { skip: cannotMap },
  async (t) => {
    const { dir } = await daxMount(t);
    const calls = ['open A f rw,creat', 'write A plain 0', 'read A 5 0', 'map M A 0 4096 shared'];
    const text = `printf '${calls.map((call) => `${call}\\n`).join('')}' | ${compiled('mapper', '-static')} ${dir}`;
    t.same(fauxdax('run', dir, '--', 'sh', '-c', text), {
      status: 0,
      text: '0\n5\nplain\nENODEV\n',
    });
  },
);

/** What a mapping of a file of `dir` gives under a run, and what is said. @param before a shell's line */
function mappedAfter(before: string, dir: string): { outcome: string; said: string } {
  const input = 'open A f rw,creat\ntruncate A 4096\nmap M A 0 4096 shared\n';
  const line = `${before}exec "$@"`;
  const words = ['run', dir, '--', 'sh', '-c', line, 'sh', compiled('mapper'), dir];
  const done = spawnSync(process.execPath, [program, ...words], { input, encoding: 'utf8' });
  return { outcome: done.stdout.trim().split('\n').at(-1) ?? '', said: done.stderr };
}

t.test('why files cannot be mapped is said', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t);
  t.same(mappedAfter('', dir), { outcome: '0', said: '' });
  const few = mappedAfter('ulimit -n 4; ', dir);
  t.equal(few.outcome, 'EMFILE');
  t.match(few.said, /^fauxdax: files of the mount cannot be mapped: threads, descriptors or .*\n$/);

  const core = join(scratch(t), 'vgpreload_core-amd64-linux.so');
  execFileSync('gcc', ['-shared', '-o', core, '-x', 'c', '/dev/null']);
  const checked = mappedAfter(`export LD_PRELOAD=${core}:$LD_PRELOAD; `, dir);
  t.equal(checked.outcome, 'EOPNOTSUPP');
  t.match(checked.said, /^fauxdax: files of the mount cannot be mapped: valgrind .*\n$/);
});

t.test('a program that is no more of the user who mounted', { skip: cannotMap }, async (t) => {
  const user = 'setpriv --reuid 65534 --regid 65534 --clear-groups';
  if (spawnSync('sh', ['-c', `${user} test -x ${compiled('mapper')}`]).status !== 0) {
    t.pass('another user', { skip: 'needs root, and a build that others may read' });
    return;
  }
  const { dir } = await daxMount(t, { allowOther: true });
  chmodSync(join(dir, '..'), 0o755);
  writeFileSync(join(dir, 'f'), '');
  chmodSync(join(dir, 'f'), 0o666);
  const { outcome, said } = mappedAfter(`set -- ${user} "$@"; `, dir);
  t.equal(outcome, 'EACCES');
  t.match(said, /^fauxdax: files of the mount cannot be mapped: its daemon serves the user .*\n$/);
});

t.test('the mount of an ordinary user is for that user', { skip: cannotMap }, async (t) => {
  const allowed = readFileSync('/proc/sys/vm/unprivileged_userfaultfd', 'latin1').trim();
  if (process.geteuid?.() !== 0 || allowed !== '0') {
    t.pass('another user', { skip: 'needs root, and vm.unprivileged_userfaultfd=0' });
    return;
  }
  const at = join(import.meta.dirname, 'other_user.sh');
  const store =
    'import mmap,sys; f=open(sys.argv[1],"w+b"); f.truncate(4096); m=mmap.mmap(f.fileno(),4096); m[0]=65; m.flush(); print(chr(f.read(1)[0]))';
  const words = ['-m', '--propagation', 'private', at, 'python3', '-c', store];
  const done = spawnSync('unshare', words, { encoding: 'utf8', timeout: 120_000 });
  if (done.status === 77) {
    t.pass('another user', { skip: 'the build is not readable to others' });
    return;
  }
  t.equal(done.status, 0, done.stderr);
  const lines = done.stdout.trim().split('\n');
  const [refused, root, user] = lines;
  t.match(refused, /^refused: 3 fauxdax: run: you may not use userfaultfd: .*\/dev\/userfaultfd$/);
  t.match(root, /^root: 3 fauxdax: run: .*: mounted by user 65534: only that user's programs/);
  t.equal(user, 'allowed: 0 A');
  t.equal(lines.length, 3);
});

const notRoot = process.geteuid?.() === 0 ? false : 'needs to become another user';
t.test(
  'a server that maps a file, gives up its rights and forks serves on',
  { skip: cannotMap || notRoot },
  async (t) => {
    const { dir } = await daxMount(t, { allowOther: true });
    const server = `
import mmap, os, sys
path, empty = sys.argv[1:]
file = open(path, "w+b")
file.truncate(4 * 4096)
own = mmap.mmap(file.fileno(), 4 * 4096, flags=mmap.MAP_PRIVATE)
common = mmap.mmap(file.fileno(), 4 * 4096)
common[0:5] = b"first"
own[4096] = 79
os.chroot(empty)
os.chdir("/")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
def serve(left):
  at = left * 16
  common[4096 + at : 4096 + at + 6] = b"served"
  common.flush()
  assert own[4096] == 79 and own[0:5] == b"first"
  assert os.pread(file.fileno(), 6, 4096 + at) == b"served"
  later = mmap.mmap(file.fileno(), 4096, offset=8192)
  later[left] = 65 + left
  if left > 0: become(left - 1)
def become(left):
  pid = os.fork()
  if pid == 0:
    try: serve(left)
    except BaseException as error:
      print(repr(error), flush=True)
      os._exit(1)
    os._exit(0)
  assert os.waitpid(pid, 0)[1] == 0
become(2)
print(common[4096:4102], common[8192:8195])
`;
    const words = [join(dir, 'f'), scratch(t)];
    t.same(fauxdax('run', dir, '--', 'python3', '-c', server, ...words), {
      status: 0,
      text: "b'served' b'ABC'\n",
    });
    t.equal(readFileSync(join(dir, 'f'), 'latin1').slice(8192, 8195), 'ABC');
  },
);

t.test('an image may have a long path', { skip: cannotMap }, async (t) => {
  const base = scratch(t, '/dev/shm');
  const parent = join(base, 'x'.repeat(200));
  const place = { imageDir: join(parent, 'image'), dir: join(base, 'mnt') };
  mkdirSync(parent);
  mkdirSync(place.dir);
  Image.make(place.imageDir, { sizeBytes: 16 << 20 });
  await mounted(t, place);
  const path = join(place.dir, 'f');
  writeFileSync(path, 'a'.repeat(4096));
  const mapper = Mapper.direct(t, place.dir);
  await mapper.check(t, [
    ['open A f rw', '0'],
    ['map M A 0 4096 sync', '0'],
    ['store M 0 long', '0'],
  ]);
  t.equal(await mapper.end(), 0);
  t.equal(readFileSync(path, 'utf8').slice(0, 5), 'longa');
});

t.test('mounts whose files cannot be mapped are refused', { skip: cannotMap }, async (t) => {
  const onDisk = scratch(t, process.env['HOME'] ?? '/var/tmp');
  const diskImage = join(onDisk, 'image');
  Image.make(diskImage, { sizeBytes: 4 << 20 });
  mkdirSync(join(onDisk, 'mnt'));
  const never = await daxMount(t, { dax: 'never' });
  const readOnly = await daxMount(t, { readOnly: true });
  await mounted(t, { imageDir: diskImage, dir: join(onDisk, 'mnt') });
  const cases: [path: string, reason: RegExp][] = [
    ['/proc', /not in a fauxdax mount: use fauxdax mount/],
    ['/nowhere', /no such file/],
    [never.dir, /dax=never: mount it with dax=inode/],
    [readOnly.dir, /mounted read-only/],
    [join(onDisk, 'mnt'), /not in memory .* move the image to \/dev\/shm/],
  ];
  for (const [path, reason] of cases) {
    const done = fauxdax('run', path, '--', 'echo', 'started');
    t.equal(done.status, 3, path);
    t.match(done.text, reason);
    t.notMatch(done.text, /started/);
  }
});

t.test(
  "status, signals, arguments and environment are the program's",
  { skip: cannotMap },
  async (t) => {
    const { dir } = await daxMount(t);
    mkdirSync(join(dir, 'sub'));
    const run = (...words: string[]) => fauxdax('run', join(dir, 'sub'), '--', ...words);
    t.same(run('sh', '-c', 'exit 7'), { status: 7, text: '' });
    t.same(run('sh', '-c', 'kill -TERM $$'), { status: 143, text: '' });
    t.same(run('printf', '%s|', '--help', 'a b', ''), { status: 0, text: '--help|a b||' });
    const at = scratch(t);
    t.same(run(script(join(at, 'script'), '#!/bin/sh\necho $1\n'), 'x'), {
      status: 0,
      text: 'x\n',
    });
    const env = { ...process.env, LD_PRELOAD: '/lib/x86_64-linux-gnu/libm.so.6' };
    const words = ['run', dir, '--', 'sh', '-c', 'echo $LD_PRELOAD'];
    const said = execFileSync(process.execPath, [program, ...words], { env, encoding: 'utf8' });
    t.match(said, /^\/lib\/x86_64-linux-gnu\/libm\.so\.6:\/.*\.so\n$/);
  },
);

t.test('a signal that is sent to run reaches the program', { skip: cannotMap }, async (t) => {
  const { dir } = await daxMount(t);
  const words = [
    'run',
    dir,
    '--',
    'sh',
    '-c',
    'trap "exit 5" TERM; echo ready; while :; do sleep 0.1; done',
  ];
  const child = spawn(process.execPath, [program, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  child.kill('SIGTERM');
  t.equal(await new Promise((resolve) => child.once('exit', resolve)), 5);
});

t.test(
  'a daemon that ends under a run is told of, and the program goes on',
  { skip: cannotMap },
  async (t) => {
    const { dir, imageDir, mount } = await daxMount(t);
    const words = ['run', dir, '--', 'sh', '-c', 'echo ready; read line; echo "$line"; exit 5'];
    const child = spawn(process.execPath, [program, ...words]);
    t.teardown(() => child.kill('SIGKILL'));
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const next = async (stream: Readable) => String((await once(stream, 'data'))[0]);
    t.equal(await next(child.stdout), 'ready\n');
    process.kill(mount.pid, 'SIGKILL');
    const log = join(imageDir, 'daemon.log');
    t.equal(await next(child.stderr), `fauxdax: run: ${dir}: the daemon has ended: see ${log}\n`);
    child.stdin.end('goes on\n');
    t.equal(await next(child.stdout), 'goes on\n');
    t.equal(await ended, 5);
    t.same(fauxdax('umount', dir), { status: 0, text: '' });
  },
);

t.test(
  'a run inside a run is the same run, and on another mount refused',
  { skip: cannotMap },
  async (t) => {
    const [one, other] = [await daxMount(t), await daxMount(t)];
    const nested = (dir: string) =>
      fauxdax('run', one.dir, '--', process.execPath, program, 'run', dir, '--', 'echo', 'started');
    t.same(nested(one.dir), { status: 0, text: 'started\n' });
    const refused = nested(other.dir);
    t.equal(refused.status, 3);
    t.match(refused.text, /inside a run on another mount/);
  },
);
