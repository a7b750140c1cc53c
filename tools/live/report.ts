/** What a person reads of live rounds: one that found something in columns, and the table of verdicts. */
import { columnsText } from '../../lib/race/columns.js';
import { opText, type Scenario } from '../../lib/race/scenario.js';
import { describeKeep } from '../fault_text.js';
import type { Action, Seen } from './model.js';
import type { Event } from './oracle.js';
import type { Round } from './round.js';
import { valueText } from './values.js';

const NS_PER_MS = 1e6;

/** As the lab prints a schedule: a column for each thread, times in ms since they began. */
export function roundText(scenario: Scenario, { events, startNs }: Round): string {
  const count = scenario.threads.length;
  const columns = scenario.threads.map(({ name, process }) => ({ name, process }));
  const hasOthers = events.some(({ column }) => column === count);
  const steps = [...events]
    .sort((a, b) => a.beginNs - b.beginNs)
    .map(({ column, action, beginNs, endNs, seen }) => ({
      column,
      label: actionText(action),
      notes: [`${spanText({ beginNs, endNs }, startNs)}${seenText(seen)}`],
    }));
  const all = hasOthers ? [...columns, { name: 'Afterwards', process: 'all' }] : columns;
  return columnsText({ columns: all, steps, violation: undefined, cut: undefined });
}

function spanText({ beginNs, endNs }: Pick<Event, 'beginNs' | 'endNs'>, startNs: number): string {
  const at = (ns: number): string => ((ns - startNs) / NS_PER_MS).toFixed(2);
  return endNs - beginNs < 10 ? '' : `${at(beginNs)} to ${at(endNs)}: `;
}

function actionText(action: Action): string {
  switch (action.op) {
    case 'scan':
      return `all of ${action.map}, page ${action.page}`;
    case 'scanfile':
      return `read all of ${action.file}, page ${action.page}`;
    case 'times':
      return `mtime of ${action.file}`;
    case 'cut':
      return `power is cut, keep ${describeKeep(action.keep)}`;
    default:
      return opText(action);
  }
}

function seenText(seen: Seen): string {
  switch (seen.kind) {
    case 'done':
      return 'done';
    case 'value':
      return `sees ${valueText(seen.value)}`;
    case 'values':
      return `sees ${[...new Set(seen.values.map(valueText))].join(' and ')}`;
    case 'time':
      return `mtime ${seen.us} us`;
    case 'bus':
      return 'SIGBUS';
    case 'end':
      return 'end of file';
    case 'error':
      return seen.code;
  }
}

export function eventJson(event: Event, startNs: number): object {
  const { column, action, beginNs, endNs, seen } = event;
  return { column, action, beginNs: beginNs - startNs, endNs: endNs - startNs, seen };
}
