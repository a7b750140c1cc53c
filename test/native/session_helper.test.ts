/** The helper thread: data while JavaScript is busy, and notifications. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { OP } from '../../lib/frame.js';
import { FILE_INO, NAME, ROOT_INO, SERVE_READS, SERVE_WRITES, TinyMount } from './tiny_mount.js';

const FOPEN_DIRECT_IO = 1;
const FOPEN_KEEP_CACHE = 2;
const WRITE_CACHE = 1;

function mounted(t: { teardown(close: () => void): void }): TinyMount {
  const mount = new TinyMount();
  t.teardown(() => mount.close());
  return mount;
}

/** Keeps this thread, which serves the mount, from serving it. */
function blockMs(durationMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs);
}

/** A client that dirties pages through a mapping, and then prints them when told to. */
class MmapClient {
  private readonly child;
  private readonly lines: AsyncIterator<string>;

  constructor(program: string, path: string, pageCount: number) {
    this.child = spawn(program, [path, `${pageCount}`, 'wait'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.lines = createInterface(this.child.stdout)[Symbol.asyncIterator]();
  }

  stop(): void {
    this.child.kill('SIGKILL');
  }

  async line(): Promise<string> {
    return (await this.lines.next()).value ?? 'the client ended';
  }

  async pages(): Promise<string> {
    this.child.stdin.write('go\n');
    return await this.line();
  }
}

t.test('reads and writes go on while JavaScript is blocked', async (t) => {
  const mount = mounted(t);
  mount.openFlags = FOPEN_DIRECT_IO;
  mount.share(SERVE_READS | SERVE_WRITES);
  const child = spawn(
    process.execPath,
    [
      '-e',
      `const fs = require('fs'); const fd = fs.openSync('${mount.path}', 'r+');
       const b = Buffer.alloc(4096, 'h'); console.log('open'); let n = 0;
       process.stdin.once('data', () => {
         for (; n < 200; n++) { fs.writeSync(fd, b, 0, 4096, n * 4096);
                                fs.readSync(fd, b, 0, 4096, n * 4096); }
         fs.writeFileSync(process.argv[1], 'done'); console.log(n); process.exit(); });`,
      join(mount.imageDir, 'flag'),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  t.equal((await lines.next()).value, 'open');
  child.stdin.write('go');
  // Blocked until the client is through, which it can only be with the helper's service.
  const deadline = Date.now() + 20_000;
  while (!mount.imageHolds('flag') && Date.now() < deadline) blockMs(20);
  t.ok(mount.imageHolds('flag'), 'the client was done while this thread slept');
  t.equal((await lines.next()).value, '200');
  t.ok(mount.session.counters().helperRequests > 0);
  const bytes = Buffer.alloc(4096);
  mount.region.read(200 * 4096, bytes);
  t.ok(bytes.equals(Buffer.alloc(4096, 'h')));
});

t.test('requests that need the handler are kept for it', async (t) => {
  const mount = mounted(t);
  mount.openFlags = FOPEN_DIRECT_IO;
  const script = `console.log(fs.statSync(path).size); const b = Buffer.alloc(70000, 'q');
    const fd = fs.openSync(path, 'r+'); fs.writeSync(fd, b, 0, 70000, 5);
    console.log(fs.readdirSync(dir).join());`;
  const done = mount.client(script);
  const blocking = setInterval(() => blockMs(60), 0);
  const out = await done;
  clearInterval(blocking);
  t.match(out, { status: 0, stdout: `${mount.sizeBytes}\n${NAME}\n` });
  const bytes = Buffer.alloc(70000);
  mount.region.read(4096 + 5, bytes);
  t.ok(bytes.equals(Buffer.alloc(70000, 'q')));
  t.ok(mount.session.counters().helperRequests > 0, 'some went through the helper');
});

t.test('a closed gate hands the helper’s requests to JavaScript', async (t) => {
  const mount = mounted(t);
  mount.openFlags = FOPEN_DIRECT_IO;
  mount.share(SERVE_READS | SERVE_WRITES);
  mount.region.storeFlushed(4096, Buffer.from('old'));
  const client = mount.client(`const fd = fs.openSync(path, 'r'); const b = Buffer.alloc(3);
    const end = Date.now() + 400; let texts = new Set();
    while (Date.now() < end) { fs.readSync(fd, b, 0, 3, 0); texts.add(b.toString()); }
    console.log([...texts].join());`);
  // Each round replaces the page behind a closed gate; nobody may see what is stored meanwhile.
  const rounds = setInterval(() => {
    mount.session.closeGate(FILE_INO);
    mount.region.storeFlushed(4096, Buffer.from('bad'));
    blockMs(5);
    mount.region.storeFlushed(4096, Buffer.from('old'));
    mount.session.openGate(FILE_INO);
  }, 1);
  const out = await client;
  clearInterval(rounds);
  t.match(out, { status: 0, stdout: 'old\n' });
});

t.test('invalidation drops cached pages and names', async (t) => {
  const mount = mounted(t);
  mount.openFlags = FOPEN_KEEP_CACHE;
  mount.share(SERVE_READS);
  const read = `console.log(fs.readFileSync(path).subarray(0, 1).toString());`;
  mount.region.storeFlushed(4096, Buffer.from('1'));
  t.equal((await mount.client(read)).stdout, '1\n');
  mount.region.storeFlushed(4096, Buffer.from('2'));
  t.equal((await mount.client(read)).stdout, '1\n', 'still cached');
  mount.session.invalidateInode(FILE_INO, 0, 0);
  await mount.session.notificationsDone();
  t.equal((await mount.client(read)).stdout, '2\n');

  const lookups = mount.callsOf(OP.LOOKUP).length;
  await mount.client(`fs.statSync(path)`);
  t.equal(mount.callsOf(OP.LOOKUP).length, lookups, 'the name is cached');
  mount.session.invalidateEntry(ROOT_INO, NAME);
  await mount.session.notificationsDone();
  await mount.client(`fs.statSync(path)`);
  t.equal(mount.callsOf(OP.LOOKUP).length, lookups + 1);
  t.equal(mount.session.counters().notifications, 2);
});

t.test('invalidating what the kernel does not know is no error', async (t) => {
  const mount = mounted(t);
  for (let ino = 1; ino < 200; ino++) mount.session.invalidateInode(ino, ino % 2 === 0 ? -1 : 0, 0);
  for (const name of ['a', 'ü', '\u{10FFFE}', 'x'.repeat(255)]) {
    mount.session.invalidateEntry(ROOT_INO, name);
    mount.session.invalidateEntry(12345, name);
  }
  await mount.session.notificationsDone();
  t.equal(mount.session.counters().notifications, 199 + 8);
  t.throws(() => mount.session.invalidateEntry(ROOT_INO, 'x'.repeat(256)));
  t.throws(() => mount.session.invalidateEntry(ROOT_INO, ''));
  t.throws(() => mount.session.invalidateEntry(ROOT_INO, '\uD800'));
  const out = await mount.client(`console.log(fs.statSync(path).ino)`);
  t.equal(out.stdout, `${FILE_INO}\n`);
});

t.test('pages dirtied through a mapping', async (t) => {
  const programDir = mkdtempSync(join(tmpdir(), 'fauxdax-client-'));
  t.teardown(() => rmSync(programDir, { recursive: true }));
  const program = join(programDir, 'mmap_client');
  execFileSync('cc', ['-O1', '-o', program, join('test', 'native', 'mmap_client.c')]);

  for (const bits of [0, SERVE_READS | SERVE_WRITES]) {
    const by = bits === 0 ? 'by the handler' : 'natively';
    t.test(`are written back before they are invalidated, ${by}`, async (t) => {
      const mount = mounted(t);
      if (bits !== 0) mount.share(bits);
      const client = new MmapClient(program, mount.path, 300);
      t.equal(await client.line(), 'dirty');
      // Blocks the helper until each dirty page's WRITE is answered by this thread.
      mount.session.invalidateInode(FILE_INO, 0, 0);
      await mount.session.notificationsDone();
      const bytes = Buffer.alloc(4096);
      mount.region.read(300 * 4096, bytes);
      t.equal(bytes[0], 'm'.charCodeAt(0));
      t.equal(await client.pages(), 'm'.repeat(300));
    });

    t.test(`are thrown away when that is asked for, ${by}`, async (t) => {
      const mount = mounted(t);
      if (bits !== 0) mount.share(bits);
      mount.region.storeFlushed(4096, Buffer.alloc(300 * 4096, 'o'));
      const client = new MmapClient(program, mount.path, 300);
      t.equal(await client.line(), 'dirty');
      mount.session.discardWriteback(true);
      mount.session.invalidateInode(FILE_INO, 0, 0);
      await mount.session.notificationsDone();
      mount.session.discardWriteback(false);
      t.equal(await client.pages(), 'o'.repeat(300));
    });
  }

  t.test('may be those of a file opened for direct I/O', async (t) => {
    const mount = mounted(t);
    mount.openFlags = FOPEN_DIRECT_IO;
    mount.share(SERVE_READS | SERVE_WRITES);
    const out = await mount.command(program, [mount.path, '3', 'sync']);
    t.match(out, { status: 0, stdout: 'dirty\nsynced\n' });
    const bytes = Buffer.alloc(1);
    mount.region.read(3 * 4096, bytes);
    t.equal(bytes.toString(), 'm');
  });

  t.test('reach the handler as writeback', async (t) => {
    const mount = mounted(t);
    const out = await mount.command(program, [mount.path, '3', 'sync']);
    t.match(out, { status: 0, stdout: 'dirty\nsynced\n' });
    const flags = mount.callsOf(OP.WRITE).map((call) => (call.request[8] as number) & WRITE_CACHE);
    t.ok(flags.length > 0 && flags.every((flag) => flag === WRITE_CACHE));
  });

  t.test('do not keep a session from closing while they are invalidated', async (t) => {
    const mount = mounted(t);
    const client = new MmapClient(program, mount.path, 300);
    t.equal(await client.line(), 'dirty');
    // The helper waits for WRITEs that only this thread can answer, and this thread closes.
    mount.session.invalidateInode(FILE_INO, 0, 0);
    blockMs(50);
    const notified = mount.session.notificationsDone();
    mount.session.close();
    await notified;
    client.stop();
    t.pass('closed');
  });
});
