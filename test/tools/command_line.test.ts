import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t from 'tap';

const MAIN = resolve('dist/tools/fauxdax.js');
const HELPER = resolve('dist/tools/mount_helper.js');
const COMMANDS = [
  ...['mkfs', 'mount', 'umount', 'info', 'map', 'fsck', 'crash', 'fault', 'demo'],
  ...['test', 'record', 'explore', 'replay', 'merge', 'mark', 'trace', 'lint', 'run', 'race'],
];
const base = mkdtempSync(join(tmpdir(), 'fauxdax-test-'));
t.teardown(() => rmSync(base, { recursive: true, force: true }));

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

function node(script: string, args: string[]): Ended {
  return spawnSync(process.execPath, [script, ...args], {
    encoding: 'utf8',
    cwd: base,
    timeout: 30_000, // so that a command that hangs fails by its status, not with the whole file
  });
}

const fauxdax = (...args: string[]): Ended => node(MAIN, args);

t.test('each command has a help text with an example, and it is no error', async (t) => {
  const all: string[][] = [
    [],
    ...COMMANDS.map((name) => [name]),
    ...['add', 'list', 'clear'].map((action) => ['fault', '/mnt', action]),
  ];
  for (const command of all) {
    const { status, stdout, stderr } = fauxdax(...command, '--help');
    t.equal(status, 0, `${command.join(' ')} --help`);
    t.match(stdout, /^Usage: fauxdax/);
    t.match(stdout, /Examples?:\n {2}fauxdax /);
    t.equal(stderr, '');
  }
  const { stdout } = fauxdax('--help');
  for (const name of COMMANDS) t.match(stdout, new RegExp(`^ {2}${name} `, 'm'), name);
  t.match(fauxdax('help', 'mkfs'), { status: 0, stdout: /^Usage: fauxdax mkfs/ });
  t.match(fauxdax('fault', '/mnt', 'add', '--help').stdout, 'Usage: fauxdax fault <DIR> add');
});

t.test('an argument that is not UTF-8 is refused, not changed', async (t) => {
  const sh = (args: string) => spawnSync('sh', ['-c', `"$0" "$1" ${args}`, process.execPath, MAIN]);
  const refused = sh(`map /nowhere "$(printf 'a\\377b')"`);
  t.equal(refused.status, 2);
  t.match(String(refused.stderr), /^fauxdax: argument 3 is not UTF-8: .*\n$/);
  const ordinary = sh(`map "$(printf '/nowhere/\\357\\277\\275')"`);
  t.equal(ordinary.status, 1);
  t.match(String(ordinary.stderr), /no such file/, 'the character that stands for one is one');
});

t.test('the version is that of the package', async (t) => {
  t.match(fauxdax('--version'), { status: 0, stdout: /^\d+\.\d+\.\d+\n$/ });
});

t.test('a usage error names the word and exits with 2', async (t) => {
  const table: [string[], RegExp][] = [
    [[], /Usage/],
    [['mkfss', 'x'], /unknown command 'mkfss'/],
    [['--bogus'], /unknown option '--bogus'/],
    [['mkfs', 'x', '--size', '1G', '--bogus'], /unknown option '--bogus'/],
    [['mkfs', '--size', '1G'], /missing required argument 'IMAGE'/],
    [['mkfs', 'x'], /required option '--size <SIZE>'/],
    [['mkfs', 'x', '--size', '1X'], /'1X' is not a size/],
    [['mkfs', 'x', '--size', '0'], /--size 0: an image has 64 KiB to /],
    [['mkfs', 'x', '--size', '100000'], /--size 100000: not a multiple of the page size/],
    [['mkfs', 'x', '--size', '1M', '--uuid', 'x'], /--uuid x: not a UUID/],
    [['mkfs', 'x', 'y', '--size', '1M'], /too many arguments/],
    [['mount', 'x', 'y', '-o', 'bogus'], /-o bogus: unknown mount option/],
    [['mount', 'x', 'y', '-o', 'ro,rw'], /-o rw contradicts -o ro/],
    [['mount', 'x', 'y', '-o', 'ro', '-o', 'rw'], /-o rw contradicts -o ro/],
    [['mount', 'x', 'y', '-o', 'bug=none'], /bug=none/],
    [['mount', 'x', 'y', '--transport', 'pigeon'], /pigeon/],
    [
      ['mount', 'x', 'y', '--transport', 'fuse-native', '-o', 'transport=kernel'],
      /transport=fuse-native contradicts -o transport=kernel/,
    ],
    [['test', '--check', 'true'], /required option '--workload <CMD>'/],
    [['test', '--workload', 'true'], /required option '--check <CMD>'/],
    [['test', '--workload', 'true', '--check', 'true', '--model', 'ext4'], /--model ext4/],
    [['test', '--workload', 'true', '--check', 'true', '-o', '/no/x'], /-o \/no\/x: \/no is not/],
    [['record', '--workload', 'true'], /required option '-o, --output <TRACE>'/],
    [['record', '-o', '/', '--workload', 'true'], /-o \/: not a file/],
    [['explore', '--check', 'true'], /missing required argument 'TRACE'/],
    [['explore', 'x', '--check', 'true', '--shard', '3/2'], /--shard 3\/2/],
    [['replay'], /missing required argument 'ID'/],
    [['replay', 'x', '--shell', '--export', 'y'], /--export contradicts --shell/],
    [['replay', 'no-such-id', '--keep', '/nowhere'], /no failure no-such-id in \/nowhere/],
    [['merge'], /missing required argument 'FILE'/],
    [['merge', '/nonexistent/part1.json'], /part1.json: open: no such file/],
    [['mark', 'a\nb'], /mark: the text is more than one line/],
    [['crash', '/', '--keep', 'some'], /--keep some: expected none, all or seed:N/],
    [['crash', '/', '--at', 'write'], /--at write: expected OP:GLOB:N/],
    [['run', '/', 'ls', '-l'], /^fauxdax: run: unknown option '-l': see fauxdax run --help\n$/],
    [['run', '/'], /^fauxdax: run: missing required argument 'CMD': see fauxdax run --help\n$/],
    [['fault'], /Usage/],
    [['fault', '/'], /expected add, list or clear after \//],
    [['fault', '/', 'remove'], /not 'remove'/],
    [['fault', '/', 'add'], /required option '--do <FAULT>'/],
    [['fault', '/', 'add', '--do', 'fall'], /--do fall/],
    [['fault', '/', 'add', '--do', 'eio', '--op', 'fly'], /--op fly: expected one of any, /],
    [['fault', '/', 'add', '--do', 'eio', '--nth', '0'], /--nth 0/],
    [['fault', '/', 'add', '--do', 'eio', '--nth', '1', '--every', '1'], /contradict/],
    [['fault', '/', 'clear', 'x'], /ID x: expected a whole number/],
  ];
  for (const [args, message] of table) {
    t.match(fauxdax(...args), { status: 2, stdout: '', stderr: message }, args.join(' '));
  }
});

t.test('a failure is one line that begins with the name, and exits with 1', async (t) => {
  const missing = join(base, 'missing');
  const table: string[][] = [
    ['mount', missing, base],
    ['umount', base],
    ['umount', missing],
    ['info', base],
    ['info', missing],
    ['map', missing],
    ['map', base],
    ['map', '/proc/self/mountinfo'],
    ['crash', base],
    ['fault', base, 'list'],
    ['fault', base, 'add', '--do', 'eio'],
    ['fault', base, 'clear'],
    ['mkfs', '/proc/image', '--size', '1M'],
  ];
  for (const args of table) {
    const { status, stdout, stderr } = fauxdax(...args);
    t.equal(status, 1, args.join(' '));
    t.equal(stdout, '');
    t.match(stderr, /^fauxdax: [^\n]+\n$/, stderr);
    t.notMatch(stderr, /bug/);
  }
});

t.test('output that cannot be written is a failure of one line', async (t) => {
  const { status, stderr } = spawnSync(
    'sh',
    ['-c', `"$0" "$1" --help >/dev/full`, ...[process.execPath, MAIN]],
    { encoding: 'utf8' },
  );
  t.equal(status, 1);
  t.match(stderr, /^fauxdax: [^\n]*no space left on device[^\n]*\n$/);
});

t.test('fsck of what is no image exits with 8', async (t) => {
  t.match(fauxdax('fsck', base), { status: 8, stdout: '', stderr: /^fauxdax: [^\n]+\n$/ });
});

t.test('the helper of mount(8) ends with the exit statuses of mount(8)', async (t) => {
  t.match(node(HELPER, ['x']), { status: 1, stderr: /usage/ });
  t.match(node(HELPER, ['x', base, '-o', 'bogus']), { status: 1, stderr: /bogus/ });
  t.match(node(HELPER, [join(base, 'missing'), base, '-o', 'rw,nosuid']), { status: 32 });
  t.match(node(HELPER, [join(base, 'missing'), base, '-f']), { status: 0 });
});
