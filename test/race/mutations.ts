/**
 * Mistakes of one line in the engine, and the scenario that catches each. `from` is text of the compiled
 * file that occurs there; `nth` says which occurrence, from 0.
 */
export interface Mutation {
  file: string;
  from: string;
  to: string;
  nth?: number;
  caughtBy: string;
}

const m = (file: string, from: string, to: string, caughtBy: string, nth = 0): Mutation => {
  return { file, from, to, nth, caughtBy };
};

export const MUTATIONS: readonly Mutation[] = [
  m('fault', "yield* file.zap(window, ['zero'], false);", '', 'hole-fault-race'),
  m('fault', 'file.entries.markDirty(page);', '', 'fault-no-completion'),
  m('fault', "this.view.mark(window, isZero ? 'zero' : 'region', isHuge);", '', 'hole-fault-race'),
  m('fault', "view.mark(window, 'region', isHuge);", '', 'punch-fault'),
  m('fault', 'if (!mapping.isSync || parts.metadata.isSettled(inode))', 'if (true)', 'map-sync'),
  m('fault', 'if (mayBeOwn && (yield* this.isStale()))', 'if (false)', 'pmd-after-punch'),
  m(
    'fault',
    'mayBeHuge && !mayBeOwn && !this.hasPagesAround()',
    'mayBeHuge',
    'hole-fault-race-pmd',
  ),
  m('fault', "return isHuge ? 'again-smaller' : busErrorOf(error);", ';', 'zero-error-ignored'),
  m('change', 'yield* file.zap(range,', 'void (range,', 'punch-fault'),
  m('writeback', 'file.takeDirtied();', '', 'mkclean-one-mapping'),
  m('writeback', '=> protect(parts, file, entries)', '=> []', 'mkclean-one-mapping'),
  m('writeback', 'flush(parts, file, entries);', '', 'fault-no-completion'),
  m('writeback', 'file.locks.isHeld(page)', 'false', 'mkclean-one-mapping'),
  m('engine', 'if (file?.isQuiet === true)', 'if (file)', 'settled-sync-pages'),
  m('dax_file', '(!this.entries.hasDirty &&', '(true &&', 'settled-sync-pages'),
  m('gate', "(entrant.mode === 'shared' || this.sharedCount === 0)", 'true', 'punch-fault'),
  m('gate', 'return !this.exclusive &&', 'return ', 'punch-fault'),
  m('range_lock', 'if (isFree)', 'if (true)', 'hole-fault-race'),
  m('range_lock', 'this.grant();', '', 'hole-fault-race', 1),
  m('entries', 'if ((flags & TOWRITE) === 0)', 'if (false)', 'two-syncs'),
  m(
    'entries',
    'chunk.setPage(index, PAGE | DIRTY);',
    'chunk.setPage(index, PAGE);',
    'fault-no-completion',
  ),
  m(
    'lookup',
    "extent.state === WRITTEN ? 'written' : 'unwritten'",
    "'written'",
    'fault-no-completion',
  ),
  m(
    'view',
    'return this.doubted.get(filePage)?.has(thread) ?? false;',
    'return true;',
    'private-threads',
  ),
  m('fault', 'if (file.locks.isHeld(filePage))', 'if (false)', 'pmd-after-punch'),
  m('fault', "yield* file.gate.enter('shared');", 'file.gate.sharedCount++;', 'punch-fault'),
  m('fault', 'region.zeroFlushed(', 'void (', 'hole-fault-race'),
  m('entries', 'chunk.huge = PAGE | DIRTY;', 'chunk.huge = PAGE;', 'mkclean-one-mapping'),
  m(
    'view',
    'chunk.marks.fill(mark, first, end);',
    'chunk.marks.fill(mark, first, first + 1);',
    'read-first-pmd',
  ),
  m('dax_file', 'yield* allReady(zapped.map(({ gone }) => gone));', '', 'punch-fault'),
];

/** For docs/race: which mistake is caught where. */
export function mutationTable(): string {
  const rows = MUTATIONS.map(({ file, from, to, caughtBy }) => {
    const cells = [`${file}.ts`, code(from), to === '' ? 'nothing' : code(to), code(caughtBy)];
    return `| ${cells.join(' | ')} |`;
  });
  return ['| file | line | made | caught by |', '|---|---|---|---|', ...rows].join('\n');
}

function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``;
}
