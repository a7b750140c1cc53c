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
}

const NAMES: Readonly<Record<string, keyof BugSwitches>> = {
  'convert-before-zero': 'convertBeforeZero',
  'no-completion-conversion': 'noCompletionConversion',
  'reuse-before-commit': 'reuseBeforeCommit',
  'commit-before-data': 'commitBeforeData',
};

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
