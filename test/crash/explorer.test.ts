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
