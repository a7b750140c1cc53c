/**
 * `fauxdax demo`: SQLite on a fresh mount, a power cut in the middle of its work, and what is there
 * afterwards. Twice: by hand with everything undecided lost, then armed at a write of the WAL with
 * a seeded part of it kept. Exit status 1 when something that was acknowledged is gone.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { type Mount, mount } from '../../fs/mount.js';
import { parseMountOptions } from '../../fs/options.js';
import { makeImage } from '../../lib/image.js';
import { loadNative } from '../../lib/native.js';
import { EXIT_INTERRUPTED, Failure } from '../failure.js';
import { color } from '../screen.js';
import { describeCrash } from './crash.js';

const CLIENT = fileURLToPath(new URL('../demo_client.js', import.meta.url));
const IMAGE_BYTES = 64 * 2 ** 20;
/** Commits before the first cut: enough to see, done in a second or two. */
const COMMITS = 200;
/** The second cut comes at this write to the WAL. An order writes a few frames, two writes each. */
const CUT_AT_WRITE = 500;
const SEED = 7;
const BAR_COMMITS = 10; // commits drawn as one block

interface Survey {
  orders: number;
  whole: boolean;
  integrity: string;
  draft: boolean;
}

export function demoCommand(): Command {
  return new Command('demo')
    .description('run SQLite on a mount, pull the plug, show what survives (under a minute)')
    .addHelpText('after', '\nExample:\n  fauxdax demo')
    .action(demo);
}

async function demo(): Promise<void> {
  const base = mkdtempSync(join(tmpdir(), 'fauxdax-demo-'));
  const places = { image: join(base, 'image'), dir: join(base, 'mnt') };
  mkdirSync(places.dir);
  const plug = new Plug(places.image, places.dir);
  const remove = async (): Promise<void> => {
    try {
      await plug.tear();
      rmSync(base, { recursive: true, force: true });
    } catch (error) {
      // Said beside what went wrong before, not instead of it.
      process.stderr.write(`fauxdax: demo: left behind ${base}: ${(error as Error).message}\n`);
    }
  };
  let removed: Promise<void> | undefined;
  const cleanUp = (): Promise<void> => {
    removed ??= remove();
    return removed;
  };
  let isInterrupted = false;
  const interrupted = (): void => {
    isInterrupted = true;
    void cleanUp().then(() => process.exit(EXIT_INTERRUPTED));
  };
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', interrupted);
  try {
    heading(`An image of 64 MiB, mounted on ${places.dir}`);
    makeImage(places.image, { sizeBytes: IMAGE_BYTES, allocate: loadNative().allocateFile });
    await plug.in();
    const acknowledged = await cutByHand(plug, join(places.dir, 'orders.db'));
    await cutAtWrite(plug, join(places.dir, 'orders.db'), acknowledged);
    await plug.out();
    heading('Everything acknowledged survived both cuts; what never was promised did not.');
  } catch (error) {
    await cleanUp();
    // ^C goes to the programs we run as well: that they ended is no failure then.
    if (isInterrupted) await new Promise(() => undefined);
    throw error;
  }
  await cleanUp();
}

/** The mount of the demo, which comes and goes. */
class Plug {
  readonly #image: string;
  readonly #dir: string;
  #mounted: Mount | undefined;
  #isTorn = false;
  /** Mounting or unmounting, while that goes on. */
  #change: Promise<void> = Promise.resolve();

  constructor(image: string, dir: string) {
    this.#image = image;
    this.#dir = dir;
  }

  get mounted(): Mount {
    if (this.#mounted === undefined) throw new Failure('demo: not mounted');
    return this.#mounted;
  }

  async in(): Promise<void> {
    if (this.#isTorn) throw new Failure('demo: interrupted');
    this.#change = this.#mount();
    await this.#change;
  }

  async out(): Promise<void> {
    this.#change = this.#unmount();
    await this.#change;
  }

  /**
   * For ^C and failures: mounts no more, and does not wait for anybody who has files open. A change
   * under way is waited for, because only then is it known what there is to take away.
   */
  async tear(): Promise<void> {
    this.#isTorn = true;
    await Promise.allSettled([this.#change]);
    const mounted = this.#mounted;
    this.#mounted = undefined;
    await mounted?.kill();
  }

  async again(): Promise<void> {
    await this.out();
    await this.in();
  }

  async #mount(): Promise<void> {
    // No timer commits in between: only what SQLite asks to be durable is.
    const options = parseMountOptions(['crashable,canary,commit=600']);
    this.#mounted = await mount(this.#image, this.#dir, options);
  }

  async #unmount(): Promise<void> {
    await this.#mounted?.unmount();
    this.#mounted = undefined;
  }
}

/** @returns orders acknowledged so far */
async function cutByHand(plug: Plug, database: string): Promise<number> {
  heading(
    `1. SQLite (WAL, synchronous=FULL) commits ${COMMITS} orders; the plug is pulled by hand`,
  );
  const client = new Client('work', database, String(COMMITS));
  await client.said((line) => line === 'open');
  say('a large transaction is open, much of it in the WAL already;');
  say('draft.txt was written and closed, but never fsynced.');
  await client.kill();
  const lost = await plug.mounted.crash({ keep: 'none' });
  cut(describeCrash(lost));
  await plug.again();
  const after = survey(database);
  picture(client.acknowledged, after, 'open transaction');
  verdict('acknowledged orders', after.orders, client.acknowledged, after.orders === COMMITS);
  verdict('uncommitted orders', after.orders - COMMITS, 0, after.orders === COMMITS);
  verdict('integrity_check', after.integrity, 'ok', after.integrity === 'ok' && after.whole);
  verdict('draft.txt', after.draft ? 'there' : 'gone', 'gone', !after.draft);
  return client.acknowledged;
}

async function cutAtWrite(plug: Plug, database: string, before: number): Promise<void> {
  heading(
    `2. It goes on; the plug is armed at the ${CUT_AT_WRITE}th write to the WAL, seed ${SEED}`,
  );
  await plug.mounted.fault.add({
    op: 'write',
    path: '*-wal',
    nth: CUT_AT_WRITE,
    action: { do: 'crash', keep: { keep: 'seed', seed: SEED } },
  });
  const client = new Client('spin', database);
  await client.ended;
  cut(`the power went in the middle of order ${client.acknowledged + 1}`);
  await plug.again();
  const after = survey(database);
  picture(client.acknowledged, after, 'order in flight');
  const inFlight = after.orders - client.acknowledged;
  verdict('new orders acknowledged', client.acknowledged - before, 'some', true);
  // The one in flight may have become durable without having been acknowledged.
  verdict('acknowledged orders lost', Math.max(0, -inFlight), 0, inFlight >= 0 && inFlight <= 1);
  verdict('integrity_check', after.integrity, 'ok', after.integrity === 'ok' && after.whole);
}

/** The SQLite application, and what it has acknowledged. */
class Client {
  acknowledged = 0;
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  readonly #waiting: { test: (line: string) => boolean; resolve: () => void }[] = [];

  constructor(...args: string[]) {
    this.#child = spawn(process.execPath, [CLIENT, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    lines.on('line', (line) => this.#heard(line));
    const exited = new Promise((resolve) => this.#child.once('close', resolve));
    const drained = new Promise((resolve) => lines.once('close', resolve));
    this.ended = Promise.all([exited, drained]).then(() => undefined);
  }

  /** Resolves when the client says a line that passes `test`; rejects when it ends before. */
  said(test: (line: string) => boolean): Promise<void> {
    const heard = new Promise<void>((resolve) => this.#waiting.push({ test, resolve }));
    const ended = this.ended.then(() => {
      throw new Failure('demo: the SQLite program ended early: see above');
    });
    return Promise.race([heard, ended]);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  #heard(line: string): void {
    const ack = /^ack (\d+)$/.exec(line);
    if (ack !== null) this.acknowledged = Number(ack[1]);
    for (const waiting of this.#waiting) if (waiting.test(line)) waiting.resolve();
  }
}

function survey(database: string): Survey {
  const { stdout, stderr, status } = spawnSync(process.execPath, [CLIENT, 'check', database], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Failure(`demo: the database cannot be read: ${stderr.trim()}`);
  return JSON.parse(stdout) as Survey;
}

function heading(text: string): void {
  process.stdout.write(`\n${color.bold(text)}\n`);
}

function say(text: string): void {
  process.stdout.write(`   ${text}\n`);
}

function cut(text: string): void {
  process.stdout.write(`   ${color.yellow('⚡')} ${text}\n`);
}

/** Two bars over one time axis: what was there before the cut, and what is after. */
function picture(acknowledged: number, after: Survey, undecided: string): void {
  const blocks = (count: number): string => '█'.repeat(Math.floor(count / BAR_COMMITS));
  const rest = color.dim(`░░░ ${undecided}`);
  const kept = color.green(blocks(Math.min(after.orders, acknowledged)));
  const gone = color.red(
    '×'.repeat(Math.ceil(Math.max(0, acknowledged - after.orders) / BAR_COMMITS)),
  );
  process.stdout.write(
    `\n   before  ${color.green(blocks(acknowledged))}${rest}\n` +
      `   after   ${kept}${gone}   ${after.orders} orders (a block is ${BAR_COMMITS})\n\n`,
  );
}

/** @throws {Failure} when what the demo promises did not hold */
function verdict(
  what: string,
  seen: string | number,
  expected: string | number,
  ok: boolean,
): void {
  const mark = ok ? color.green('✓') : color.red('✗');
  process.stdout.write(`   ${mark} ${what}: ${seen}\n`);
  if (!ok) throw new Failure(`demo: ${what}: ${seen}, expected ${expected}`);
}
