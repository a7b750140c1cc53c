import { join } from 'node:path';
import tap from 'tap';
import { makeDir, needs, needsMount, parseCheck, runOn, stateAfter } from './states.js';

const SLOW = { timeout: 60_000 };
const node = process.execPath;
const root = join(import.meta.dirname, '..', '..');
/** A script of Node that finds the packages of this clone; the state is at process.env.D. */
const inClone = (text: string): string =>
  `export D=$PWD; (cd ${root}; ${node} -e '${text.replaceAll('\n', ' ')}')`;

/** Overwrites bytes in the middle of a file. */
const damage = (file: string, at: number, count: number): string =>
  `head -c ${count} /dev/urandom | dd of=${file} bs=1 seek=${at} conv=notrunc status=none`;

const SQLITE = `
  const db = require("better-sqlite3")(process.env.D + "/data.db");
  db.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX i ON t (v)");
  const insert = db.prepare("INSERT INTO t (v) VALUES (?)");
  for (let n = 0; n < 500; n += 1) insert.run("value " + n);
`;
const LEVEL = `
  const { ClassicLevel } = require("classic-level");
  const db = new ClassicLevel(process.env.D + "/level");
  (async () => {
    for (let n = 0; n < 2000; n += 1) await db.put("key" + n, "value".repeat(40));
    await db.compactRange("key0", "key9999");
    await db.close();
  })();
`;
const GIT = `
  export HOME=$PWD GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
  git init -q repo && cd repo && seq 100 > file && git add file && git commit -q -m first
`;
const LMDB =
  'mkdir lmdb && printf "VERSION=3\\nformat=print\\ntype=btree\\nHEADER=END\\n key\\n value\\nDATA=END\\n" | mdb_load lmdb';

interface Case {
  check: string;
  make: string;
  damaged: string;
  /** In what the check prints of the good state, and of the damaged one. */
  prints: RegExp;
  says: RegExp;
  options: object;
}

const CASES: Case[] = [
  {
    check: 'sqlite:data.db',
    make: inClone(SQLITE),
    damaged: damage('data.db', 4096, 300),
    prints: /^ok\nt: 500 rows\n$/,
    says: /malformed|cell|page|index/i,
    options: needsMount,
  },
  {
    check: 'sqlite:data.db',
    make: inClone(SQLITE),
    damaged: 'printf "no database at all, only words: forty bytes." > data.db',
    prints: /^ok\n/,
    says: /not a database/,
    options: needsMount,
  },
  {
    check: 'json:conf/a.json',
    make: `mkdir conf; echo '{ "a": [1, 2] }' > conf/a.json`,
    damaged: 'truncate -s 5 conf/a.json',
    prints: /^\{"a":\[1,2\]\}\n$/,
    says: /JSON/,
    options: needsMount,
  },
  {
    check: 'json:conf/a.json',
    make: 'mkdir conf; echo 1 > conf/a.json',
    damaged: 'truncate -s 0 conf/a.json',
    prints: /^1\n$/,
    says: /JSON/,
    options: needsMount,
  },
  {
    check: 'leveldb:level',
    make: inClone(LEVEL),
    damaged: 'for f in level/*.ldb; do truncate -s 100 $f; done',
    prints: /^ok\n2000 keys\n$/,
    says: /corrupt|LEVEL/i,
    options: needsMount,
  },
  {
    check: 'leveldb:level',
    make: inClone(LEVEL),
    damaged: 'rm level/CURRENT',
    prints: /^ok\n/,
    says: /LEVEL|CURRENT|exist/,
    options: needsMount,
  },
  {
    check: 'git:repo',
    make: GIT,
    damaged: 'for f in $(find repo/.git/objects -type f); do chmod +w $f; truncate -s 0 $f; done',
    prints: /^refs\/heads\/\w+ [0-9a-f]{40} first\n$/,
    says: /empty|corrupt|missing/,
    options: needs('git'),
  },
  {
    check: 'lmdb:lmdb',
    make: LMDB,
    damaged: 'dd if=/dev/urandom of=lmdb/data.mdb bs=4096 count=2 conv=notrunc status=none',
    prints: / key\n value\n/,
    says: /MDB_|Invalid/i,
    options: needs('mdb_load'),
  },
];

for (const { check, make, damaged, prints, says, options } of CASES) {
  tap.test(
    `${check} passes on good data, fails after: ${damaged}`,
    { ...options, ...SLOW },
    async (t) => {
      const good = await runOn(t, await stateAfter(t, make), check);
      t.match(good.outcomes, [{ exitStatus: 0, stdout: prints }], JSON.stringify(good.outcomes));
      const bad = await runOn(t, await stateAfter(t, `(${make}) && ${damaged}`), check);
      const [outcome] = bad.outcomes;
      t.not(outcome?.exitStatus, 0);
      t.match(`${outcome?.stdout}${outcome?.stderr}`, says);
    },
  );
}

const READY: [check: string, options: object][] = [
  ['sqlite:data.db', needsMount],
  ['json:a/b.json', needsMount],
  ['leveldb:level', needsMount],
  ['git:repo', needs('git')],
  ['lmdb:lmdb', needs('mdb_stat')],
];

for (const [check, options] of READY) {
  tap.test(`${check} passes where there is nothing yet`, { ...options, ...SLOW }, async (t) => {
    const { outcomes } = await runOn(t, await stateAfter(t, ':'), check);
    t.match(outcomes, [{ exitStatus: 0, stdout: 'missing\n' }]);
  });
}

tap.test(
  'sqlite recovers from the log of a database that was open',
  { ...needsMount, ...SLOW },
  async (t) => {
    const text = `
    const db = require("better-sqlite3")(process.env.D + "/data.db");
    db.pragma("journal_mode = wal");
    db.exec("CREATE TABLE t (v); INSERT INTO t VALUES (1), (2), (3)");
    process.kill(process.pid, "SIGKILL");
  `;
    const state = await stateAfter(t, `(${inClone(text)}); test -s data.db-wal`);
    const { outcomes } = await runOn(t, state, 'sqlite:data.db');
    t.match(outcomes, [{ exitStatus: 0, stdout: 'ok\nt: 3 rows\n' }]);
  },
);

tap.test('what a check is called decides what runs', (t) => {
  const dir = '/state/dir';
  const cases: [text: string, check: object][] = [
    ['true', { run: 'shell', command: 'true' }],
    ['./check a:b', { run: 'shell', command: './check a:b' }],
    ['A=x:y ./check', { run: 'shell', command: 'A=x:y ./check' }],
    ['curl http://localhost', { run: 'shell' }],
    [': nothing', { run: 'shell' }],
    ['json:a b.json', { run: 'checker', name: 'json', path: 'a b.json' }],
    [`json:${dir}/a/../b.json`, { run: 'checker', name: 'json', path: 'b.json' }],
    ['sqlite:./x.db', { run: 'checker', name: 'sqlite', path: 'x.db' }],
  ];
  for (const [text, check] of cases) t.match(parseCheck(text, dir), check, text);
  const wrong: [text: string, says: RegExp][] = [
    ['', /empty/],
    ['postgres:db', /no ready check "postgres"; there are sqlite, json, leveldb, lmdb, git/],
    ['sqlite:', /missing after the colon/],
    ['sqlite:../x.db', /not inside/],
    ['json:/etc/passwd', /not inside/],
  ];
  for (const [text, says] of wrong) {
    t.throws(() => parseCheck(text, dir), { name: 'UsageError', message: says }, text);
  }
  t.end();
});

tap.test(
  'a ready check that finds its path hostile takes no other state with it',
  { ...needsMount, ...SLOW },
  async (t) => {
    const dir = makeDir(t);
    const state = await stateAfter(t, 'mkfifo pipe; ln -s pipe data.db');
    const { outcomes } = await runOn(t, state, 'sqlite:data.db', { dir, timeoutMs: 1000 });
    t.not(outcomes[0]?.exitStatus, 0);
  },
);
