/**
 * Where failures are kept until somebody looks at them: a directory for each id, with failure.json
 * (what is needed to make the state and run the check again), the trace, that of the recovery for a
 * crash inside one, and replay.sh. Failures of one run share the trace by hard links where the
 * filesystem allows.
 */
import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import type { ModelName } from '../lib/crash/choice.js';
import type { ExploreOptions } from '../lib/crash/explorer.js';
import type { FailureResult } from '../lib/crash/result/result.js';
import { dataDirectory } from './data_directory.js';
import { EXIT_USAGE, Failure } from './failure.js';
import { visible, visibleLines } from './report/visible.js';
import { describeVerified, whatHappened } from './report/words.js';

const FORMAT = 1;
const JSON_NAME = 'failure.json';
const TRACE_NAME = 'trace';
const RECOVERY_NAME = 'recovery.trace';
const SCRIPT_NAME = 'replay.sh';

/** What a replay needs beside the trace. */
export interface SavedFailure {
  format: typeof FORMAT;
  fauxdaxVersion: string;
  failure: FailureResult;
  workload: string;
  check: string;
  continue: string | null;
  expect: ExploreOptions['expect'];
  checkMs: number;
  models: ModelName[];
  tornBytes: 8 | null;
}

export interface Found {
  dir: string;
  trace: string;
  /** Of the recovery that the last of several crashes cut. */
  recovery: string;
  saved: SavedFailure;
}

/** Unless --keep says another. */
export function defaultPlace(): string {
  return join(dataDirectory(), 'failures');
}

export interface Traces {
  trace: string;
  /** Those of recoveries, by their digests. */
  recoveries: ReadonlyMap<string, string>;
}

/** Each failure in a directory of its own; an earlier one of the same id is the same failure. */
export function saveFailures(
  place: string,
  { trace, recoveries }: Traces,
  failures: readonly SavedFailure[],
): Map<string, string> {
  const savedIn = new Map<string, string>();
  let source = trace;
  for (const saved of failures) {
    const dir = join(place, saved.failure.id);
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir, { recursive: true });
    const copy = join(dir, TRACE_NAME);
    if (source === trace) copyFileSync(source, copy, constants.COPYFILE_FICLONE);
    else shareFile(source, copy);
    source = copy;
    const recovery = recoveries.get(saved.failure.recovery ?? '');
    if (recovery !== undefined) copyFileSync(recovery, join(dir, RECOVERY_NAME));
    writeFileSync(join(dir, JSON_NAME), `${JSON.stringify(saved, null, 2)}\n`);
    writeFileSync(join(dir, SCRIPT_NAME), script(saved));
    chmodSync(join(dir, SCRIPT_NAME), 0o755);
    savedIn.set(saved.failure.id, dir);
  }
  return savedIn;
}

function shareFile(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to); // a filesystem without hard links
  }
}

/**
 * @param name an id, the beginning of one, or the directory of a saved failure
 * @throws {Failure} there is none, or there are several
 */
export function findFailure(place: string, name: string): Found {
  if (name.includes('/') || existsSync(join(name, JSON_NAME))) return readFound(resolve(name));
  const ids = existsSync(place) ? readdirSync(place) : [];
  const matching = ids.includes(name) ? [name] : ids.filter((id) => id.startsWith(name));
  const [id] = matching;
  if (name === '' || id === undefined) {
    throw new Failure(`replay: no failure ${name} in ${place}`, EXIT_USAGE);
  }
  if (matching.length > 1) {
    throw new Failure(`replay: ${name} is several: ${matching.join(', ')}`, EXIT_USAGE);
  }
  return readFound(join(place, id));
}

function readFound(dir: string): Found {
  const file = join(dir, JSON_NAME);
  if (!existsSync(file)) throw new Failure(`replay: ${dir}: no failure is saved here`, EXIT_USAGE);
  let saved: SavedFailure;
  try {
    saved = JSON.parse(readFileSync(file, 'utf8')) as SavedFailure;
  } catch {
    throw new Failure(`replay: ${file}: damaged: no JSON`, EXIT_USAGE);
  }
  if (saved.format !== FORMAT) {
    const what = `format ${saved.format}, of fauxdax ${saved.fauxdaxVersion}`;
    throw new Failure(`replay: ${file}: ${what}; this is format ${FORMAT}`, EXIT_USAGE);
  }
  return { dir, trace: join(dir, TRACE_NAME), recovery: join(dir, RECOVERY_NAME), saved };
}

function script(saved: SavedFailure): string {
  const { failure, check, workload } = saved;
  const said = [
    `${failure.id}: ${visible(failure.summary)}`,
    ...visibleLines(whatHappened(failure)).split('\n'),
    ...(failure.explanation.needs === '' ? [] : [`Needs: ${visible(failure.explanation.needs)}`]),
    describeVerified(failure),
    `Workload: ${visible(workload)}`,
    `Check: ${visible(check)}`,
  ];
  return `#!/bin/sh
# A crash state that fauxdax found, made again from the trace beside this script; exit status 1 when
# the check fails in it again. Arguments go to \`fauxdax replay\`: --shell to look around.
#
${said.map((line) => `# ${line}`).join('\n')}
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
exec \${FAUXDAX:-fauxdax} replay "$here" "$@"
`;
}
