/**
 * The benchmark: fauxdax beside its peers on this machine, in one table. Started by `bench/run`,
 * which builds first; README.md tells what each row means.
 *
 * Exit status: 0 every row was measured, whether or not its target was met; 1 a row failed; 2
 * usage; 130 interrupted. Nothing stays mounted, running or on disk in any of these cases.
 */

import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { undoAll } from './children.js';
import { measureExplore } from './explore_rows.js';
import { describeHost, type Placement, placements } from './host.js';
import { measureImage } from './image_rows.js';
import { measurePersist } from './persist_row.js';
import { measureRate, type Plan } from './rate_rows.js';
import { type Row, rows } from './rows.js';
import { missing, type SystemName, systemNames } from './systems.js';
import { formatHost, formatTable, type Line } from './table.js';

const roundsUsual = 7;
const roundsMax = 101;

const help = `usage: bench/run [options]

  --only NAME[,NAME]   these rows only
  --rounds N           counted runs of each side (${roundsUsual}); figures to quote need 5 or more
  --placement P        same, split or free: CPUs of client and daemon (same)
  --scale F            multiplies operation counts, for a quick look (1)
  --subject SYSTEM     measure this system where a row says fauxdax
  --peer SYSTEM        compare with this system whatever the row says
  --json               print JSON instead of a table
  --list               print the rows

systems: ${systemNames.join(', ')}

example: bench/run --only read-4k,getattr --rounds 5`;

interface Wish {
  rows: Row[];
  rounds: number;
  scale: number;
  placement: Placement;
  json: boolean;
}

class UsageError extends Error {
  override name = 'UsageError';
}

function oneOf<Word extends string>(what: string, word: string, words: readonly Word[]): Word {
  const found = words.find((candidate) => candidate === word);
  if (found === undefined) throw new UsageError(`${what} ${word}: one of ${words.join(', ')}`);
  return found;
}

function numberOf(what: string, word: string, most: number): number {
  const value = Number(word);
  if (!(value > 0 && value <= most)) throw new UsageError(`${what} ${word}: above 0, to ${most}`);
  return value;
}

function readWish(words: readonly string[]): Wish | undefined {
  const { values } = parseArgs({
    args: [...words],
    options: {
      only: { type: 'string' },
      rounds: { type: 'string', default: String(roundsUsual) },
      placement: { type: 'string', default: 'same' },
      scale: { type: 'string', default: '1' },
      subject: { type: 'string' },
      peer: { type: 'string' },
      json: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help || values.list) {
    const width = Math.max(...rows.map((row) => row.name.length));
    const list = rows.map((row) => `${row.name.padEnd(width)}  ${row.what}`).join('\n');
    console.log(values.help ? help : list);
    return undefined;
  }
  const names = rows.map((row) => row.name);
  const wanted = values.only?.split(',').map((name) => oneOf('--only', name, names)) ?? names;
  const subject = values.subject && oneOf('--subject', values.subject, systemNames);
  const peer = values.peer && oneOf('--peer', values.peer, systemNames);
  const rounds = numberOf('--rounds', values.rounds, roundsMax);
  if (!Number.isInteger(rounds)) throw new UsageError('--rounds is a whole number');
  return {
    rows: rows
      .filter((row) => wanted.includes(row.name))
      .map((row) => replaceSystems(row, subject || undefined, peer || undefined)),
    rounds,
    scale: numberOf('--scale', values.scale, 100),
    placement: oneOf('--placement', values.placement, placements),
    json: values.json,
  };
}

function replaceSystems(row: Row, subject?: SystemName, peer?: SystemName): Row {
  if (row.kind !== 'rate') return row;
  return { ...row, subject: subject ?? row.subject, peer: peer ?? row.peer };
}

function targetOf(row: Row): string {
  if (row.kind === 'image') return `<= ${row.atMost} ${row.unit}`;
  if (row.kind === 'explore') {
    if (row.bound === undefined) return '-';
    const [sign, figure] =
      'atLeast' in row.bound ? ['>=', row.bound.atLeast] : ['<=', row.bound.atMost];
    return `${sign} ${figure} ${row.unit}`;
  }
  return row.atLeast === undefined ? '-' : `>= ${row.atLeast}`;
}

async function measure(row: Row, plan: Plan): Promise<Line> {
  const line: Line = {
    name: row.name,
    what: row.what,
    unit: row.unit,
    target: targetOf(row),
  };
  if (row.kind === 'image') {
    const result = await measureImage(row, plan);
    return { ...line, ...result, met: result.subject.median <= row.atMost };
  }
  if (row.kind === 'explore') {
    const result = await measureExplore(row, plan);
    if (row.bound === undefined) return { ...line, ...result };
    const { median } = result.subject;
    const met = 'atLeast' in row.bound ? median >= row.bound.atLeast : median <= row.bound.atMost;
    return { ...line, ...result, met };
  }
  const result = await (row.kind === 'persist' ? measurePersist(plan) : measureRate(row, plan));
  if (row.atLeast === undefined) return { ...line, ...result };
  return { ...line, ...result, met: result.ratio >= row.atLeast };
}

/** Measures a row; what goes wrong becomes the row's line, so that the others still run. */
async function measureOrSayWhy(row: Row, plan: Plan): Promise<Line> {
  const systems =
    row.kind === 'rate' ? [row.subject, row.peer] : row.kind === 'image' ? [row.subject] : [];
  try {
    for (const system of systems) {
      const reason = missing(system);
      if (reason !== undefined) throw new Error(reason);
    }
    return await measure(row, plan);
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    return { name: row.name, what: row.what, unit: row.unit, target: targetOf(row), failure };
  } finally {
    undoRow(plan.workDirectory);
  }
}

/** What a failed row left behind goes before the next row starts, or its load is measured too. */
function undoRow(workDirectory: string): void {
  undoAll();
  rmSync(workDirectory, { recursive: true, force: true });
}

async function main(): Promise<number> {
  const wish = readWish(process.argv.slice(2));
  if (wish === undefined) return 0;
  const scratch = mkdtempSync(join(realpathSync(tmpdir()), 'fauxdax-bench-'));
  const removeScratch = (): void => rmSync(scratch, { recursive: true, force: true });
  process.on('exit', removeScratch);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      undoAll();
      process.exit(130);
    });
  }
  const showProgress = process.stderr.isTTY;
  const host = describeHost(scratch);
  const lines: Line[] = [];
  for (const [index, row] of wish.rows.entries()) {
    const workDirectory = join(scratch, String(index));
    mkdirSync(workDirectory);
    const plan: Plan = {
      rounds: wish.rounds,
      scale: wish.scale,
      placement: wish.placement,
      workDirectory,
      progress(text) {
        if (showProgress) process.stderr.write(`\r\x1b[K${text}`);
      },
    };
    lines.push(await measureOrSayWhy(row, plan));
  }
  if (showProgress) process.stderr.write('\r\x1b[K');
  if (wish.json) {
    const { rounds, placement, scale } = wish;
    console.log(JSON.stringify({ host, rounds, placement, scale, rows: lines }, null, 2));
  } else {
    console.log(`${formatHost(host, wish.rounds, wish.placement)}\n\n${formatTable(lines)}`);
  }
  return lines.some((line) => line.failure !== undefined) ? 1 : 0;
}

function isUsage(error: unknown): error is Error {
  if (error instanceof UsageError) return true;
  return (
    error instanceof TypeError && String((error as { code?: string }).code).startsWith('ERR_PARSE')
  );
}

try {
  process.exitCode = await main();
} catch (error) {
  undoAll();
  if (!isUsage(error)) throw error;
  console.error(`bench/run: ${error.message}\n\n${help}`);
  process.exitCode = 2;
}
