// Reads and writes at the descriptor's position that are served in the process, under `fauxdax run`:
// the cases are those of position.c. All of them with and without.
import t from 'tap';
import { cannotMap, daxMount } from './place.js';
import { Served } from './served.js';

const CASES = [
  ['served', 'reads and writes go where they are to go'],
  ['same', 'two descriptors with one position, to the end and beyond'],
  ['errors', 'what fails moves nothing'],
  ['limit', 'RLIMIT_FSIZE'],
  ['readers', 'threads and processes with one position read each record once'],
  ['writers', 'threads and processes with one position write each record once'],
  ['handler', 'signal handlers that write to the same descriptor'],
  ['jump', 'signal handlers that do not return leave a write whole or none of it'],
  ['killed', 'a writer that is killed takes no record of others with it'],
  ['sandbox', 'a program that may only read and write may do that'],
] as const;

for (const isServed of [true, false]) {
  const where = isServed ? 'in the process' : 'by the kernel, with --no-data';
  t.test(`calls at the position are served ${where}`, { skip: cannotMap }, async (t) => {
    const { dir } = await daxMount(t);
    const program = new Served(t, 'position', dir, isServed);
    for (const [name, what] of CASES) t.equal(await program.run(name), 'ok', `${name}: ${what}`);
  });
}
