/** Choosers: all answers, seeded ones. */
import t from 'tap';
import { type Chooser, ExhaustiveChooser, SeededChooser } from '../../lib/crash/search/chooser.js';

/** Asks a second question only after some answers. */
function ask(chooser: Chooser): string {
  const first = chooser.pick(3);
  return first === 1 ? `${first}${chooser.pick(2)}${chooser.pick(2)}` : `${first}`;
}

t.test('an exhaustive chooser gives every sequence once, in order', async (t) => {
  const chooser = new ExhaustiveChooser();
  const seen: string[] = [];
  do seen.push(ask(chooser));
  while (chooser.next());
  t.same(seen, ['0', '100', '101', '110', '111', '2']);
});

t.test('an asker that changes its mind is a bug', async (t) => {
  const chooser = new ExhaustiveChooser();
  chooser.pick(3);
  chooser.next();
  t.throws(() => chooser.pick(2), /another question/);
});

t.test('a seed gives the same answers, another seed others', async (t) => {
  const answers = (seed: number): number[] => {
    const chooser = new SeededChooser(seed);
    return Array.from({ length: 20 }, () => chooser.pick(1000));
  };
  t.same(answers(5), answers(5));
  t.notSame(answers(5), answers(6));
});
