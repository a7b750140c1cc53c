/**
 * `npm test`: style, build, types, then every tap test; nothing stops early, and the last line is
 * `N passed, N failed`. A step that is not a tap test (style, build, types) counts as one. In tap's
 * stream each assertion that has no assertions of its own is one, so a file of 200 assertions is
 * 200, not 1. What a file or subtest did wrong without a failing assertion (crash, timeout, wrong
 * plan) is one failure. Tap's own stream is kept in .tap/results.tap.
 *
 * Arguments are handed to tap: `npm test -- test/unit/extents.test.ts`.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { inspect } from 'node:util';
import { fileURLToPath } from 'node:url';
import { Parser } from 'tap-parser';

const root = fileURLToPath(new URL('..', import.meta.url));
const env = { ...process.env, PATH: `${root}/node_modules/.bin:${process.env.PATH}` };
const count = { passed: 0, failed: 0, skipped: 0, todo: 0 };

/** Runs one step with its output shown, and counts it. */
function step(title, command, args) {
  console.log(`\n== ${title}`);
  const stdio = ['ignore', 'inherit', 'inherit'];
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio, env });
  if (error !== undefined) console.log(`${command}: ${error.message}`);
  else if (status !== 0) console.log(`${title}: ${signal ?? `exit ${status}`}`);
  count[status === 0 ? 'passed' : 'failed']++;
}

/** Counts and shows what `parser` reads; its subtests are watched in turn, named after `path`. */
function watch(parser, path) {
  let failedBefore = 0;
  let isSubtest = false;
  parser.on('child', (child) => {
    isSubtest = true;
    failedBefore = count.failed;
    watch(child, [...path, child.name]);
  });
  parser.on('assert', (result) => {
    const hadChild = isSubtest;
    isSubtest = false;
    const name = [...path, result.name].join(' > ');
    if (result.todo) count.todo++;
    else if (result.skip) {
      count.skipped++;
      console.log(`skipped: ${name}: ${result.skip}`);
    } else if (hadChild ? !result.ok && count.failed === failedBefore : !result.ok) {
      count.failed++;
      console.log(`FAILED: ${name}`);
      console.log(inspect(result.diag, { depth: 6, breakLength: 100 }));
    } else if (!hadChild) count.passed++;
    if (path.length === 0) console.log(`${result.ok ? 'ok    ' : 'not ok'} ${result.name}`);
  });
  parser.on('bailout', (reason) => {
    count.failed++;
    console.log(`FAILED: ${path.join(' > ')}: bailed out: ${reason}`);
  });
}

/** The tests mount, make devices and become other users: an ordinary user runs them by sudo. */
function withRoot(command, args) {
  if (process.getuid() === 0) return [command, args];
  return ['sudo', ['-E', 'env', `PATH=${env.PATH}`, command, ...args]];
}

/** What root made in the clone becomes the user's, so that the next build can replace it. */
function giveBack() {
  const owner = `${process.getuid()}:${process.getgid()}`;
  if (process.getuid() === 0) return;
  const args = [root, '-xdev', '-user', '0', '-exec', 'chown', '-h', owner, '{}', '+'];
  const { status } = spawnSync('sudo', ['find', ...args], { stdio: 'inherit' });
  if (status !== 0) console.log(`some files in ${root} still belong to root`);
}

/** Runs tap on `tests` (its own choice when empty) and counts its stream. */
async function runTap(tests) {
  console.log('\n== tests');
  mkdirSync(`${root}/.tap`, { recursive: true });
  const [command, args] = withRoot('tap', ['--reporter=tap', ...tests]);
  const tap = spawn(command, args, {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const parser = new Parser();
  watch(parser, []);
  const parsed = new Promise((resolve) => parser.on('complete', resolve));
  const exited = new Promise((resolve) => tap.on('close', resolve));
  tap.stdout.pipe(createWriteStream(`${root}/.tap/results.tap`));
  tap.stdout.pipe(parser);
  const failedBefore = count.failed;
  const [summary, status] = await Promise.all([parsed, exited]);
  if ((!summary.ok || status !== 0) && count.failed === failedBefore) {
    count.failed++;
    console.log(`FAILED: tap ended with ${status} and ${summary.failures.length} failures`);
  }
}

step('style', 'biome', ['check', '--reporter=summary']);
step('native style', 'npm', ['run', '--silent', 'check:native-style']);
step('build', 'npm', ['run', '--silent', 'build']);
step('types', 'npm', ['run', '--silent', 'check:types']);
await runTap(process.argv.slice(2));
giveBack();
const { passed, failed, skipped, todo } = count;
console.log(`\n${skipped} skipped, ${todo} todo`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
