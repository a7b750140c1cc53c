/**
 * `fauxdax mount`: starts the daemon of an image and returns when the directory is usable. With
 * --foreground it stays until the daemon has gone, and ^C unmounts.
 */
import { Command, Option } from 'commander';
import { holderOf } from '../../fs/holder.js';
import { type Mount, mount as mountImage } from '../../fs/mount.js';
import { type MountOptions, parseMountOptions } from '../../fs/options.js';
import { EXIT_INTERRUPTED, Failure } from '../failure.js';
import { mountAt } from '../mountinfo.js';

interface Options {
  o: string[];
  foreground?: true;
  transport?: string;
}

export function mountCommand(): Command {
  return new Command('mount')
    .description('mount an image on a directory')
    .argument('<IMAGE>', 'image made by fauxdax mkfs')
    .argument('<DIR>', 'existing directory')
    .addOption(
      new Option('-o <OPT,...>', 'mount options, below; may be given several times')
        .argParser((value: string, earlier: string[]) => [...earlier, value])
        .default([], 'none'),
    )
    .option('-f, --foreground', 'stay, log to stderr, unmount on ^C')
    .addOption(
      new Option('--transport <NAME>', 'how to speak FUSE').choices(['kernel', 'fuse-native']),
    )
    .addHelpText(
      'after',
      `
Mount options:
  ro, rw                    read only, or not (default)
  allow_other               users other than you may enter
  dax=never|inode|always    which files fauxdax run maps directly (default inode: those opened
                            while it runs, and at any time those with chattr +x)
  crashable                 keep what is durable apart from what is merely stored, for crash
  canary                    fill freed pages with a pattern that names page and last owner
  commit=SECONDS            commit at least this often (default 5)
  durable=process|host      survive the death of the daemon (default), or of the host
  bug=NAME                  bring back a classic mistake: convert-before-zero,
                            no-completion-conversion, reuse-before-commit, commit-before-data;
                            with mappings hole-fault-race, fault-no-completion,
                            zero-error-ignored, pmd-pte-collision, punch-without-gate,
                            mkclean-one-mapping
  nosuid, nodev, noexec, noatime, relatime, sync, ...   as in mount(8)

Example:
  fauxdax mount /var/tmp/image /mnt -o crashable,commit=30`,
    )
    .action(mount);
}

async function mount(image: string, dir: string, options: Options): Promise<void> {
  const lists = [...options.o];
  if (options.transport !== undefined) lists.push(`transport=${options.transport}`);
  const parsed = parseMountOptions(lists);
  const there = mountAt(dir);
  if (there !== undefined && holderOf(there.source)?.isDying === true) {
    throw new Failure(`mount: ${dir}: the mount of a killed daemon is in the way: umount it first`);
  }
  if (options.foreground !== true) {
    await mountImage(image, dir, parsed);
    return;
  }
  await mountForeground(image, dir, parsed);
}

/**
 * ^C and SIGTERM go to the daemon, which unmounts, as soon as there is one; anybody else's umount
 * ends it as well.
 */
async function mountForeground(
  image: string,
  dir: string,
  options: Partial<MountOptions>,
): Promise<void> {
  let mounted: Mount | undefined;
  let early: NodeJS.Signals | undefined;
  const forward = (signal: NodeJS.Signals): void => {
    if (mounted === undefined) early ??= signal;
    else process.kill(mounted.pid, signal);
  };
  process.on('SIGINT', forward);
  process.on('SIGTERM', forward);
  try {
    mounted = await mountImage(image, dir, options, { foreground: true });
    if (early !== undefined) forward(early);
  } catch (error) {
    // From a terminal the signal reaches the daemon as well, which may be gone before we ask it.
    if (early !== undefined) throw new Failure('mount: interrupted', EXIT_INTERRUPTED);
    throw error;
  }
  const status = await mounted.exited;
  process.off('SIGINT', forward);
  process.off('SIGTERM', forward);
  if (status !== 0) throw new Failure(`mount: the daemon ended with status ${status}: see its log`);
}
