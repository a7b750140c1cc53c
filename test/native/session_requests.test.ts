/** Requests and answers: what the kernel sends arrives slot by slot, and what is answered is seen. */
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { DEFERRED, OP, Q, REPLY, REQUEST } from '../../lib/frame.js';
import { loadNative } from '../../lib/native.js';
import { FILE_INO, NAME, ROOT_INO, TinyMount } from './tiny_mount.js';

const EPERM = 1;
const ENOENT = 2;
const ENODATA = 61;
const EOPNOTSUPP = 95;

function mounted(t: { teardown(close: () => void): void }): TinyMount {
  const mount = new TinyMount();
  t.teardown(() => mount.close());
  return mount;
}

/** Node has no calls for these; clients that need them are Python. */
const needsPython = {
  skip: spawnSync('python3', ['-c', '']).status === 0 ? false : 'python3 is missing',
};

const ERROR = `const error=(f)=>{try{f();return 'none'}catch(e){return e.code}};`;

t.test('each operation carries its own fields', async (t) => {
  const mount = mounted(t);
  const { client } = { client: (code: string) => mount.client(ERROR + code) };
  mount.handler = (opcode) => {
    const natural: number[] = [OP.LOOKUP, OP.GETATTR, OP.FORGET, OP.OPEN, OP.RELEASE, OP.STATX];
    return natural.includes(opcode) ? undefined : EPERM;
  };
  /** Client code, opcode, expected slots, expected names. */
  const cases: [string, number, Record<number, number>, (string | undefined)[]][] = [
    [
      `fs.mkdirSync(dir+'/d', 0o751)`,
      OP.MKDIR,
      { [REQUEST.mkdir.mode]: 0o751, [REQUEST.mkdir.umask]: 0o22 },
      ['d', undefined],
    ],
    [
      `fs.symlinkSync('to/there', dir+'/s')`,
      OP.SYMLINK,
      { [Q.nodeid]: ROOT_INO },
      ['s', 'to/there'],
    ],
    [
      `fs.linkSync(path, dir+'/l')`,
      OP.LINK,
      { [REQUEST.link.oldnodeid]: FILE_INO, [Q.nodeid]: ROOT_INO },
      ['l', undefined],
    ],
    [
      `fs.renameSync(path, dir+'/r')`,
      OP.RENAME,
      { [REQUEST.rename.newdir]: ROOT_INO, [REQUEST.rename.flags]: 0 },
      [NAME, 'r'],
    ],
    [
      `fs.unlinkSync(path)`,
      OP.UNLINK,
      { [Q.nodeid]: ROOT_INO, [Q.uid]: 0, [Q.gid]: 0 },
      [NAME, undefined],
    ],
    [
      `fs.openSync(dir+'/c', 'wx', 0o640)`,
      OP.CREATE,
      { [REQUEST.create.mode]: 0o100640, [REQUEST.create.umask]: 0o22 },
      ['c', undefined],
    ],
    [
      `fs.truncateSync(path, 12345678901)`,
      OP.SETATTR,
      { [REQUEST.setattr.size]: 12345678901 },
      [undefined, undefined],
    ],
    [
      `fs.utimesSync(path, new Date(-7000), 1234567890.5)`,
      OP.SETATTR,
      {
        [REQUEST.setattr.atime]: -7,
        [REQUEST.setattr.mtime]: 1234567890,
        [REQUEST.setattr.mtimensec]: 5e8,
      },
      [undefined, undefined],
    ],
    [
      `fs.chownSync(path, 4000000000, 12)`,
      OP.SETATTR,
      { [REQUEST.setattr.uid]: 4000000000, [REQUEST.setattr.gid]: 12 },
      [undefined, undefined],
    ],
    [
      `fs.chmodSync(path, 0o4711)`,
      OP.SETATTR,
      { [REQUEST.setattr.valid]: 1, [REQUEST.setattr.mode]: 0o104711 },
      [undefined, undefined],
    ],
    [
      `fs.fsyncSync(fs.openSync(path))`,
      OP.FSYNC,
      { [REQUEST.fsync.fh]: 7, [REQUEST.fsync.fsyncFlags]: 0 },
      [undefined, undefined],
    ],
    [
      `fs.fdatasyncSync(fs.openSync(path))`,
      OP.FSYNC,
      { [REQUEST.fsync.fsyncFlags]: 1 },
      [undefined, undefined],
    ],
    [
      `fs.fsyncSync(fs.openSync(dir))`,
      OP.FSYNCDIR,
      { [Q.nodeid]: ROOT_INO },
      [undefined, undefined],
    ],
    [`fs.statfsSync(dir)`, OP.STATFS, {}, [undefined, undefined]],
  ];
  for (const [code, opcode, slots, names] of cases) {
    const before = mount.calls.length;
    const out = await client(`process.umask(0o22); console.log(error(() => ${code}));`);
    t.equal(out.stdout, 'EPERM\n', code);
    const call = mount.calls.slice(before).find((each) => each.opcode === opcode);
    t.same([call?.name, call?.name2], names, code);
    for (const [slot, value] of Object.entries(slots)) {
      t.equal(call?.request[Number(slot)], value, `${code} slot ${slot}`);
    }
  }
});

t.test('programs of the system reach the rarer operations', async (t) => {
  const mount = mounted(t);
  const fields = async (file: string, args: string[], opcode: number): Promise<Float64Array> => {
    const before = mount.calls.length;
    await mount.command(file, args);
    const call = mount.calls.slice(before).find((each) => each.opcode === opcode);
    t.ok(call, `${file} ${args.join(' ')}`);
    return call?.request ?? new Float64Array(64);
  };
  mount.handler = (opcode) =>
    opcode === OP.FALLOCATE || opcode === OP.MKNOD ? EOPNOTSUPP : undefined;
  const allocate = await fields(
    'fallocate',
    ['-p', '-o', '8192', '-l', '4096', mount.path],
    OP.FALLOCATE,
  );
  const { offset, length, mode } = REQUEST.fallocate;
  t.same([allocate[offset], allocate[length], allocate[mode]], [8192, 4096, 3]);
  const node = await fields('mknod', [`${mount.dir}/null`, 'c', '1', '300'], OP.MKNOD);
  // The kernel's encoding: minor 300 is 0x12c, around the major.
  t.equal(node[REQUEST.mknod.rdev], 0x100000 + 0x12c - 0x100 + (1 << 8));
});

t.test('attributes arrive to the nanosecond, before 1970 too', async (t) => {
  const mount = mounted(t);
  const out = await mount.client(`const s = fs.statSync(path, { bigint: true });
    console.log([s.ino, s.mode.toString(8), s.nlink, s.blocks, s.blksize,
      s.atimeNs, s.mtimeNs, s.ctimeNs, s.birthtimeNs].join(' '));`);
  t.equal(
    out.stdout,
    `2 100666 1 ${mount.sizeBytes / 512} 4096 -1500000000000000000 1700000000123456789 ` +
      `1700000001000000000 1600000000000000005\n`,
  );
});

t.test('a long directory is listed whole, plainly and with attributes', async (t) => {
  const mount = mounted(t);
  mount.names = Array.from({ length: 3000 }, (_, i) => `${i}-${'n'.repeat(i % 200)}`);
  const expected = mount.names.toSorted().join();
  for (const options of ['', ', { withFileTypes: true }']) {
    const out = await mount.client(`const names = fs.readdirSync(dir${options}).map((e) =>
      typeof e === 'string' ? e : e.isFile() ? e.name : '?'); console.log(names.sort().join());`);
    t.ok(out.stdout === `${expected}\n`, `readdir${options}`);
    mount.session.invalidateInode(ROOT_INO, 0, 0);
    await mount.session.notificationsDone();
  }
  t.ok(mount.callsOf(OP.READDIRPLUS).length + mount.callsOf(OP.READDIR).length > 2);
});

t.test('names are bytes: what is no UTF-8 comes back as it was', async (t) => {
  const mount = mounted(t);
  const { encodeName } = loadNative();
  mount.names = ['ü', '日本', '\u{1F600}', '\u{10FFFF}\u{10FFFE}', 'a\u{10FF80}b', 'x'.repeat(255)];
  const listed = await mount.client(`
    for (const name of fs.readdirSync(dir, { encoding: 'buffer' })) console.log(name.toString('hex'))`);
  const bytes = mount.names.map((name) => Buffer.from(encodeName(name)).toString('hex'));
  t.same(listed.stdout.trim().split('\n').sort(), bytes.toSorted());

  // The same bytes backwards, for names that no listing has brought into the kernel's cache.
  const asked = [
    'ß',
    '\u{10FFC3}',
    '\u{10FFFF}\u{10FFFE}?',
    '\u{10FF80}\u{10FFE2}x',
    'z'.repeat(255),
  ];
  const hex = asked.map((name) => Buffer.from(encodeName(name)).toString('hex'));
  await mount.client(`for (const hex of ${JSON.stringify(hex)}) try {
    fs.statSync(Buffer.concat([Buffer.from(dir + '/'), Buffer.from(hex, 'hex')])) } catch {}`);
  const lookups = mount.callsOf(OP.LOOKUP).map((call) => call.name);
  t.same(lookups.slice(-asked.length), asked);

  const long = await mount.client(
    `${ERROR}console.log(error(() => fs.statSync(dir + '/' + 'y'.repeat(256))))`,
  );
  t.equal(long.stdout, 'ENAMETOOLONG\n');
  t.notOk(mount.calls.some((call) => call.name?.startsWith('yyy')));
});

t.test('extended attributes travel both ways, with their sizes', needsPython, async (t) => {
  const mount = mounted(t);
  const values = new Map<string, Buffer>();
  const { session, reply, request } = mount;
  const answer = (bytes: Buffer): number => {
    const asked = request[REQUEST.getxattr.size] as number;
    reply[REPLY.isSize] = asked === 0 ? 1 : 0;
    reply[REPLY.value] = bytes.length;
    session.replyBytes.set(bytes);
    return 0;
  };
  mount.handler = (opcode, name) => {
    if (opcode === OP.SETXATTR) {
      const at = request[REQUEST.setxattr.payload] as number;
      const size = request[REQUEST.setxattr.size] as number;
      values.set(name ?? '', Buffer.from(session.requestBytes.subarray(at, at + size)));
      return 0;
    }
    if (opcode === OP.GETXATTR) {
      const value = values.get(name ?? '');
      return value === undefined ? ENODATA : answer(value);
    }
    if (opcode === OP.LISTXATTR) return answer(Buffer.from(`${[...values.keys()].join('\0')}\0`));
    return undefined;
  };
  const script = `import os,sys
p=sys.argv[1]
os.setxattr(p,'user.a',b'one\\0two')
os.setxattr(p,'user.big',b'z'*65536)
try: os.getxattr(p,'user.none')
except OSError as e: print(e.errno)
print(os.getxattr(p,'user.a'),len(os.getxattr(p,'user.big')),sorted(os.listxattr(p)))`;
  const out = await mount.command('python3', ['-c', script, mount.path]);
  t.equal(out.stdout, `61\nb'one\\x00two' 65536 ['user.a', 'user.big']\n`);
});

t.test('LSEEK, COPY_FILE_RANGE, IOCTL and TMPFILE answer their numbers', needsPython, async (t) => {
  const mount = mounted(t);
  const { reply, request } = mount;
  mount.handler = (opcode) => {
    if (opcode === OP.LSEEK)
      reply[REPLY.value] = 2 ** 40 + (request[REQUEST.lseek.whence] as number);
    else if (opcode === OP.COPY_FILE_RANGE || opcode === OP.COPY_FILE_RANGE_64) {
      reply[REPLY.value] = (request[REQUEST.copyFileRange.len] as number) - 1;
    } else if (opcode === OP.IOCTL) {
      reply[REPLY.ioctlResult] = 3;
      reply[REPLY.value] = 4;
      mount.session.replyBytes.set([1, 2, 3, 4]);
    } else if (opcode === OP.TMPFILE) {
      mount.attributes(FILE_INO + 1);
      reply[REPLY.mode] = 0o100600;
      reply[REPLY.fh] = 9;
    } else return undefined;
    return 0;
  };
  const script = `import os,sys,fcntl
d=sys.argv[1]; a=os.open(d+'/file',os.O_RDWR)
print(os.lseek(a,5,os.SEEK_DATA)-2**40)
print(os.copy_file_range(a,a,4096,0,8192))
b=bytearray(4); print(fcntl.ioctl(a,0x80041234,b), list(b))
t=os.open(d,os.O_TMPFILE|os.O_RDWR,0o600); print(os.fstat(t).st_ino)`;
  const out = await mount.command('python3', ['-c', script, mount.dir]);
  t.equal(out.stdout, '3\n4095\n3 [1, 2, 3, 4]\n3\n', out.stderr);
});

t.test('what was looked up is forgotten with its count', async (t) => {
  const mount = mounted(t);
  const out = await mount.client(`for (let i = 0; i < 5; i++) fs.statSync(path);`);
  t.equal(out.status, 0);
  mount.session.invalidateEntry(ROOT_INO, NAME);
  await mount.session.notificationsDone();
  await mount.client(`try { fs.statSync(dir + '/none') } catch {}`);
  const forgets = mount.callsOf(OP.FORGET);
  const lookups = mount.callsOf(OP.LOOKUP).filter((call) => call.name === NAME).length;
  const { count, pairs } = REQUEST.forget;
  let forgotten = 0;
  for (const { request } of forgets) {
    for (let i = 0; i < (request[count] as number); i++) {
      if (request[pairs + 2 * i] === FILE_INO) forgotten += request[pairs + 2 * i + 1] as number;
    }
  }
  t.equal(forgotten, lookups);
});

t.test('a deferred request is answered later, and only once', async (t) => {
  const mount = mounted(t);
  let deferred = 0;
  mount.handler = (opcode, name) => {
    if (opcode !== OP.LOOKUP || name !== 'later') return undefined;
    deferred = mount.request[Q.unique] as number;
    setTimeout(() => {
      t.throws(() => mount.session.answer(deferred, OP.GETATTR, 0), 'of another opcode');
      mount.session.answer(deferred, OP.LOOKUP, ENOENT);
      t.throws(() => mount.session.answer(deferred, OP.LOOKUP, ENOENT), 'a second time');
    }, 20);
    return DEFERRED;
  };
  const out = await mount.client(`${ERROR}console.log(error(() => fs.statSync(dir + '/later')))`);
  t.equal(out.stdout, 'ENOENT\n');
  t.not(deferred, 0);
  t.throws(() => mount.session.addEntry('x', 1), 'no directory is being read');
});
