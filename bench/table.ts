/** The table that the benchmark prints: one line a row, and the facts of the host above it. */

import type { Host, Placement } from './host.js';
import type { Memory } from './image_rows.js';
import type { Side } from './rate_rows.js';

/** One finished, failed or left out row, as printed and as written with --json. */
export interface Line {
  name: string;
  what: string;
  unit: string;
  target: string;
  subject?: Side;
  peer?: Side;
  ratio?: number;
  pairedRatio?: number;
  loadMax?: number;
  memory?: Memory;
  /** Printed below the table. */
  details?: string;
  /** Undefined where the row only informs. */
  met?: boolean;
  /** Why nothing was measured. */
  failure?: string;
}

const headings = [
  'row',
  'unit',
  'subject',
  'min-median-max',
  'peer',
  'min-median-max',
  'ratio',
  'paired',
  'target',
  'met',
  'p50 µs',
  'CPU µs/op',
];

/** Three significant figures, thousands shortened to k: 48.9k, 1270, 0.32. */
function figure(value: number): string {
  if (value >= 10_000) return `${(value / 1000).toFixed(value >= 100_000 ? 0 : 1)}k`;
  if (value >= 100) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 2);
}

function spread(side: Side | undefined): string {
  if (side === undefined) return '';
  if (side.runs.length === 1) return figure(side.median);
  return [side.min, side.median, side.max].map(figure).join(' - ');
}

function two(pick: (side: Side) => number | undefined, line: Line): string {
  const values = [line.subject, line.peer].map((side) => side && pick(side));
  if (values.every((value) => value === undefined)) return '';
  return values.map((value) => (value === undefined ? '-' : value.toFixed(1))).join(' / ');
}

function cellsOf(line: Line): string[] {
  if (line.failure !== undefined) return [line.name, line.unit, `not measured: ${line.failure}`];
  return [
    line.name,
    line.unit,
    line.subject?.system ?? '',
    spread(line.subject),
    line.peer?.system ?? '',
    spread(line.peer),
    line.ratio?.toFixed(3) ?? '',
    line.pairedRatio?.toFixed(3) ?? '',
    line.target,
    line.met === undefined ? '-' : line.met ? 'yes' : 'NO',
    two((side) => side.p50Us, line),
    two((side) => side.daemonCpuUs, line),
  ];
}

/** Lays the lines out in columns as wide as their widest cell. */
export function formatTable(lines: readonly Line[]): string {
  const cells = lines.map(cellsOf);
  const widths = headings.map((heading, column) =>
    Math.max(
      heading.length,
      // A reason runs to the end of its line and makes no column wider.
      ...cells.map((row) => (row.length === headings.length ? (row[column]?.length ?? 0) : 0)),
      column === 0 ? Math.max(...cells.map((row) => row[0]?.length ?? 0)) : 0,
    ),
  );
  const layOut = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  const text = [layOut(headings), layOut(widths.map((width) => '-'.repeat(width)))];
  for (const row of cells) text.push(layOut(row));
  for (const { name, memory, details } of lines) {
    if (details) text.push('', `${name}: ${details.trimEnd()}`);
    if (!memory) continue;
    const parts = Object.entries(memory).map(([part, mib]) => `${part} ${mib.toFixed(1)}`);
    text.push('', `${name}, MiB: ${parts.join(', ')}`);
  }
  return text.join('\n');
}

/** The header: what a reader needs to know before comparing these figures with others. */
export function formatHost(host: Host, rounds: number, placement: Placement): string {
  return [
    `kernel ${host.kernel}, ${host.cpuCount} CPUs (${host.cpuModel}), ${host.memoryMib} MiB,` +
      ` load ${host.load.map((load) => load.toFixed(2)).join(' ')}`,
    `node ${host.node}, libfuse ${host.libfuse}, scratch on ${host.scratchType}`,
    `medians of ${rounds} interleaved runs after a warm-up; placement ${placement}` +
      ' (see bench/README.md)',
  ].join('\n');
}
