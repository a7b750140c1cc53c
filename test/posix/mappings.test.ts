// Mappings, and several processes on one file: what one stores the other loads and reads.
import { copyFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import { calls, checkTable, makePlace, type Row, Session } from './mounted.js';

const tables: [title: string, rows: Row[]][] = [
  [
    'a mapping, read and write see each other at once',
    [
      ['open A f rdwr+creat', '0'],
      ['write A x*10000', '10000'],
      ['map M A 0 10000 w', '0'],
      ['load M 9998 2', 'xx'],
      ['store M 5000 mapped', '0'],
      ['read A 8 4999', 'xmappedx'],
      ['write A written 5001', '7'],
      ['load M 5000 8', 'mwritten'],
      ['open B f rd', '0'],
      ['read B 8 5000', 'mwritten'],
      ['msync M', '0'],
      ['map N B 0 10000 r', '0'],
      ['store M 0 both', '0'],
      ['load N 0 5', 'bothx'],
      ['unmap M', '0'],
      ['read A 5 0', 'bothx'],
    ],
  ],
  [
    'what was stored through a mapping outlives the mapping, the descriptor and the name',
    [
      ['open A f rdwr+creat', '0'],
      ['ftruncate A 20000', '0'],
      ['map M A 0 20000 w', '0'],
      ['close A', '0'],
      ['store M 12345 late', '0'],
      ['unmap M', '0'],
      ['open A f rdwr', '0'],
      ['read A 6 12344', '%00late%00'],
      ['map M A 0 20000 w', '0'],
      ['unlink f', '0'],
      ['close A', '0'],
      ['store M 0 ghost', '0'],
      ['load M 0 5', 'ghost'],
      ['msync M', '0'],
    ],
  ],
  [
    'pages behind the end of file are SIGBUS, the tail of the last page is zeros',
    [
      ['open A f rdwr+creat', '0'],
      ['write A x*5000', '5000'],
      ['map M A 0 16384 w', '0'],
      ['load M 4998 20', 'xx<%00*18>'],
      ['load M 8192 1', 'SIGBUS'],
      ['store M 8192 y', 'SIGBUS'],
      ['ftruncate A 12288', '0'],
      ['store M 8192 y', '0'],
      ['load M 8191 3', '%00y%00'],
      ['ftruncate A 4096', '0'],
      ['load M 4096 1', 'SIGBUS'],
      ['load M 4095 1', 'x'],
      ['ftruncate A 16384', '0'],
      ['load M 4095 20', 'x<%00*19>'],
      ['load M 8192 10', '<%00*10>'],
    ],
  ],
  [
    'a punched or zeroed range shows zeros in a live mapping',
    [
      ['open A f rdwr+creat', '0'],
      ['write A x*16384', '16384'],
      ['map M A 0 16384 w', '0'],
      ['store M 4096 y*4096', '0'],
      ['fallocate A punch+keep 4096 4096', '0'],
      ['load M 4095 12', 'x<%00*11>'],
      ['store M 4100 again', '0'],
      ['read A 9 4098', '%00%00again%00%00'],
      ['fallocate A zero 4000 200', '0'],
      ['load M 3999 12', 'x<%00*11>'],
      ['copy A 8192 A 4096 4096', '4096'],
      ['load M 4096 4', 'xxxx'],
    ],
  ],
  [
    'mapping asks for the rights of the descriptor',
    [
      ['open A f rdwr+creat', '0'],
      ['write A abc', '3'],
      ['open B f rd', '0'],
      ['map M B 0 4096 w', 'EACCES'],
      ['map M B 0 4096 r', '0'],
      ['open C f wr', '0'],
      ['map N C 0 4096 r', 'EACCES'],
      ['mkdir d', '0'],
      ['open D d rd', '0'],
      ['map N D 0 4096 r', 'ENODEV'],
    ],
  ],
];

for (const [title, rows] of tables) {
  t.test(title, async (t) => checkTable(t, makePlace(t).dir, rows));
}

t.test('two processes share a mapping', async (t) => {
  const { dir } = makePlace(t);
  const [a, b] = [new Session(t, dir), new Session(t, dir)];
  await a.call('open A f rdwr+creat');
  await a.call('ftruncate A 65536');
  await b.call('open A f rdwr');
  t.equal(await a.call('map M A 0 65536 w'), '0');
  t.equal(await b.call('map M A 0 65536 w'), '0');
  for (let turn = 0; turn < 20; turn++) {
    const at = turn * 3000;
    t.equal(await a.call(`store M ${at} ping${turn}`), '0');
    t.equal(await b.call(`load M ${at} ${4 + String(turn).length}`), `ping${turn}`);
    t.equal(await b.call(`store M ${at} pong${turn}`), '0');
    t.equal(await a.call(`read A ${4 + String(turn).length} ${at}`), `pong${turn}`);
    if (turn % 5 === 0) t.equal(await b.call('msync M'), '0');
  }
});

t.test(
  'a mapping lives on when its process is killed: its stores are read by others',
  async (t) => {
    const { dir } = makePlace(t);
    const [a, b] = [new Session(t, dir), new Session(t, dir)];
    await a.call('open A f rdwr+creat');
    await a.call('ftruncate A 8192');
    await a.call('map M A 0 8192 w');
    t.equal(await a.call('store M 5000 last'), '0');
    await a.end();
    await b.call('open A f rd');
    t.equal(await b.call('read A 4 5000'), 'last');
  },
);

t.test('processes that append lose nothing of each other', async (t) => {
  const { dir } = makePlace(t);
  const writers = Array.from({ length: 4 }, () => new Session(t, dir));
  const lineCount = 200;
  for (const writer of writers) await writer.call('open A log wr+creat+append 666');
  for (let line = 0; line < lineCount; line++) {
    for (const [index, writer] of writers.entries()) writer.send(`write A ${index}*${10 + index}`);
  }
  for (const [index, writer] of writers.entries()) {
    for (let line = 0; line < lineCount; line++) {
      const answer = await writer.answer();
      if (answer !== String(10 + index)) t.equal(answer, String(10 + index));
    }
  }
  const size = lineCount * (10 + 11 + 12 + 13);
  const [, , text] = calls(dir, ['open A log rd', 'fstat A s', `read A ${size + 100}`]);
  const decoded = (text ?? '').replace(/<(.)\*(\d+)>/g, (_, byte: string, times: string) =>
    byte.repeat(Number(times)),
  );
  t.equal(decoded.length, size);
  for (const index of [0, 1, 2, 3]) {
    const runs = decoded.match(new RegExp(`${index}+`, 'g')) ?? [];
    const whole = runs.every((run) => run.length % (10 + index) === 0);
    t.ok(whole, `no append of ${index} is torn`);
    t.equal(runs.join('').length, lineCount * (10 + index));
  }
});

/** Waits until some process runs the program: before that a writer would keep it from starting. */
async function running(path: string): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        if (readlinkSync(`/proc/${pid}/exe`) === path) return;
      } catch {
        // Kernel threads have none, and processes end.
      }
    }
    await setTimeout(10);
  }
  throw new Error(`${path} does not start`);
}

t.test(
  'a running program is busy to writers, a file open for writing is busy to exec',
  async (t) => {
    const { dir } = makePlace(t);
    copyFileSync('/bin/sleep', join(dir, 'program'));
    copyFileSync('/bin/true', join(dir, 'other'));
    const [a, b] = [new Session(t, dir), new Session(t, dir)];
    t.equal(await a.call('chmod program 755'), '0');
    t.equal(await a.call('chmod other 755'), '0');
    a.send('exec ./program 3');
    await running(join(dir, 'program'));
    t.equal(await b.call('open B program wr'), 'ETXTBSY');
    t.equal(await b.call('truncate program 0'), 'ETXTBSY');
    t.equal(await b.call('unlink program'), '0', 'but it may be unlinked');
    t.equal(await b.call('open C other wr'), '0');
    t.match(await b.call('exec ./other'), 'ETXTBSY');
    await b.call('close C');
    t.equal(await b.call('exec ./other'), '0');
    t.equal(await a.answer(), '0');
  },
);
