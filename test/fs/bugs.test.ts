/**
 * Each bug switch re-creates a classic mistake. With it on, the power cut must expose stale bytes or
 * lose synced ones; with it off, the very same runs must not. Both are asserted, so that neither the
 * file system nor this checker can be wrong unnoticed.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Keep, Mount, MountOptions } from '../../fs/index.js';
import { NO_BUGS } from '../../lib/dax/bugs.js';
import { makePlace, mounted } from './image.js';

const REGION_BYTES = 4 << 20;
const CANARY = 'FDXSTALE';
const SPACE_MS_MAX = 10_000;
const KEEPS: Keep[] = [
  { keep: 'none' },
  ...[1, 2, 3, 4, 5, 6, 7, 8].map((seed) => ({ keep: 'seed', seed }) as const),
];

type Bug = keyof MountOptions['bugs'];
/** Returns what went wrong in one run, or nothing. */
type Scenario = (
  at: (name: string) => string,
  fs: Mount,
  keep: Keep,
) => Promise<string | undefined>;

function durable(path: string, content: Buffer): void {
  const fd = openSync(path, 'w');
  writeSync(fd, content);
  fsyncSync(fd);
  closeSync(fd);
}

/** The pages of an unlinked file are free when the kernel has forgotten it, a moment later. */
function waitForSpace(dir: string): void {
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; waitedMs < SPACE_MS_MAX; waitedMs += 10) {
    const { bfree, blocks } = statfsSync(dir);
    if (bfree > blocks / 2) return;
    Atomics.wait(sleeper, 0, 0, 10);
  }
  throw new Error(`no space after ${SPACE_MS_MAX} ms`);
}

/** Fills all free space, then frees it durably: every free page now carries the canary. */
function soil(at: (name: string) => string): void {
  const fd = openSync(at('soil'), 'w');
  try {
    for (;;) writeSync(fd, Buffer.alloc(65536, 's'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
  fsyncSync(fd);
  closeSync(fd);
  rmSync(at('soil'));
  waitForSpace(at('.'));
  durable(at('marker'), Buffer.alloc(0));
}

function exposed(path: string, expected: Buffer): string | undefined {
  if (!existsSync(path)) return undefined;
  const content = readFileSync(path);
  const canary = content.indexOf(CANARY);
  if (canary >= 0) {
    const page = content.readBigUInt64LE(canary + 8);
    const owner = content.readBigUInt64LE(canary + 16);
    return `stale: byte ${canary} shows region page ${page}, last owned by inode ${owner}`;
  }
  for (let index = 0; index < content.length; index += 1) {
    const byte = content[index];
    if (byte !== 0 && byte !== expected[index]) return `foreign byte ${byte} at ${index}`;
  }
  return undefined;
}

const unsynced: Scenario = async (at, fs, keep) => {
  soil(at);
  const fd = openSync(at('new'), 'w');
  const content = Buffer.alloc(12_000, 'n');
  writeSync(fd, content);
  closeSync(fd);
  await fs.crash(keep);
  return exposed(at('new'), content);
};

const synced: Scenario = async (at, fs, keep) => {
  soil(at);
  const content = Buffer.alloc(12_000, 'n');
  durable(at('new'), content);
  await fs.crash(keep);
  if (!existsSync(at('new')) || statSync(at('new')).size !== content.length)
    return 'synced file lost';
  const stale = exposed(at('new'), content);
  if (stale !== undefined) return stale;
  return readFileSync(at('new')).equals(content) ? undefined : 'synced bytes lost';
};

const reused: Scenario = async (at, fs, keep) => {
  const old = Buffer.alloc(3 << 20, 'o');
  durable(at('old'), old);
  rmSync(at('old'));
  const fd = openSync(at('new'), 'w');
  writeSync(fd, Buffer.alloc(2 << 20, 'n'));
  closeSync(fd);
  await fs.crash(keep);
  return exposed(at('old'), old);
};

const CASES: { bug: Bug; scenario: Scenario; finds: RegExp }[] = [
  { bug: 'convertBeforeZero', scenario: unsynced, finds: /stale: byte \d+ shows region page \d+/ },
  { bug: 'noCompletionConversion', scenario: synced, finds: /synced bytes lost/ },
  { bug: 'commitBeforeData', scenario: synced, finds: /stale|synced bytes lost/ },
  { bug: 'reuseBeforeCommit', scenario: reused, finds: /foreign byte/ },
];

async function findings(t: Test, scenario: Scenario, bug?: Bug): Promise<string[]> {
  const found: string[] = [];
  for (const keep of KEEPS) {
    await t.test(JSON.stringify(keep), async (t) => {
      const place = makePlace(t, REGION_BYTES);
      const bugs = {
        ...NO_BUGS,
        ...(bug === undefined ? {} : { [bug]: true }),
      };
      const fs = await mounted(t, place, {
        crashable: true,
        canary: true,
        commitSeconds: 3600,
        bugs,
      });
      const result = await scenario((name) => join(place.dir, name), fs, keep);
      if (result !== undefined) found.push(result);
    });
  }
  return found;
}

for (const { bug, scenario, finds } of CASES) {
  t.test(`${bug}: on, a crash shows it`, async (t) => {
    const found = await findings(t, scenario, bug);
    t.match(found.join('\n'), finds);
    t.comment(`${found.length} of ${KEEPS.length} crashes: ${found[0]}`);
  });
  t.test(`${bug}: off, the same crashes show nothing`, async (t) => {
    t.same(await findings(t, scenario), []);
  });
}
