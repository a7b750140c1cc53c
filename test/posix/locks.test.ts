// Locks between processes: flock, fcntl by process and by open file, and what ends them.
import t from 'tap';
import { makePlace, Session } from './mounted.js';

async function two(t: Parameters<typeof makePlace>[0]): Promise<[Session, Session]> {
  const { dir } = makePlace(t);
  const [a, b] = [new Session(t, dir), new Session(t, dir)];
  t.equal(await a.call('open A f rdwr+creat 666'), '0');
  t.equal(await b.call('open A f rdwr'), '0');
  return [a, b];
}

t.test('flock: readers share, a writer is alone, and closing lets go', async (t) => {
  const [a, b] = await two(t);
  t.equal(await a.call('flock A sh'), '0');
  t.equal(await b.call('flock A sh+nb'), '0');
  t.equal(await b.call('flock A ex+nb'), 'EAGAIN');
  t.equal(await a.call('flock A un'), '0');
  t.equal(await b.call('flock A ex+nb'), '0');
  t.equal(await a.call('flock A sh+nb'), 'EAGAIN');
  t.equal(await a.call('open B f rdwr'), '0');
  t.equal(await b.call('open B f rdwr'), '0');
  t.equal(await b.call('flock B sh+nb'), 'EAGAIN', 'another open file of the same process');
  t.equal(await b.call('close A'), '0');
  t.equal(await a.call('flock A ex+nb'), '0');
});

t.test('a process that waits for flock gets it when the holder dies', async (t) => {
  const [a, b] = await two(t);
  t.equal(await a.call('flock A ex'), '0');
  b.send('flock A ex');
  await a.end();
  t.equal(await b.answer(), '0');
});

t.test('fcntl locks are by range, seen by others, and merge and split', async (t) => {
  const [a, b] = await two(t);
  t.equal(await a.call('lock A w 10 10'), '0');
  t.equal(await b.call('lock A w 0 10'), '0');
  t.equal(await b.call('lock A r 15 1'), 'EAGAIN');
  t.equal(await b.call('getlock A w 0 0'), 'w 10 10');
  t.equal(await a.call('getlock A w 10 10'), 'free', 'its own lock is not in the way');
  t.equal(await a.call('lock A w 20 10'), '0');
  t.equal(await b.call('getlock A r 12 1'), 'w 10 20', 'merged');
  t.equal(await a.call('lock A u 14 2'), '0');
  t.equal(await b.call('getlock A r 10 20'), 'w 10 4', 'split');
  t.equal(await b.call('lock A w 14 2'), '0');
  t.equal(await a.call('lock A r 16 4'), '0');
  t.equal(await b.call('lock A r 16 4'), '0', 'downgraded to shared');
});

t.test('closing any descriptor of a file drops the process locks of its process', async (t) => {
  const [a, b] = await two(t);
  t.equal(await a.call('lock A w 0 0'), '0');
  t.equal(await b.call('lock A r 0 1'), 'EAGAIN');
  t.equal(await a.call('open B f rd'), '0');
  t.equal(await a.call('close B'), '0');
  t.equal(await b.call('lock A r 0 1'), '0');
});

t.test('open file locks survive the closing of another descriptor', async (t) => {
  const [a, b] = await two(t);
  t.equal(await a.call('ofd A w 0 100'), '0');
  t.equal(await a.call('open B f rdwr'), '0');
  t.equal(await a.call('ofd B r 0 1'), 'EAGAIN', 'another open file of the same process');
  t.equal(await a.call('close B'), '0');
  t.equal(await b.call('ofd A r 0 1'), 'EAGAIN');
  t.equal(await b.call('lock A r 0 1'), 'EAGAIN', 'the two kinds meet');
  t.equal(await a.call('close A'), '0');
  t.equal(await b.call('ofd A w 0 100'), '0');
});

t.test('a process that waits for a range gets it when it is unlocked', async (t) => {
  const [a, b] = await two(t);
  t.equal(await a.call('lock A w 0 10'), '0');
  b.send('waitlock A w 5 1');
  t.equal(await a.call('lock A u 0 10'), '0');
  t.equal(await b.answer(), '0');
  t.equal(await a.call('lock A w 0 10'), 'EAGAIN');
  b.send('lock A u 5 1');
  t.equal(await b.answer(), '0');
  t.equal(await a.call('lock A w 0 10'), '0');
});

t.test('two processes that wait for each other are told EDEADLK', async (t) => {
  const [a, b] = await two(t);
  t.equal(await a.call('lock A w 0 1'), '0');
  t.equal(await b.call('lock A w 1 1'), '0');
  a.send('waitlock A w 1 1');
  // Whichever waits second closes the circle; which of them that is, is the scheduler's choice.
  b.send('waitlock A w 0 1');
  const first = await Promise.race([a.answer(), b.answer()]);
  t.equal(first, 'EDEADLK');
});

t.test('locks need a descriptor of the right kind', async (t) => {
  const [a] = await two(t);
  t.equal(await a.call('open B f rd'), '0');
  t.equal(await a.call('lock B w 0 1'), 'EBADF');
  t.equal(await a.call('open C f wr'), '0');
  t.equal(await a.call('lock C r 0 1'), 'EBADF');
  t.equal(await a.call('flock B ex+nb'), '0');
});
