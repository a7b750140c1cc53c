/** The scheduler of tasks by itself: who goes on when, as part of which call, and how a task ends. */
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { LiveScheduler, type PointDelay } from '../../fs/dax/scheduler.js';
import type { Recorder } from '../../lib/addon/recorder.js';
import type { Step, Task } from '../../lib/dax/task.js';

const NEVER_HELD: PointDelay = () => undefined;

class Bell {
  isReady = false;
  readonly #waiting: (() => void)[] = [];
  whenReady(resume: () => void): void {
    this.#waiting.push(resume);
  }
  ring(): void {
    this.isReady = true;
    for (const resume of this.#waiting.splice(0)) resume();
  }
}

/** Notes what happens to the tasks that it makes. */
class Notes {
  readonly lines: string[] = [];
  *task(name: string, steps: Step[]): Task<string> {
    try {
      for (const step of steps) {
        yield step;
        this.lines.push(`${name} goes on`);
      }
      return name;
    } finally {
      this.lines.push(`${name} lets go`);
    }
  }
  ending(name: string) {
    const note = (what: string) => () => void this.lines.push(`${name} ${what}`);
    return { done: note('done'), failed: note('failed'), abandoned: note('abandoned') };
  }
  take(): string[] {
    return this.lines.splice(0);
  }
}

t.test('who waits goes on when it is drained, not inside who made it ready', async (t) => {
  const [scheduler, notes, bell] = [
    new LiveScheduler(undefined, NEVER_HELD),
    new Notes(),
    new Bell(),
  ];
  scheduler.start(5, notes.task('a', [bell]), notes.ending('a'));
  t.equal(scheduler.waitingCount, 1);
  bell.ring();
  t.same(notes.take(), []);
  scheduler.drain();
  t.same(notes.take(), ['a goes on', 'a lets go', 'a done']);
  t.equal(scheduler.waitingCount, 0);
});

t.test('nobody goes on inside of another task', async (t) => {
  const scheduler = new LiveScheduler(undefined, NEVER_HELD);
  const [notes, bell, other] = [new Notes(), new Bell(), new Bell()];
  const first = {
    ...notes.ending('a'),
    done: () => {
      other.ring();
      scheduler.drain();
      notes.lines.push('a done');
    },
  };
  scheduler.start(5, notes.task('a', [bell]), first);
  scheduler.start(5, notes.task('b', [other]), notes.ending('b'));
  bell.ring();
  scheduler.drain();
  const b = ['b goes on', 'b lets go', 'b done'];
  t.same(notes.take(), ['a goes on', 'a lets go', 'a done', ...b]);
});

t.test('what a task throws ends it', async (t) => {
  const scheduler = new LiveScheduler(undefined, NEVER_HELD);
  const seen: unknown[] = [];
  // biome-ignore lint/correctness/useYield: it throws before
  function* task(): Task<void> {
    throw new Error('wrong');
  }
  scheduler.start(5, task(), { done: () => seen.push('done'), failed: (e) => seen.push(e) });
  t.match(seen, [{ message: 'wrong' }]);
  t.equal(scheduler.waitingCount, 0);
});

t.test('in a recording a task goes on as part of the call that started it', async (t) => {
  let call = 7;
  const serve = (id: number): number => {
    const before = call;
    call = id;
    return before;
  };
  const scheduler = new LiveScheduler({ serve } as Recorder, NEVER_HELD);
  const bell = new Bell();
  const calls: number[] = [];
  function* task(): Task<void> {
    calls.push(call);
    yield bell;
    calls.push(call);
  }
  scheduler.start(5, task(), { done: () => calls.push(call), failed: () => {} });
  call = 9;
  bell.ring();
  scheduler.drain();
  t.same(calls, [7, 7, 7]);
  t.equal(call, 9, 'and whoever drains is served as before');
});

t.test('who is abandoned lets go of what it holds, is told, and never goes on', async (t) => {
  const [scheduler, notes, bell] = [
    new LiveScheduler(undefined, NEVER_HELD),
    new Notes(),
    new Bell(),
  ];
  for (const name of ['a', 'b']) {
    scheduler.start(5, notes.task(name, [bell]), notes.ending(name));
  }
  scheduler.abandonAll();
  t.same(notes.take(), ['a lets go', 'a abandoned', 'b lets go', 'b abandoned']);
  t.equal(scheduler.waitingCount, 0);
  bell.ring();
  scheduler.drain();
  t.same(notes.take(), []);
});

t.test('the power may go while others are about to go on', async (t) => {
  const [scheduler, notes, bell] = [
    new LiveScheduler(undefined, NEVER_HELD),
    new Notes(),
    new Bell(),
  ];
  const first = { ...notes.ending('a'), done: () => scheduler.abandonAll() };
  scheduler.start(5, notes.task('a', [bell]), first);
  scheduler.start(5, notes.task('b', [bell]), notes.ending('b'));
  bell.ring();
  scheduler.drain();
  t.same(notes.take(), ['a goes on', 'a lets go', 'b lets go', 'b abandoned']);
});

t.test('who is held at a point goes on in time, when it is let go, or never', async (t) => {
  const notes = new Notes();
  const delays: Record<string, number> = { soon: 1, late: 600_000 };
  const scheduler = new LiveScheduler(undefined, (point) => delays[point]);
  const start = (name: string, ...points: string[]): void => {
    const steps = points.map((point) => ({ point }));
    scheduler.start(5, notes.task(name, steps), notes.ending(name));
  };
  start('a', 'soon');
  t.equal(scheduler.waitingCount, 1);
  for (let tries = 0; tries < 2000 && scheduler.waitingCount > 0; tries++) await sleep(1);
  t.same(notes.take(), ['a goes on', 'a lets go', 'a done']);

  start('b', 'late');
  scheduler.release();
  t.same(notes.take(), ['b goes on', 'b lets go', 'b done']);

  start('c', 'soon');
  scheduler.abandonAll();
  await sleep(10);
  scheduler.drain();
  t.same(notes.take(), ['c lets go', 'c abandoned']);

  start('d', 'late', 'late');
  scheduler.holdNone();
  t.same(notes.take(), ['d goes on', 'd goes on', 'd lets go', 'd done'], 'at no point after that');
});
