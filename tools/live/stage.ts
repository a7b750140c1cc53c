/**
 * What the rounds of one scenario run on: an image, its mount with the bug switch on or off, and an actor
 * for each process, which live as long as it. Everything lies in the run's directory, and dies with the
 * process that made it.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WIRE_RUN_NO_DATA, WIRE_RUN_OWN_FLUSHES } from '../../fs/dax/wire.js';
import { type Mount, mount } from '../../fs/mount.js';
import { parseBugs } from '../../lib/dax/bugs.js';
import { makeImage } from '../../lib/image.js';
import { checkImage } from '../../lib/metadata/check.js';
import { loadNative } from '../../lib/native.js';
import type { Invariant, Scenario } from '../../lib/race/scenario.js';
import { PAGES_PER_HUGE } from '../../lib/units.js';
import { beginRun, shimEnvironment, shimPath } from '../direct.js';
import { Actor } from './actor.js';
import { actorOf } from './script.js';
import type { LiveViolation } from './violation.js';

/** An actor that has not answered by then waits for something that does not come. */
export const WAIT_MS_MAX = 15_000;
/** Commits are those that the scripts ask for. */
const COMMIT_SECONDS = 3600;
const SMALL_BYTES = 1 << 20;
const HUGE_BYTES = 16 << 20;
/** After the shim, so that its functions come first. */
const PMEM = 'libpmem.so.1';
const SETTLE_MS_MAX = 5000;
const SETTLE_STEP_MS = 10;

export class Stage {
  private constructor(
    readonly mounted: Mount,
    /** Makes the files of a round, and removes them. */
    readonly hand: Actor,
    /** By process; those of children of fork are in their parents'. */
    readonly actors: ReadonlyMap<string, Actor>,
  ) {}

  /** @param dir exists, in memory; the image and the mount point are made in it */
  static async make(scenario: Scenario, bug: string | undefined, dir: string): Promise<Stage> {
    const [imageDir, mountDir] = [join(dir, 'image'), join(dir, 'mnt')];
    mkdirSync(imageDir);
    mkdirSync(mountDir);
    const hasHuge = Object.values(scenario.files).some(({ pages }) => pages >= PAGES_PER_HUGE);
    const { allocateFile: allocate, lockFile } = loadNative();
    makeImage(imageDir, { sizeBytes: hasHuge ? HUGE_BYTES : SMALL_BYTES, allocate, lockFile });
    const options = {
      canary: true,
      crashable: scenario.hasCrash === true,
      commitSeconds: COMMIT_SECONDS,
      bugs: parseBugs(bug === undefined ? [] : [bug]),
    };
    const mounted = await mount(imageDir, mountDir, options, { diesWithUs: true });
    try {
      const ticket = await beginRun('race', mounted.control, mountDir);
      const shim = shimPath('race');
      // The shim's functions are asked for by name, which it cannot tell from libpmem's own.
      const flags = WIRE_RUN_NO_DATA | WIRE_RUN_OWN_FLUSHES;
      const where = { dir: mountDir, shim, flags, preloaded: undefined };
      const environment = shimEnvironment(ticket, where);
      if (scenario.threads.some(({ script }) => script.some(({ op }) => op === 'persist'))) {
        environment['LD_PRELOAD'] += `:${PMEM}`;
      }
      const make = (name: string): Actor => new Actor(name, mountDir, environment);
      const names = new Set(Object.keys(scenario.processes).map((name) => actorOf(scenario, name)));
      const actors = new Map([...names].map((name) => [name, make(name)]));
      const stage = new Stage(mounted, make('stage hand'), actors);
      await stage.soilFreePages();
      return stage;
    } catch (error) {
      await mounted.kill();
      throw error;
    }
  }

  /** Every free page holds what a removed file leaves: the canary. */
  private async soilFreePages(): Promise<void> {
    const { free } = await this.mounted.info();
    await this.hand.must(
      ['create soil soil', `allocate soil 0 ${free.pages}`, 'close soil', 'unlink soil'],
      WAIT_MS_MAX,
    );
    await this.mounted.control.commit();
  }

  /**
   * As the kernel looks at the counters of a process that exits, for page tables and pages that no walk
   * found. Counts are of all rounds: the first round in which one is not zero is the last.
   */
  async exitCounters(watched: readonly Invariant[]): Promise<LiveViolation | undefined> {
    const { daemon } = await this.mounted.info();
    const { pteUnderPmd = 0, pmdOverPte = 0, found = 0 } = daemon.dax?.collisions ?? {};
    const counts = [
      ['pte-under-pmd', pteUnderPmd],
      ['pmd-over-pte', pmdOverPte + found],
    ] as const;
    for (const [invariant, count] of counts) {
      if (count === 0 || !watched.includes(invariant)) continue;
      const message = `counters at exit: ${pteUnderPmd} PTE under a PMD, ${pmdOverPte} PMD over PTEs; processes found ${found} PMD over pages of their own`;
      return { invariant, message };
    }
    return undefined;
  }

  /** Nobody maps anything: then nothing may be left of it. */
  async gauges(): Promise<LiveViolation | undefined> {
    const deadlineMs = performance.now() + SETTLE_MS_MAX;
    for (;;) {
      const { daemon } = await this.mounted.info();
      const { mappings = 0, files = 0, waiting = 0 } = daemon.dax ?? {};
      if (mappings + files + waiting === 0) return undefined;
      if (performance.now() > deadlineMs) {
        const left = `${mappings} mappings, ${files} files, ${waiting} that wait`;
        return { invariant: 'progress', message: `after all was unmapped there are ${left}` };
      }
      await sleep(SETTLE_STEP_MS);
    }
  }

  /** Unmounts, and checks what is left. */
  async close(): Promise<LiveViolation | undefined> {
    const left = await this.gauges();
    for (const actor of [...this.actors.values(), this.hand]) await actor.end();
    await this.mounted.unmount();
    if (left !== undefined) return left;
    const { openRegion, lockFile } = loadNative();
    const problems = checkImage(this.mounted.imageDir, { repair: false, openRegion, lockFile });
    if (problems.length === 0) return undefined;
    return { invariant: 'fsck', message: problems.map(({ text }) => text).join('; ') };
  }

  /** At once: what it shows is not to be trusted any more. */
  async abandon(): Promise<void> {
    for (const actor of [...this.actors.values(), this.hand]) actor.kill();
    await this.mounted.kill();
  }
}
