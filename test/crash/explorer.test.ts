/** Explorations of tiny programs: what is found, and what the result says about it. */
import t from 'tap';
import { explore } from '../../lib/crash/explorer.js';
import { type Check, FunctionRunner, OPTIONS, type Program, traceOf } from './tiny_programs.js';

const saveInPlace = (program: Program) => {
  program.create('conf');
  program.write('conf', 0, 'a'.repeat(300));
  program.fsync('conf');
  program.write('conf', 0, 'b'.repeat(300));
  program.fsync('conf');
};
const saveByRename = (program: Program) => {
  program.create('conf');
  program.write('conf', 0, 'a'.repeat(300));
  program.fsync('conf');
  program.create('tmp');
  program.write('tmp', 0, 'b'.repeat(300));
  program.fsync('tmp');
  program.rename('tmp', 'conf');
  program.fsyncDirectory();
};
const isWhole: Check = (files) => {
  const text = files.has('conf') ? files.read('conf') : '';
  if (new Set(text).size > 1) throw new Error(`conf is torn: ${text}`);
};

t.test('a file overwritten in place is found torn', async (t) => {
  const result = await explore(traceOf(saveInPlace), new FunctionRunner(isWhole), OPTIONS);
  t.equal(result.end, 'failure-found');
  t.match(result.failures[0], { oracle: 'check', choice: { model: 'dax' } });
});

t.test('replaced by a rename it is whole in every state', async (t) => {
  const result = await explore(traceOf(saveByRename), new FunctionRunner(isWhole), OPTIONS);
  t.equal(result.end, 'space-exhausted');
  t.equal(result.models[0]?.crashPointsExhausted, result.models[0]?.crashPoints);
});

t.test('of many lost lines those are left that matter', async (t) => {
  const start = (p: Program): void => {
    p.create('conf');
    p.write('conf', 0, 'a'.repeat(300));
    p.fsync('conf');
  };
  const work = (p: Program): void => {
    p.write('conf', 0, 'b'.repeat(300));
    p.print('saved');
    p.fsync('conf');
  };
  const check: Check = (files, { acknowledged }) => {
    const text = files.read('conf');
    const isOld = text[0] === 'a' && text[256] === 'a';
    if (acknowledged.includes('saved') && isOld) throw new Error('two lines are old');
  };
  // The first state that fails has lost all five.
  const result = await explore(traceOf(work, start), new FunctionRunner(check), OPTIONS);
  const { choice } = result.failures[0]!;
  const [first, second] = choice.lines.map(([line]) => line) as [number, number];
  t.equal(choice.lines.length, 2);
  t.equal(second - first, 4);
});
