/** How a session begins and ends. */
import { spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import t from 'tap';
import { FRAME_SLOTS, FRAME_VERSION, OP } from '../../lib/frame.js';
import { loadNative } from '../../lib/native.js';
import { TinyMount } from './tiny_mount.js';

function mounted(t: { teardown(close: () => void): void }): TinyMount {
  const mount = new TinyMount();
  t.teardown(() => mount.close());
  return mount;
}

t.test('an unmounted filesystem ends the session without a reason', async (t) => {
  const mount = mounted(t);
  await mount.client(`fs.statSync(path)`);
  const out = await mount.command('umount', [mount.dir]);
  t.equal(out.status, 0, out.stderr);
  mount.noteUnmounted();
  t.equal(await mount.ended, undefined);
});

t.test('a handler that throws ends the session with what it threw', async (t) => {
  const mount = mounted(t);
  mount.handler = (opcode, name) => {
    if (opcode === OP.LOOKUP && name === 'bug') throw new Error('a broken invariant');
    return undefined;
  };
  const out = await mount.client(
    `try { fs.statSync(dir + '/bug') } catch (e) { console.log(e.code) }`,
  );
  t.equal(out.stdout, 'EIO\n');
  t.match(await mount.ended, /opcode 1: Error: a broken invariant/);
});

t.test('a handler that returns no status ends the session', async (t) => {
  for (const result of [-7, 512, undefined, Number.NaN, 'text']) {
    const mount = mounted(t);
    mount.handler = (opcode, name) =>
      opcode === OP.LOOKUP && name === 'bug' ? ((result ?? 'undefined') as number) : undefined;
    await mount.client(`try { fs.statSync(dir + '/bug') } catch {}`);
    if (Number.isNaN(result)) {
      // Not a number becomes 0 in the language's own conversion: the empty answer of LOOKUP.
      mount.session.close();
      continue;
    }
    t.match(await mount.ended, /the handler failed in opcode 1/);
  }
});

t.test('closing twice is closing once', async (t) => {
  const mount = mounted(t);
  await mount.client(`fs.statSync(path)`);
  const counters = mount.session.counters();
  mount.session.close();
  mount.session.close();
  t.same(mount.session.counters(), counters);
  t.resolves(mount.session.notificationsDone());
  mount.session.invalidateInode(1, 0, 0);
  const out = await mount.client(`try { fs.statSync(path) } catch (e) { console.log(e.code) }`);
  t.equal(out.stdout, 'ENOTCONN\n');
});

t.test('a session may be closed from inside its handler', async (t) => {
  const mount = mounted(t);
  mount.handler = (opcode, name) => {
    if (opcode === OP.LOOKUP && name === 'close') mount.session.close();
    return undefined;
  };
  const out = await mount.client(
    `try { fs.statSync(dir + '/close') } catch (e) { console.log(e.code) }`,
  );
  t.match(out.stdout, /ECONNABORTED|ENOTCONN/);
});

t.test('arguments that cannot be are refused', (t) => {
  const native = loadNative();
  const mount = mounted(t);
  const frame = new Float64Array(FRAME_SLOTS);
  const options = {
    fd: 0,
    region: mount.region,
    request: frame,
    reply: frame,
    handler: () => 0,
    onEnd: () => {},
    readOnly: false,
    directMappings: true,
  };
  t.throws(() => native.openSession({ ...options, fd: -1 }));
  t.throws(() => native.openSession({ ...options, request: new Float64Array(10) }));
  t.throws(() => native.openSession({ ...options, fd: openSync('/etc/hostname', 'r') }), {
    code: 'EPERM',
  });
  const { session } = mount;
  session.shareFile(2, 4096);
  const extents = (numbers: number[]) => new Float64Array(numbers);
  t.throws(() => session.shareFile(0, 0));
  t.throws(() => session.setMap(2, 0, 4, extents([0, 1, 5, 1]), 1), 'past the range');
  t.throws(() => session.setMap(2, 0, 4, extents([0, 1, 1, 1]), 2), 'more than there are');
  t.throws(() => session.setMap(2, 0, 4, extents([0, 1e9, 1, 1]), 1), 'outside the region');
  t.throws(() => session.setMap(2, 0, 4, extents([1, 1, 1, 1, 0, 2, 1, 1]), 2), 'not sorted');
  t.throws(() => session.setMap(2, 0, 4, extents([0, 1, 2, 1, 1, 4, 1, 1]), 2), 'overlapping');
  t.throws(() => session.setService(2, 256));
  t.end();
});

t.test('promises that the handler settles run before the next batch', async (t) => {
  const mount = mounted(t);
  const order: string[] = [];
  mount.handler = (opcode, name) => {
    if (opcode === OP.LOOKUP && name?.startsWith('p')) {
      order.push(name);
      Promise.resolve().then(() => order.push(`after ${name}`));
    }
    return undefined;
  };
  await mount.client(`for (const n of ['p1', 'p2']) try { fs.statSync(dir + '/' + n) } catch {}`);
  t.same(order, ['p1', 'after p1', 'p2', 'after p2']);
});

t.test('a worker serves a mount, and its end closes the session', (t) => {
  // In a process of its own: what is tested is that nothing is left that keeps or breaks it.
  const code = `
    const { Worker } = require('node:worker_threads');
    const worker = new Worker(process.argv[1], { eval: true });
    worker.on('message', () => worker.terminate().then((c) => console.log('ended', c)));`;
  const serve = `
    const fs = require('fs'), os = require('os'), path = require('path');
    const { execFile } = require('child_process');
    const native = require(${JSON.stringify(addonPath())});
    const at = fs.mkdtempSync(path.join(os.tmpdir(), 'fauxdax-worker-'));
    fs.mkdirSync(at + '/m'); fs.writeFileSync(at + '/r', Buffer.alloc(8192));
    const region = new native.Region(at + '/r', 2, false);
    const fd = native.mountFuse(at + '/m', 'worker', 0,
      'rootmode=40000,user_id=0,group_id=0,allow_other');
    const reply = new Float64Array(${FRAME_SLOTS});
    new native.Session({ fd, region, readOnly: false, frameVersion: ${FRAME_VERSION}, reply,
      request: new Float64Array(${FRAME_SLOTS}), onEnd() {}, handler: () => 2 });
    execFile('stat', [at + '/m/none'], (error, out, text) => {
      native.unmount(at + '/m', true);
      fs.rmSync(at, { recursive: true });
      require('worker_threads').parentPort.postMessage(text); });`;
  const out = spawnSync(process.execPath, ['-e', code, serve], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  t.equal(out.stdout, 'ended 1\n', out.stderr);
  t.equal(out.status, 0);
  t.end();
});

function addonPath(): string {
  return new URL('../../build/Release/fauxdax.node', import.meta.url).pathname;
}
