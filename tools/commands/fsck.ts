/**
 * `fauxdax fsck`: checks an image that is not mounted. Exit status as fsck(8): 0 clean, 1 repaired,
 * 4 damage left, 8 could not run.
 */
import { Command } from 'commander';
import { checkImage, type Problem } from '../../lib/metadata/check.js';
import { loadNative } from '../../lib/native.js';
import { Failure } from '../failure.js';
import { canonical, mountOfImage } from '../mountinfo.js';
import { plural, printJson } from '../screen.js';

const CLEAN = 0;
const REPAIRED = 1;
const DAMAGE_LEFT = 4;
const COULD_NOT_RUN = 8;
/** Printed for a person; --json has all of them. */
const SHOWN_MAX = 200;

interface Options {
  repair?: true;
  json?: true;
}

export function fsckCommand(): Command {
  return new Command('fsck')
    .description('check an image, and repair it when asked')
    .argument('<IMAGE>', 'image directory, not mounted')
    .option('--repair', 'repair what can be repaired, without questions')
    .option('--json', 'print {"status","problems":[{"kind","where","text","repaired"}]}')
    .addHelpText(
      'after',
      `
Exit status: 0 clean, 1 repaired, 4 damage left, 8 could not run.

Example:
  fauxdax fsck /var/tmp/image --repair`,
    )
    .action(fsck);
}

function fsck(image: string, options: Options): void {
  const problems = check(image, options.repair === true);
  const left = problems.filter((problem) => !problem.repaired).length;
  const status = problems.length === 0 ? CLEAN : left === 0 ? REPAIRED : DAMAGE_LEFT;
  process.exitCode = status;
  if (options.json === true) {
    printJson({ status: STATUS_WORDS[status], problems });
    return;
  }
  for (const problem of problems.slice(0, SHOWN_MAX)) {
    process.stdout.write(`${problem.text}${problem.repaired ? ' (repaired)' : ''}\n`);
  }
  if (problems.length > SHOWN_MAX) {
    process.stdout.write(`and ${plural(problems.length - SHOWN_MAX, 'more problem')} (--json)\n`);
  }
  process.stdout.write(`${image}: ${summary(problems.length, left, options.repair === true)}\n`);
}

const STATUS_WORDS = {
  [CLEAN]: 'clean',
  [REPAIRED]: 'repaired',
  [DAMAGE_LEFT]: 'damaged',
} as const;

function check(image: string, repair: boolean): Problem[] {
  const mounted = mountOfImage(image);
  if (mounted !== undefined) {
    const where = `fsck: ${image}: mounted on ${mounted.dir}`;
    throw new Failure(`${where}: umount it first`, COULD_NOT_RUN);
  }
  try {
    const { openRegion, lockFile } = loadNative();
    return checkImage(canonical(image), { repair, openRegion, lockFile });
  } catch (error) {
    throw new Failure(`fsck: ${(error as Error).message}`, COULD_NOT_RUN);
  }
}

function summary(found: number, left: number, repair: boolean): string {
  if (found === 0) return 'clean';
  const problems = plural(found, 'problem');
  if (!repair) return `${problems}: run fsck --repair`;
  return left === 0 ? `${problems}, all repaired` : `${problems}, ${left} left`;
}
