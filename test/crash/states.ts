/**
 * Crash states for tests of what runs checks on them, made by a shell script in an explorer mount
 * of their own, and runners over them. The test process serves the mount and never touches it.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Observation, RunRequest } from '../../lib/crash/search/runner.js';
import type { CrashState } from '../../lib/crash/state/state.js';
import { makeImage, type OpenImage, openImage } from '../../lib/image.js';
import { MemoryRegion } from '../../lib/memory_region.js';
import { PAGE_BYTES } from '../../lib/units.js';
import type { RunnerOptions } from '../../fs/explorer/runner.js';

const dist = '../../dist';
const load = async <T>(path: string): Promise<T> => (await import(`${dist}/${path}`)) as T;
export const { ExplorerRunner } =
  await load<typeof import('../../fs/explorer/runner.js')>('fs/explorer/runner.js');
export const { Explorer } =
  await load<typeof import('../../fs/explorer/explorer.js')>('fs/explorer/explorer.js');
export const { Warden } =
  await load<typeof import('../../fs/explorer/warden.js')>('fs/explorer/warden.js');
export const { parseCheck } =
  await load<typeof import('../../fs/explorer/checks.js')>('fs/explorer/checks.js');
const { loadNative } = await load<typeof import('../../lib/native.js')>('lib/native.js');

const PAGE_COUNT = 4096;
const canMount = process.geteuid?.() === 0 && existsSync('/dev/fuse');

/** For t.test options. */
export const needsMount = { skip: canMount ? false : 'needs root and /dev/fuse' };
export const needs = (program: string): { skip: string | boolean } => {
  if (!canMount) return needsMount;
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    return { skip: false };
  } catch {
    return { skip: `needs ${program}` };
  }
};

export function makeDir(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'fauxdax-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** The state that a script leaves in an empty directory, all of it durable. */
export async function stateAfter(t: Test, script: string): Promise<CrashState> {
  const root = makeDir(t);
  const [imageDir, mountDir, dir] = ['image', 'mount', 'dir'].map((name) => join(root, name));
  mkdirSync(mountDir as string);
  mkdirSync(dir as string);
  makeImage(imageDir as string, { sizeBytes: PAGE_COUNT * PAGE_BYTES });
  const region = new MemoryRegion(PAGE_COUNT);
  region.storeFlushed(0, readFileSync(join(imageDir as string, 'region')).subarray(0, PAGE_BYTES));
  const image = openImage(imageDir as string, { openRegion: () => region });
  const explorer = new Explorer(loadNative(), mountDir as string, (reason) => t.fail(reason));
  // Before the folder goes, also when the test's time is up: nobody here may touch the mount.
  t.teardown(() => explorer.close());
  const warden = new Warden();
  try {
    const slot = explorer.open(image);
    const run = { command: script, dir: dir as string, bind: slot.path, timeoutMs: 20_000 };
    const outcome = await warden.run(run);
    if (outcome.exitStatus !== 0) throw new Error(`the script failed: ${outcome.stderr}`);
    slot.filesystem.finish();
  } finally {
    await warden.close();
    explorer.close();
  }
  return freeze(image, region);
}

/** What an image holds now, as a state. */
function freeze(image: OpenImage, region: MemoryRegion): CrashState {
  const database = image.metadata.db.serialize();
  // A database in memory has no log beside it.
  database.fill(1, 18, 20);
  const bytes = Buffer.alloc(region.pageCount * PAGE_BYTES);
  region.read(0, bytes);
  const { uuid } = image;
  image.close();
  return {
    pageCount: region.pageCount,
    uuid,
    database,
    page: (page) => bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES),
    choice: { model: 'dax', position: 0, lostOperations: [], otherLines: 'newest', lines: [] },
    imageHash: () => uuid,
    metadataKey: uuid,
    release: () => undefined,
  };
}

/** A runner that goes away with the test; `dir` is new unless it is given. */
export function makeRunner(
  t: Test,
  check: string,
  options: Partial<RunnerOptions> = {},
): InstanceType<typeof ExplorerRunner> {
  const root = makeDir(t);
  const runner = new ExplorerRunner({
    dir: join(root, 'dir'),
    runDir: join(root, 'run'),
    check,
    continue: null,
    jobs: 2,
    ...options,
  });
  t.teardown(() => runner.close());
  return runner;
}

/** One run of one check on one state. */
export async function runOn(
  t: Test,
  state: CrashState,
  check: string,
  options: Partial<RunnerOptions> & Partial<RunRequest> = {},
): Promise<Observation> {
  const runner = makeRunner(t, check, options);
  const { acknowledged = [], recorded = false } = options;
  const observation = await runner.run({ state, acknowledged, recorded });
  await runner.close();
  return observation;
}
