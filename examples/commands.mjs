// The commands of examples.json with their places filled in, one line of shell words for each run:
// NAME VARIANT MODEL EXPECTED-STATUS NAMES BUILD fauxdax-test-arguments...
// run.sh evaluates them. Arguments: the folder for what is built, then names of examples (all).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const MODELS = ['dax', 'sector', 'posix', 'eadr'];
const [outBase, ...names] = process.argv.slice(2);
const examples = JSON.parse(readFileSync(join(import.meta.dirname, 'examples.json'), 'utf8'));
const unknown = names.find((name) => !examples.some((example) => example.name === name));
if (unknown !== undefined) {
  console.error(`commands.mjs: no example is called ${unknown}`);
  process.exit(2);
}

const quote = (word) => (/^[\w./:=+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

for (const example of examples) {
  if (names.length > 0 && !names.includes(example.name)) continue;
  for (const variant of ['buggy', 'fixed']) {
    const places = {
      here: quote(join(import.meta.dirname, example.name)),
      out: quote(join(outBase, example.name)),
      variant,
    };
    const fill = (text = '') => text.replaceAll(/\{(here|out|variant)\}/g, (_, key) => places[key]);
    // libpmem's promises are those of persistent memory: disks keep none of them.
    for (const model of example.models ?? MODELS) {
      const expected = variant === 'buggy' && example.fails.includes(model) ? 1 : 0;
      const args = ['--model', model, ...(example.options ?? [])];
      if (example.setup !== undefined) args.push('--setup', fill(example.setup));
      args.push('--workload', fill(example.workload), '--check', fill(example.check));
      const words = [example.name, variant, model, String(expected), example.names];
      console.log([...words, fill(example.build), ...args].map(quote).join(' '));
    }
  }
}
