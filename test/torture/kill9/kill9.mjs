#!/usr/bin/env node
// The kill -9 loop. Each round: mount, check every promise of all rounds before, let the clients
// work, kill the daemon at a random moment, detach the mount, fsck. What a client announced as
// durable must be there; what it was about to do may be there or not; no byte may belong to another
// file or place.
//
// client.c owns what is written and the format of its lines; this file owns the promises and the
// rounds. With --dir it works in a plain directory and kills the clients instead: that proves the
// loop itself. Exit status 0: nothing lost; 1: something lost, image and seed are kept and printed;
// 2: usage.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const CLIENT_COUNT = 2;
const STEP_MS_MAX = 60_000;
const root = resolve(import.meta.dirname, '../../..');
const program = join(root, 'dist/tools/fauxdax.js');

class Lost extends Error {}

/** What one client has been promised: name → state, and the line it was trying when it died. */
class Promises {
  states = new Map();
  trying = undefined;
  acknowledged = 0;
  errors = [];

  /** @param {string} line one line of the client */
  hear(line) {
    if (line.startsWith('T ')) {
      const [, kind, ...pairs] = line.split(' ');
      this.trying = { kind, pairs: pairs.map((pair) => pair.split('=')) };
    } else if (line === 'A') {
      for (const [name, state] of this.trying?.pairs ?? []) this.states.set(name, state);
      if (this.trying !== undefined) this.acknowledged++;
      this.trying = undefined;
    } else if (line.startsWith('E ')) {
      this.errors.push(line.slice(2));
    } else {
      throw new Error(`client said: ${line}`);
    }
  }

  /** Throws Lost when what is there breaks a promise; then takes what is there as the truth. */
  check(there, where) {
    const state = (name) => there.get(name) ?? '-';
    const before = (name) => this.states.get(name) ?? '-';
    const pairs = this.trying?.pairs ?? [];
    const open = new Set(pairs.map(([name]) => name));
    for (const [name, expected] of this.states) {
      if (open.has(name) || state(name) === expected) continue;
      throw new Lost(`${where}/${name}: promised ${expected}, found ${state(name)}`);
    }
    for (const name of there.keys()) {
      if (name.startsWith('f') && !open.has(name) && before(name) === '-') {
        throw new Lost(`${where}/${name}: promised to be gone, found ${state(name)}`);
      }
    }
    if (this.trying?.kind === 'atomic') {
      const old = pairs.every(([name]) => state(name) === before(name));
      const fresh = pairs.every(([name, next]) => state(name) === next);
      if (!old && !fresh) {
        const seen = pairs.map(
          ([name, next]) => `${name}: ${before(name)} → ${next}, found ${state(name)}`,
        );
        throw new Lost(`${where}: half an atomic change: ${seen.join('; ')}`);
      }
    } else {
      for (const [name] of pairs) {
        if (before(name) !== '-' && state(name) === '-')
          throw new Lost(`${where}/${name}: is gone`);
      }
    }
    for (const [name] of pairs) this.states.set(name, state(name));
    this.trying = undefined;
    this.errors = [];
  }
}

function usage(status) {
  const text = `usage: kill9.mjs [--rounds 200] [--seed N] [--image IMAGE] [--size 64M]
                 [--options OPT,...] [--alive-ms 400] [--dir DIR [--plant flip|cut|drop]]
  kill9.mjs --rounds 20 --seed 7
`;
  (status === 0 ? process.stdout : process.stderr).write(text);
  process.exit(status);
}

function options() {
  try {
    const { values } = parseArgs({
      options: {
        rounds: { type: 'string', default: '200' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        image: { type: 'string' },
        size: { type: 'string', default: '64M' },
        options: { type: 'string' },
        'alive-ms': { type: 'string', default: '400' },
        dir: { type: 'string' },
        plant: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) usage(0);
    for (const name of ['rounds', 'seed', 'alive-ms']) if (!/^\d+$/.test(values[name])) usage(2);
    if (
      values.plant !== undefined &&
      (values.dir === undefined || !/^(flip|cut|drop)$/.test(values.plant))
    )
      usage(2);
    return {
      ...values,
      rounds: Number(values.rounds),
      seed: Number(values.seed),
      aliveMs: Number(values['alive-ms']),
    };
  } catch (error) {
    process.stderr.write(`kill9: ${error.message}\n`);
    return usage(2);
  }
}

/** Same seed, same sequence: mulberry32. */
function random(seed) {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) % bound;
  };
}

function buildClient() {
  const source = join(import.meta.dirname, 'client.c');
  const binary = join(root, 'build/test/kill9-client');
  mkdirSync(join(root, 'build/test'), { recursive: true });
  if (!existsSync(binary) || statSync(binary).mtimeMs < statSync(source).mtimeMs) {
    execFileSync(
      'gcc',
      ['-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', '-o', binary, source],
      { stdio: 'inherit' },
    );
  }
  return binary;
}

/** Runs one command of fauxdax; any other exit status than 0 is a lost round. */
function fauxdax(...args) {
  const done = spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    timeout: STEP_MS_MAX,
    killSignal: 'SIGKILL',
  });
  if (done.status !== 0) {
    throw new Lost(
      `fauxdax ${args.join(' ')}: status ${done.status ?? done.signal}: ${(done.stdout + done.stderr).trim()}`,
    );
  }
  return done.stdout;
}

/** Whether a process still runs; one that is dead but not waited for by its parent does not. */
function isRunning(pid) {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** A mount whose daemon is killed. */
class Mounted {
  constructor(image, size, mountOptions) {
    this.folder = image === undefined ? mkdtempSync(join(tmpdir(), 'kill9-')) : undefined;
    this.image = image ?? join(this.folder, 'image');
    this.dir = mkdtempSync(join(tmpdir(), 'kill9-mount-'));
    this.options = mountOptions === undefined ? [] : ['-o', mountOptions];
    fauxdax('mkfs', this.image, '--size', size, '--force');
  }

  begin() {
    fauxdax('mount', this.image, this.dir, ...this.options);
    this.pid = JSON.parse(fauxdax('info', this.dir, '--json')).daemon.pid;
    if (!Number.isInteger(this.pid) || this.pid < 2) throw new Error('info has no daemon.pid');
  }

  kill() {
    process.kill(this.pid, 'SIGKILL');
  }

  async afterKill() {
    spawnSync('umount', ['-l', this.dir]);
    for (let waits = 0; isRunning(this.pid); waits++) {
      if (waits > 600) throw new Lost(`daemon ${this.pid} does not die`);
      await sleep(20);
    }
    fauxdax('fsck', this.image);
  }

  finish(keep) {
    fauxdax('umount', this.dir);
    fauxdax('fsck', this.image);
    if (!keep) rmSync(this.folder ?? this.image, { recursive: true, force: true });
    rmSync(this.dir, { recursive: true, force: true });
  }

  abandon() {
    spawnSync('umount', ['-l', this.dir]);
    return `image kept: ${this.image}`;
  }
}

/** A plain directory: the clients are killed, and a plant may break a promise on purpose. */
class Plain {
  constructor(dir, plant) {
    this.dir = join(dir, 'kill9');
    this.plant = plant;
    rmSync(this.dir, { recursive: true, force: true });
    mkdirSync(this.dir, { recursive: true });
  }

  begin() {}
  kill(children) {
    for (const child of children) child.kill('SIGKILL');
  }

  async afterKill(promises) {
    if (this.plant === undefined) return;
    const open = new Set(promises[0].trying?.pairs.map(([name]) => name));
    const safe = [...promises[0].states].find(
      ([name, state]) => state !== '-' && !state.startsWith('0:') && !open.has(name),
    );
    if (safe === undefined) return;
    const path = join(this.dir, 'w0', safe[0]);
    if (this.plant === 'drop') rmSync(path);
    else if (this.plant === 'cut') truncateSync(path, statSync(path).size - 1);
    else
      execFileSync('dd', [
        'if=/dev/urandom',
        `of=${path}`,
        'bs=1',
        'count=8',
        'conv=notrunc',
        'status=none',
      ]);
  }

  finish() {
    rmSync(this.dir, { recursive: true, force: true });
  }

  abandon() {
    return `directory kept: ${this.dir}`;
  }
}

/** Starts one client; its lines go to `promises`. Resolves `ended` when its last line was heard. */
function startClient(binary, dir, seed, promises) {
  const child = spawn(binary, ['write', dir, String(seed)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let rest = '';
  child.stdout.setEncoding('latin1');
  child.stdout.on('data', (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) promises.hear(line);
  });
  const ended = new Promise((done) =>
    child.on('close', (status, signal) => done({ status, signal })),
  );
  return { child, ended };
}

function checkAll(binary, dir, promises) {
  for (const [index, promise] of promises.entries()) {
    const where = join(dir, `w${index}`);
    mkdirSync(where, { recursive: true });
    const done = spawnSync(binary, ['state', where], {
      encoding: 'latin1',
      timeout: STEP_MS_MAX,
      maxBuffer: 1 << 24,
    });
    if (done.status !== 0) throw new Lost(`${where}: cannot be read: ${done.stdout}${done.stderr}`);
    const there = new Map();
    for (const line of done.stdout.split('\n')) {
      if (line.startsWith('W ')) throw new Lost(`${where}/${line.slice(2)}`);
      const [name, state] = line.slice(2).split('=');
      if (line.startsWith('S ')) there.set(name, state);
    }
    promise.check(there, where);
  }
  return readdirSync(dir).length;
}

async function round(number, given, binary, place, promises, pick) {
  place.begin();
  checkAll(binary, place.dir, promises);
  const clients = promises.map((promise, index) =>
    startClient(
      binary,
      join(place.dir, `w${index}`),
      given.seed * 100_000 + number * 10 + index,
      promise,
    ),
  );
  await sleep(1 + pick(given.aliveMs));
  const early = promises.flatMap((promise) => promise.errors);
  const dead = clients.filter(({ child }) => child.exitCode !== null || child.signalCode !== null);
  if (dead.length > 0)
    early.push(`client ended: ${dead[0].child.signalCode ?? dead[0].child.exitCode}`);
  if (early.length > 0) throw new Lost(`a call failed before the kill: ${early.join('; ')}`);
  place.kill(clients.map(({ child }) => child));
  const reaper = setTimeout(() => {
    for (const { child } of clients) child.kill('SIGKILL');
  }, 10_000);
  const ends = await Promise.all(clients.map(({ ended }) => ended));
  clearTimeout(reaper);
  if (ends.some(({ status }) => status === 0)) throw new Error('a client ended by itself');
  await place.afterKill(promises);
}

const given = options();
const binary = buildClient();
const pick = random(given.seed);
console.log(`kill9: seed ${given.seed}, ${given.rounds} rounds`);
const place =
  given.dir === undefined
    ? new Mounted(given.image, given.size, given.options)
    : new Plain(given.dir, given.plant);
const promises = Array.from({ length: CLIENT_COUNT }, () => new Promises());
let inFlight = 0;
let number = 1;
try {
  for (; number <= given.rounds; number++) {
    await round(number, given, binary, place, promises, pick);
    inFlight += promises.filter(({ trying }) => trying !== undefined).length;
    if (number % 20 === 0)
      console.log(
        `kill9: round ${number}, ${promises.reduce((sum, one) => sum + one.acknowledged, 0)} acknowledged`,
      );
  }
  place.begin();
  checkAll(binary, place.dir, promises);
  place.finish(given.image !== undefined);
} catch (error) {
  if (!(error instanceof Lost)) throw error;
  console.log(`kill9: LOST in round ${number} of seed ${given.seed}: ${error.message}`);
  console.log(place.abandon());
  process.exit(1);
}
const acknowledged = promises.reduce((sum, one) => sum + one.acknowledged, 0);
console.log(
  `kill9: seed ${given.seed}: ${given.rounds} rounds, ${acknowledged} acknowledged, ${inFlight} in flight at a kill, nothing lost`,
);
