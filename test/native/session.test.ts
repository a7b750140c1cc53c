/** Data: what native service answers by itself, and what it leaves to the handler. */
import t from 'tap';
import { OP, REQUEST } from '../../lib/frame.js';
import {
  FILE_BYTES,
  FILE_INO,
  FILE_PAGES,
  NOTHING_TO_KILL,
  READS_TOUCH_ATIME,
  SERVE_READS,
  SERVE_WRITES,
  TinyMount,
} from './tiny_mount.js';

const FOPEN_DIRECT_IO = 1;
const FUSE_WRITE_KILL_SUIDGID = 4;
const EIO = 5;

function mounted(t: { teardown(close: () => void): void }): TinyMount {
  const mount = new TinyMount();
  t.teardown(() => mount.close());
  return mount;
}

const READ = `const read=(offset,length)=>{const fd=fs.openSync(path,'r');
  const b=Buffer.alloc(length);const n=fs.readSync(fd,b,0,length,offset);fs.closeSync(fd);
  return b.subarray(0,n);};
  const error=(f)=>{try{f();return 'none'}catch(e){return e.code}};`;
const WRITE = `const write=(offset,text)=>{const fd=fs.openSync(path,'r+');
  const n=fs.writeSync(fd,text,offset);fs.closeSync(fd);return n;};`;

t.test('a shared file is read and written without the handler', async (t) => {
  const mount = mounted(t);
  mount.region.storeFlushed(4096, Buffer.from('hello'));
  mount.share(SERVE_READS | SERVE_WRITES);
  const out = await mount.client(`${READ}${WRITE}
    const text = read(0, 5).toString(); write(10, 'world');
    console.log(text, fs.statSync(path).size, fs.readdirSync(dir).join());`);
  t.match(out, { status: 0, stdout: `hello ${FILE_BYTES} file\n` });
  const bytes = Buffer.alloc(5);
  mount.region.read(4096 + 10, bytes);
  t.equal(bytes.toString(), 'world');
  t.match(mount.session.counters(), { nativeWrites: 1, nativeWriteBytes: 5 });
  t.same([mount.callsOf(OP.READ), mount.callsOf(OP.WRITE)], [[], []]);
});

t.test('a file that is not shared goes through the handler with the same bytes', async (t) => {
  const mount = mounted(t);
  const out = await mount.client(`${READ}${WRITE}
    write(123456, 'x'.repeat(300000)); const b = read(123456, 300000);
    console.log(b.length, b.every((c) => c === 120));`);
  t.match(out, { status: 0, stdout: '300000 true\n' });
  t.match(mount.session.counters(), { nativeReads: 0, nativeWrites: 0 });
  const written = mount.callsOf(OP.WRITE).map((call) => call.request[REQUEST.write.size] as number);
  t.equal(
    written.reduce((sum, bytes) => sum + bytes, 0),
    300000,
  );
});

t.test('holes and unwritten extents read as zeros, whatever their pages hold', async (t) => {
  const mount = mounted(t);
  mount.openFlags = FOPEN_DIRECT_IO;
  mount.region.storeFlushed(4096, Buffer.alloc(FILE_BYTES, 'a'));
  mount.session.shareFile(FILE_INO, FILE_BYTES);
  // page 0 written, 1 unwritten, 2 a hole, 3 written out of order, 4 .. 19 every other page a hole
  const extents = [0, 1, 1, 1, 1, 2, 1, 0, 3, 9, 1, 1];
  for (let page = 4; page < 20; page += 2) extents.push(page, page + 30, 1, 1);
  mount.session.setMap(FILE_INO, 0, FILE_PAGES, new Float64Array(extents), extents.length / 4);
  mount.session.setService(FILE_INO, SERVE_READS | SERVE_WRITES);
  mount.region.storeFlushed(9 * 4096, Buffer.alloc(4096, 'b'));
  const out = await mount.client(`${READ}
    const all = read(100, 20 * 4096);
    let runs = ''; let last = -1;
    for (let i = 0; i < all.length; i++) {
      if (all[i] !== last) { runs += ' ' + all[i] + '@' + (i + 100) / 4096; last = all[i]; } }
    console.log(runs);`);
  let expected = ` 97@${100 / 4096} 0@1 98@3`;
  for (let page = 4; page < 20; page += 2) expected += ` 97@${page} 0@${page + 1}`;
  t.match(out, { status: 0, stdout: `${expected}\n` });
  t.match(mount.session.counters(), { nativeReads: 1 });
});

t.test('a write is the handler’s when the map or the size would change', async (t) => {
  const cases: [string, number, string, number][] = [
    ['into a hole', 8192, 'x', 1],
    ['into an unwritten extent', 4096, 'x', 1],
    ['over the end of the written extent', 4095, 'xy', 1],
    ['past the size', FILE_BYTES - 1, 'xy', 1],
    ['inside the written extent', 4094, 'xy', 0],
  ];
  for (const [what, offset, text, calls] of cases) {
    const mount = mounted(t);
    mount.openFlags = FOPEN_DIRECT_IO;
    mount.session.shareFile(FILE_INO, FILE_BYTES);
    mount.session.setMap(
      FILE_INO,
      0,
      FILE_PAGES,
      new Float64Array([0, 1, 1, 1, 1, 2, 1, 0, 1000, 1001, 24, 1]),
      3,
    );
    mount.session.setService(FILE_INO, SERVE_READS | SERVE_WRITES);
    mount.handler = (opcode) => (opcode === OP.WRITE ? EIO : undefined);
    const out = await mount.client(
      `${READ}${WRITE}console.log(error(() => write(${offset}, '${text}')));`,
    );
    t.equal(out.stdout, calls === 1 ? 'EIO\n' : 'none\n', what);
    t.equal(mount.callsOf(OP.WRITE).length, calls, what);
  }
});

t.test('the map can be changed again and again', async (t) => {
  const mount = mounted(t);
  mount.openFlags = FOPEN_DIRECT_IO;
  mount.session.shareFile(FILE_INO, FILE_BYTES);
  mount.session.setService(FILE_INO, SERVE_READS);
  // Region page p is filled with p mod 251; the model says which one backs each file page, 0 none.
  for (let page = 1; page <= FILE_PAGES; page++) {
    mount.region.storeFlushed(page * 4096, Buffer.alloc(4096, page % 251));
  }
  const model = new Array<number>(64).fill(0);
  let seed = 12345;
  const random = (bound: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return seed % bound;
  };
  for (let round = 0; round < 300; round++) {
    const start = random(64);
    const end = start + 1 + random(64 - start);
    const extents: number[] = [];
    let page = start;
    while (page < end) {
      const count = Math.min(1 + random(9), end - page);
      const state = random(3);
      const regionPage = random(4) === 0 ? 1 + random(900) : page + 100;
      if (state < 2) extents.push(page, regionPage, count, state);
      for (let i = 0; i < count; i++) model[page + i] = state === 1 ? regionPage + i : 0;
      page += count;
    }
    if (random(2) === 0) {
      mount.session.closeGate(FILE_INO);
      mount.session.setMap(FILE_INO, start, end, new Float64Array(extents), extents.length / 4);
      mount.session.openGate(FILE_INO);
    } else {
      mount.session.setMap(FILE_INO, start, end, new Float64Array(extents), extents.length / 4);
    }
    if (round % 30 !== 0) continue;
    const out = await mount.client(`${READ}const b = read(0, 64 * 4096); const p = [];
      for (let i = 0; i < 64; i++) p.push(b[i * 4096 + (i * 64) % 4096]); console.log(p.join());`);
    t.equal(out.stdout, `${model.map((each) => each % 251).join()}\n`, `round ${round}`);
  }
});

t.test('a read ends at the size, and follows it', async (t) => {
  const mount = mounted(t);
  mount.openFlags = FOPEN_DIRECT_IO;
  mount.share(SERVE_READS);
  for (const size of [5000, 0, 4096, FILE_BYTES]) {
    mount.sizeBytes = size;
    mount.session.setSize(FILE_INO, size);
    const out = await mount.client(
      `${READ}console.log(read(4090, 100).length, read(4096, 4096).length);`,
    );
    const expected = [4090, 4096].map((at, i) =>
      Math.max(0, Math.min(i === 0 ? 100 : 4096, size - at)),
    );
    t.equal(out.stdout, `${expected.join(' ')}\n`, `size ${size}`);
  }
});

t.test('a poisoned page reads as EIO, its neighbours do not', async (t) => {
  const mount = mounted(t);
  mount.region.storeFlushed(4096, Buffer.alloc(8 * 4096, 'a'));
  mount.share(SERVE_READS | SERVE_WRITES);
  mount.region.poison(3);
  const out = await mount.client(`${READ}console.log(error(() => read(2 * 4096 + 10, 10)),
    read(4096, 4096).toString().length, read(3 * 4096, 4096).toString().length);`);
  t.equal(out.stdout, 'EIO 4096 4096\n');
  t.same(mount.callsOf(OP.READ), []);
});

t.test(
  'writes of unprivileged users go to the handler unless nothing is to be killed',
  async (t) => {
    for (const bits of [0, NOTHING_TO_KILL]) {
      const mount = mounted(t);
      mount.openFlags = FOPEN_DIRECT_IO;
      mount.share(SERVE_READS | SERVE_WRITES | bits);
      const out = await mount.client(
        `${WRITE}process.setgid(1000); process.setuid(1000); console.log(write(0, 'abc'));`,
      );
      t.equal(out.stdout, '3\n');
      t.equal(mount.callsOf(OP.WRITE).length, bits === 0 ? 1 : 0);
      if (bits === 0) {
        const flags = mount.callsOf(OP.WRITE)[0]?.request[REQUEST.write.writeFlags] ?? 0;
        t.equal(flags & FUSE_WRITE_KILL_SUIDGID, FUSE_WRITE_KILL_SUIDGID);
      }
    }
  },
);

t.test('native reads and writes leave their times behind, once', async (t) => {
  const mount = mounted(t);
  mount.openFlags = FOPEN_DIRECT_IO;
  mount.share(SERVE_READS | SERVE_WRITES);
  const before = Date.now() / 1000 - 1;
  await mount.client(`${READ}read(0, 1);`);
  t.same(mount.session.takeTouched(), [], 'no atime without the bit');
  mount.session.setService(FILE_INO, SERVE_READS | SERVE_WRITES | READS_TOUCH_ATIME);
  await mount.client(`${READ}${WRITE}read(0, 1); read(0, 1); write(0, 'x');`);
  const [times, ...more] = mount.session.takeTouched();
  t.same(more, []);
  t.match(times, { ino: FILE_INO });
  t.ok((times?.atimeSec ?? 0) > before && (times?.mtimeSec ?? 0) >= (times?.atimeSec ?? 0));
  t.same(mount.session.takeTouched(), []);
  await mount.client(`${READ}read(0, 1); read(0, 1);`);
  const [again] = mount.session.takeTouched();
  t.ok((again?.atimeSec ?? 0) > before, 'due again after a write');
  t.ok(Number.isNaN(again?.mtimeSec));
  await mount.client(`${READ}read(0, 1);`);
  t.same(mount.session.takeTouched(), [], 'not due while the file is not written');
});

t.test('writeback is thrown away while that is asked for', async (t) => {
  const mount = mounted(t);
  mount.share(SERVE_READS | SERVE_WRITES);
  mount.session.discardWriteback(true);
  // A plain write is not writeback: it is never thrown away.
  const out = await mount.client(`${WRITE}console.log(write(0, 'kept'));`);
  t.equal(out.stdout, '4\n');
  const bytes = Buffer.alloc(4);
  mount.region.read(4096, bytes);
  t.equal(bytes.toString(), 'kept');
});

t.test(
  'offsets beyond the largest file are EFBIG for writers and the end for readers',
  async (t) => {
    const mount = mounted(t);
    mount.openFlags = FOPEN_DIRECT_IO;
    for (const bits of [0, SERVE_READS | SERVE_WRITES]) {
      mount.share(bits);
      const out = await mount.client(`${READ}
      const fd = fs.openSync(path, 'r+'); const b = Buffer.alloc(4096);
      console.log(error(() => fs.writeSync(fd, b, 0, 4096, 2 ** 52)),
        error(() => fs.ftruncateSync(fd, 2 ** 52 + 4096)),
        fs.readSync(fd, b, 0, 4096, 2 ** 52 + 4096));`);
      t.match(out, { status: 0, stdout: 'EFBIG EFBIG 0\n' });
    }
  },
);

t.test('an unshared file is the handler’s again', async (t) => {
  const mount = mounted(t);
  mount.openFlags = FOPEN_DIRECT_IO;
  // More files than the table starts with, around the one that matters.
  for (let ino = 100; ino < 1100; ino++) mount.session.shareFile(ino, 4096);
  mount.share(SERVE_READS);
  for (let ino = 100; ino < 1100; ino += 2) mount.session.unshareFile(ino);
  await mount.client(`${READ}read(0, 1);`);
  t.equal(mount.callsOf(OP.READ).length, 0);
  mount.session.unshareFile(FILE_INO);
  await mount.client(`${READ}read(0, 1);`);
  t.equal(mount.callsOf(OP.READ).length, 1);
  mount.session.closeGate(FILE_INO);
  mount.session.openGate(FILE_INO);
});

t.test('writes that go on into the room behind a file are served natively', async (t) => {
  const mount = mounted(t);
  mount.openFlags = FOPEN_DIRECT_IO;
  const { session, region } = mount;
  mount.sizeBytes = 6000;
  session.shareFile(FILE_INO, 6000);
  session.setMap(FILE_INO, 0, FILE_PAGES, new Float64Array([0, 1, 2, 1]), 1);
  session.setService(FILE_INO, SERVE_READS | SERVE_WRITES);
  region.storeFlushed(10 * 4096, Buffer.alloc(5 * 4096, 'o'));
  session.offerRoom(FILE_INO, 2, 10, 4);
  const steps = [
    [6000, 1000],
    [7000, 3000],
    [9000, 1500],
    [10500, 6000],
  ] as const;
  const list = JSON.stringify(steps);
  const out = await mount.client(`${WRITE}
    console.log(${list}.map(([at, n], i) => write(at, 'abcd'[i].repeat(n))).join());`);
  t.match(out, { status: 0, stdout: '1000,3000,1500,6000\n' });
  t.same(mount.callsOf(OP.WRITE), []);
  t.same(session.endRoom(FILE_INO), { pageCount: 3, sizeBytes: 16500 });
  const bytes = Buffer.alloc(4 * 4096);
  region.read(10 * 4096, bytes);
  const letters = [...'bcd'].map((letter) => bytes.lastIndexOf(letter) + 8192);
  t.same(letters, [8999, 10499, 16499]);
  t.ok(
    bytes.subarray(16500 - 8192, 3 * 4096).every((byte) => byte === 0),
    'zeroes up to its page',
  );
  t.ok(
    bytes.subarray(3 * 4096).every((byte) => byte === 111),
    'the rest of the room is as it was',
  );

  session.setSize(FILE_INO, 20 * 4096);
  session.offerRoom(FILE_INO, 5, 13, 2);
  const left = async (at: number, length: number): Promise<number> => {
    const before = mount.callsOf(OP.WRITE).length;
    await mount.client(`${WRITE} write(${at}, 'e'.repeat(${length}));`);
    return mount.callsOf(OP.WRITE).length - before;
  };
  t.equal(await left(5 * 4096, 100), 0, 'into a hole');
  t.equal(await left(6 * 4096 + 1, 10), 1, 'not from its beginning on');
  t.equal(await left(6 * 4096, 5000), 1, 'beyond the room');
  t.equal(await left(6 * 4096, 4096), 0);
  t.same(session.endRoom(FILE_INO), { pageCount: 2, sizeBytes: 20 * 4096 });
  t.equal(await left(7 * 4096, 4096), 1, 'without a room');
});
