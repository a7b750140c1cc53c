import t from 'tap';
import { FILE_BYTES, SERVE_READS, SERVE_WRITES, TinyMount } from './tiny_mount.js';

t.test('a shared file is read and written without the handler', async (t) => {
  const mount = new TinyMount();
  t.teardown(() => mount.close());
  mount.region.storeFlushed(4096, Buffer.from('hello'));
  mount.share(SERVE_READS | SERVE_WRITES);
  const out = await mount.client(`
    const fd = fs.openSync(path, 'r+'); const b = Buffer.alloc(5);
    fs.readSync(fd, b, 0, 5, 0); fs.writeSync(fd, 'world', 10);
    console.log(b.toString(), fs.fstatSync(fd).size, fs.readdirSync(dir).join());`);
  t.match(out, { status: 0, stdout: `hello ${FILE_BYTES} file\n` });
  const bytes = Buffer.alloc(5);
  mount.region.read(4096 + 10, bytes);
  t.equal(bytes.toString(), 'world');
  t.match(mount.session.counters(), { nativeWrites: 1 });
});
