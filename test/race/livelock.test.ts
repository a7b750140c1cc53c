/** What counts as going on for ever: everybody who can go on does so, and nothing is reached. */
import t from 'tap';
import { isFairRound, StateGraph } from '../../lib/race/livelock.js';

/** @param states actors that can go on, as bits. @param steps from, actor, to */
function livelock(states: number[], steps: [number, number, number][]) {
  const graph = new StateGraph();
  for (const [number, enabled] of states.entries()) graph.state(String(number), enabled);
  for (const [from, actor, to] of steps) graph.step(from, actor, to);
  return graph.findLivelock();
}

t.test('two who give way to each other for ever are found, with the round', async (t) => {
  const round = livelock(
    [0b11, 0b11, 0b11],
    [
      [0, 0, 1],
      [1, 1, 2],
      [2, 0, 1],
    ],
  );
  t.same(round, { actors: [0, 1, 0], start: 1 });
});

t.test('who only waits because nobody lets him go on is no livelock', async (t) => {
  const spins: [number, number, number][] = [
    [0, 0, 0],
    [0, 1, 1],
  ];
  t.equal(livelock([0b11, 0], spins), undefined);
  t.equal(isFairRound([0], [0b11]), false);
});

t.test('a round counts when who makes no step in it is unable to somewhere', async (t) => {
  const round = livelock(
    [0b01, 0b11],
    [
      [0, 0, 1],
      [1, 0, 0],
    ],
  );
  t.equal(round?.start, 0);
  t.ok(round!.actors.every((actor) => actor === 0));
});

t.test('a round that needs two circles of steps is found', async (t) => {
  // Neither circle through state 0 is fair alone: in each the other actor could go on all the time.
  const round = livelock(
    [0b11, 0b11, 0b11],
    [
      [0, 0, 1],
      [1, 0, 0],
      [0, 1, 2],
      [2, 1, 0],
    ],
  );
  t.same(new Set(round!.actors), new Set([0, 1]));
});
