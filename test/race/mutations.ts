/**
 * Mistakes of one line in the engine, and in the lab's msync of the fault server: the scenario that
 * catches each, and those that none can tell, with
 * the reason. Both are kept here as text of the compiled file (in lib) that occurs there; the last
 * element says which occurrence, from 0.
 */
export interface Mutation {
  file: string;
  from: string;
  to: string;
  nth: number;
}

type Row = readonly [from: string, to: string, tells: string, nth?: number];
type Rows = Readonly<Record<string, readonly Row[]>>;

const INSTALL_WAIT = 'if (!shown.isReady)\n            yield shown;';
const PROTECT_THEN_FLUSH = `=> protect(parts, file, entries));
        for (const protection of protections)
            if (!protection.isReady)
                yield protection;
        yield { point: 'dax/writeback writeBack: flush' };
        for (const entries of dirty)
            flush(parts, file, entries);`;
const FLUSH_THEN_PROTECT = `=> (flush(parts, file, entries), []));
        yield { point: 'dax/writeback writeBack: flush' };
        for (const entries of dirty)
            protect(parts, file, entries);`;

/** Each with the scenario that catches it. */
const CAUGHT: Rows = {
  'dax/fault': [
    ["yield* file.zap(window, ['zero'], false);", '', 'hole-fault-race'],
    ['file.entries.markDirty(page);', '', 'fault-no-completion'],
    ["this.install(window, isZero ? 'zero' : 'region', isHuge);", '', 'hole-fault-race'],
    ["this.install(window, 'region', isHuge);", '', 'punch-fault'],
    ['if (!mapping.isSync || parts.metadata.isSettled(inode))', 'if (true)', 'map-sync'],
    ['if (mayBeOwn && (yield* this.isStale()))', 'if (false)', 'pmd-after-punch'],
    ['mayBeHuge && !mayBeOwn && !this.hasPagesAround()', 'mayBeHuge', 'hole-fault-race-pmd'],
    [
      "return window.pageCount > 1 ? 'again-smaller' : busErrorOf(error);",
      ';',
      'zero-error-ignored',
    ],
    ['if (file.locks.isHeld(filePage))', 'if (false)', 'pmd-after-punch'],
    ["yield* file.gate.enter('shared');", 'file.gate.sharedCount++;', 'punch-fault'],
    ['region.zeroFlushed(', 'void (', 'hole-fault-race'],
    ['pageCount: extent.pageCount };', 'pageCount: 1 };', 'stores-in-order'],
    ['extent.pageCount * PAGE_BYTES', 'PAGE_BYTES', 'stores-in-order'],
    ['this.view.shownAt(this.filePage) !== shownBefore', 'false', 'pte-under-pmd'],
    ['wish.isHuge && this.hasPagesAround()', 'false', 'pte-under-pmd'],
    ['filePage >= pagesFor(inode.sizeBytes)', 'false', 'huge-end'],
    ["this.view.mark({ filePage: this.filePage, pageCount: 1 }, 'bus');", '', 'huge-end'],
    ['this.isStore = isWrite && mapping.isShared', 'this.isStore = isWrite', 'bail-and-retry'],
    [INSTALL_WAIT, '', 'pte-under-pmd'],
    [INSTALL_WAIT, '', 'settled-sync', 2],
  ],
  'dax/change': [
    ['yield* file.zap(range,', 'void (range,', 'punch-fault'],
    ["dropOwn ? ['zero', 'region', 'bus', 'own'] : SHOWN", 'SHOWN', 'fork-truncate'],
    ['keepDirt(parts, file, dirty);', '', 'collapse-sync'],
    ['flushMoved(parts, list, moved);', '', 'collapse-sync'],
    ["file.entries.insert({ ...now, isHuge: false }, 'page');", '', 'collapse-fails'],
    ['yield* dropOwnFrom(file, end);', ';', 'private-collapse'],
    ['file.takeDirtied();', '', 'collapse-caught'],
    ['yield* showGrowth(file, endBefore);', ';', 'write-growth'],
  ],
  'dax/writeback': [
    ['file.takeDirtied();', '', 'mkclean-one-mapping'],
    ['=> protect(parts, file, entries)', '=> []', 'mkclean-one-mapping'],
    ['flush(parts, file, entries);', '', 'fault-no-completion'],
    ['file.locks.isHeld(page)', 'false', 'mkclean-one-mapping'],
    [PROTECT_THEN_FLUSH, FLUSH_THEN_PROTECT, 'mkclean-one-mapping'],
  ],
  'race/program': [
    ['mmu.protectAll(file.ino, noted);', '', 'settled-sync'],
    [
      'region.flush(extent.regionPage * PAGE_BYTES, extent.pageCount * PAGE_BYTES);',
      '',
      'settled-sync',
    ],
    ['region.fence();', '', 'settled-sync'],
  ],
  'dax/engine': [
    ['if (file?.isQuiet === true)', 'if (file)', 'settled-sync-pages'],
    ["view.mark(mapping, 'own');", ';', 'fork-private'],
  ],
  'dax/gate': [
    ["(entrant.mode === 'shared' || this.sharedCount === 0)", 'true', 'punch-fault'],
    ['return !this.exclusive &&', 'return ', 'punch-fault'],
  ],
  'dax/range_lock': [
    ['if (isFree)', 'if (true)', 'hole-fault-race'],
    ['this.grant();', '', 'hole-fault-race', 1],
  ],
  'dax/entries': [
    ['if ((flags & TOWRITE) === 0)', 'if (false)', 'two-syncs'],
    ['chunk.setPage(index, PAGE | DIRTY);', 'chunk.setPage(index, PAGE);', 'fault-no-completion'],
    ['chunk.huge = PAGE | DIRTY;', 'chunk.huge = PAGE;', 'mkclean-one-mapping'],
  ],
  'dax/lookup': [
    ["extent.state === WRITTEN ? 'written' : 'unwritten'", "'written'", 'fault-no-completion'],
    ['pagesFor(inode.sizeBytes)', 'Infinity', 'huge-end'],
    [' && isCongruent(question.view)', '', 'huge-unaligned'],
    ['regionOf(extent, around) % PAGES_PER_HUGE === 0', 'true', 'huge-unaligned'],
  ],
  'dax/view': [
    ['return this.doubted.get(filePage)?.has(thread) ?? false;', 'return true;', 'private-threads'],
    ['!isHuge && this.isHugeAt(filePage)', 'this.isHugeAt(filePage)', 'huge-end'],
    ['isHuge && this.hasPagesAround(filePage)', 'this.hasPagesAround(filePage)', 'read-first-pmd'],
    [
      'chunk.marks.fill(mark, first, end);',
      'chunk.marks.fill(mark, first, first + 1);',
      'read-first-pmd',
    ],
  ],
  'dax/dax_file': [
    ['(!this.entries.hasDirty &&', '(true &&', 'settled-sync-pages'],
    ['yield* allReady(zapped.map(({ gone }) => gone));', '', 'punch-fault'],
    ['!view.mapping.isShared && !dropOwn', 'false', 'private-punch'],
  ],
};

/** Each with the reason why no scenario tells it. */
const UNTOLD: Rows = {
  'dax/fault': [
    [
      'found.isHuge !== wish.isHuge || ',
      '',
      'who locked 2 MiB and finds a page may serve the page: it only holds more than it needs',
    ],
    [
      '!claim.contains(this.lockRange(found))',
      'false',
      'the entry changes between the look and the lock only where the lock is waited for behind one that waits itself: four threads, more than a space of a minute has',
    ],
    [
      'this.view.split(this.filePage);',
      ';',
      'pages of an entry of 2 MiB are missing only where a program threw them away (MADV_DONTNEED), which no script can',
    ],
    ['region.fence();', '', 'a commit that shows the extent fences first'],
    [
      'this.mayBeOwn(shownBefore) && !this.isDoubted()',
      'false',
      'two threads find a private page missing that is marked as shown: its program threw it away (MADV_DONTNEED), which no script can',
    ],
    [
      'file.entries.remove(chunk.filePage, chunk.filePage + chunk.pageCount);',
      '',
      'the insert that follows splits the entry: the pages around stay entered as zeroes, and 2 MiB are shown as pages for longer',
    ],
    [
      INSTALL_WAIT,
      '',
      'the install is under way protected, and commands of a process keep their order: the store faults once more and waits there',
      1,
    ],
  ],
  'dax/dax_file': [
    [
      "view.mark(bus, 'none');",
      ';',
      'a page marked as SIGBUS is served as one that is not shown: the next growth takes it away again for nothing',
    ],
  ],
  'dax/writeback': [
    [
      'parts.region.fence();',
      '',
      'who promises anything fences and commits after it; a flusher promises nothing',
    ],
  ],
  'dax/change': [
    [
      'file.entries.remove(range.filePage, range.filePage + range.pageCount);',
      '',
      'the next fault there replaces the entry; until then a flush may be made for nothing',
    ],
    [
      'parts.mmu.catchStores(file.ino, range, false, false);',
      '',
      'nothing is shown in the range, so nothing is caught; the next fault there says it anew',
    ],
  ],
};

const flat = (rows: Rows): (Mutation & { tells: string })[] => {
  return Object.entries(rows).flatMap(([file, list]) =>
    list.map(([from, to, tells, nth = 0]) => ({ file, from, to, nth, tells })),
  );
};

export const MUTATIONS = flat(CAUGHT).map(({ tells, ...row }) => ({ ...row, caughtBy: tells }));
export const UNTOLD_MUTATIONS = flat(UNTOLD);

/** A table for docs/race: which mistake is caught where, and which nowhere and why. */
export function mutationTable(): string {
  const caught = flat(CAUGHT).map((row) => rowText(row, code(row.tells)));
  const untold = flat(UNTOLD).map((row) => rowText(row, `nothing: ${row.tells}`));
  const head = ['| file | line | made | caught by |', '|---|---|---|---|'];
  return [...head, ...caught, ...untold].join('\n');
}

function rowText({ file, from, to }: Mutation, caughtBy: string): string {
  return `| ${[`${file}.ts`, code(from), to === '' ? 'nothing' : code(to), caughtBy].join(' | ')} |`;
}

function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|').replace(/\s+/g, ' ')}\``;
}
