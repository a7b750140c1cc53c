/** A program that runs on through power cuts is promised only what stays. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { makePlace, mounted } from './image.js';

const QUIET = { crashable: true, commitSeconds: 3600 };

t.test('what msync acknowledged stays, whatever power cuts come between', async (t) => {
  const program = `
import mmap, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 4096 * 200)
os.fsync(fd)
pages = mmap.mmap(fd, 4096 * 200)
print('ready', flush=True)
end = time.monotonic() + 4
count = lost = 0
while time.monotonic() < end:
    count += 1
    for page in range(1, 200):
        pages[page * 4096] = count & 255
    pages[0:8] = count.to_bytes(8, 'little')
    try:
        pages.flush(0, 4096)
    except OSError:
        continue
    time.sleep(0.0001)
    lost += int.from_bytes(pages[0:8], 'little') != count
print(count, lost, flush=True)
`;
  const place = makePlace(t);
  const fs = await mounted(t, place, QUIET);
  const client = spawn('python3', ['-c', program, join(place.dir, 'file')]);
  let said = '';
  let complained = '';
  client.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  client.stderr.setEncoding('utf8').on('data', (text: string) => {
    complained += text;
  });
  const ended = new Promise((resolve) => client.once('close', resolve));
  while (!said.includes('ready')) await sleep(5);
  const crashes = async (): Promise<void> => {
    while (client.exitCode === null && client.signalCode === null) {
      await Promise.all([fs.crash(), fs.crash()]); // the second one cuts while the first settles
      await sleep(20);
    }
  };
  await Promise.all([crashes(), ended]);
  const [count, lost] = said.split('\n')[1]?.split(' ').map(Number) ?? [];
  t.ok((count ?? 0) > 100, `${count} msyncs`);
  t.equal(lost, 0);
  t.equal(complained, '');
});
