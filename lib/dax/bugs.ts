/**
 * The bug switches: classic mistakes of DAX filesystems, off by default, each re-created at the one
 * place where the right code does the right thing. They exist so that checkers can be shown to
 * catch them; a mount with one on is meant to lose or expose data after a crash.
 */

export interface BugSwitches {
  /** New extents are committed as written before their pages are filled: stale bytes show. */
  convertBeforeZero: boolean;
  /** Extents are never committed as written: data that was synced reads as zeroes. */
  noCompletionConversion: boolean;
  /** Freed pages are handed out before the commit that freed them: files share a page. */
  reuseBeforeCommit: boolean;
  /** Stores into new pages are flushed only after the commit that shows them. */
  commitBeforeData: boolean;
  /** A read fault shows the hole that it looked up before it locked the entry. */
  holeFaultRace: boolean;
  /** A store to an unwritten extent zeroes it and never converts it. */
  faultNoCompletion: boolean;
  /** An extent whose zeroing failed is converted all the same. */
  zeroErrorIgnored: boolean;
  /** A fault does not look again, after it locked its entry, what the page table has there. */
  pmdPteCollision: boolean;
  /** Pages are unmapped and freed without keeping faults out meanwhile. */
  punchWithoutGate: boolean;
  /** Sync write-protects a huge entry only in the mappings that have its first page. */
  mkcleanOneMapping: boolean;
}

const NAMES: Readonly<Record<string, keyof BugSwitches>> = {
  'convert-before-zero': 'convertBeforeZero',
  'no-completion-conversion': 'noCompletionConversion',
  'reuse-before-commit': 'reuseBeforeCommit',
  'commit-before-data': 'commitBeforeData',
  'hole-fault-race': 'holeFaultRace',
  'fault-no-completion': 'faultNoCompletion',
  'zero-error-ignored': 'zeroErrorIgnored',
  'pmd-pte-collision': 'pmdPteCollision',
  'punch-without-gate': 'punchWithoutGate',
  'mkclean-one-mapping': 'mkcleanOneMapping',
};

/** Mistakes that writes and commits show; the others need mappings. */
export const DATA_BUG_NAMES: readonly string[] = [
  'convert-before-zero',
  'no-completion-conversion',
  'reuse-before-commit',
  'commit-before-data',
];

/** The names as a person types them. */
export const BUG_NAMES: readonly string[] = Object.keys(NAMES);

/** The names of the switches that are on. */
export function namesOfBugs(bugs: BugSwitches): string[] {
  return Object.entries(NAMES).flatMap(([name, key]) => (bugs[key] ? [name] : []));
}

export const NO_BUGS: Readonly<BugSwitches> = Object.freeze(parseBugs([]));

/**
 * Switches named in kebab case, all others off.
 * @throws {RangeError} naming the unknown switch and the known ones
 */
export function parseBugs(names: readonly string[]): BugSwitches {
  const bugs: BugSwitches = {
    convertBeforeZero: false,
    noCompletionConversion: false,
    reuseBeforeCommit: false,
    commitBeforeData: false,
    holeFaultRace: false,
    faultNoCompletion: false,
    zeroErrorIgnored: false,
    pmdPteCollision: false,
    punchWithoutGate: false,
    mkcleanOneMapping: false,
  };
  for (const name of names) {
    const key = Object.hasOwn(NAMES, name) ? NAMES[name] : undefined;
    if (key === undefined) {
      throw new RangeError(`unknown bug switch '${name}': one of ${BUG_NAMES.join(', ')}`);
    }
    bugs[key] = true;
  }
  return bugs;
}
