/**
 * What must be true of saved metadata, one rule a kind of problem, and how each is put right.
 * Rules read rows, never live objects. A repair may lay bare another problem (a name removed leaves
 * an inode without names), so the checker runs all rules again until none finds anything. The
 * rule of repairs: what nobody can reach is put into /lost+found, bytes are given to one file only,
 * and nothing is invented.
 */
import type Database from 'better-sqlite3';
import { FILE_BYTES_MAX, PAGE_BYTES } from '../units.js';
import {
  ROOT_INO,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from './inode.js';
import { COLLISIONS_MAX, firstCookie, type NameSeed, NameTable } from './name_table.js';
import { Transaction } from './transaction.js';

export interface Finding {
  kind: string;
  /** What of the image: `inode 7`, `name 'a' in directory 1`. */
  where: string;
  /** One sentence for a person, `where` not among it. */
  text: string;
  fix: () => void;
}

export interface RuleContext {
  db: Database.Database;
  pageCount: number;
  seed: NameSeed;
  /** Inodes without names are leftovers of the last crash, removed at the next mount. */
  allowOrphans: boolean;
}

type Rule = (context: RuleContext) => Iterable<Finding>;
type NameRow = { parent_ino: number; cookie: number; name: string; ino: number };
type ExtentRow = { ino: number; file_page: number; region_page: number; page_count: number };

const TYPES = [S_IFDIR, S_IFREG, S_IFLNK, S_IFIFO, S_IFCHR, S_IFBLK, S_IFSOCK];
const FILE_PAGES_MAX = FILE_BYTES_MAX / PAGE_BYTES;
const LOST_FOUND = 'lost+found';
const isType = (type: number, mode = 'mode') => `(${mode} & ${S_IFMT}) = ${type}`;

/** All rules; later ones may rely on what earlier ones demand. */
export const RULES: readonly Rule[] = [
  inodeNumbers,
  rootIsDirectory,
  inodeFields,
  extentRows,
  pagesOwnedOnce,
  xattrRows,
  nameRows,
  nameCookies,
  nameDuplicates,
  directoryNames,
  reachable,
  orphans,
  linkCounts,
];

function* inodeNumbers({ db }: RuleContext): Iterable<Finding> {
  const inos = db.prepare('SELECT ino FROM inode WHERE ino < 1').pluck().all() as number[];
  for (const ino of inos) {
    const fix = () => {
      const last = db.prepare('SELECT max(ino) FROM inode').pluck().get() as number;
      const next = Math.max(last, ROOT_INO) + 1;
      for (const table of ['inode', 'name', 'xattr', 'extent']) {
        db.prepare(`UPDATE ${table} SET ino = ? WHERE ino = ?`).run(next, ino);
      }
      db.prepare('UPDATE name SET parent_ino = ? WHERE parent_ino = ?').run(next, ino);
    };
    yield { kind: 'bad-ino', where: `inode ${ino}`, text: 'no inode has this number', fix };
  }
}

function* rootIsDirectory({ db }: RuleContext): Iterable<Finding> {
  const mode = db.prepare(`SELECT mode FROM inode WHERE ino = ${ROOT_INO}`).pluck().get();
  const where = `inode ${ROOT_INO}`;
  if (mode === undefined) {
    const fix = () => insertDirectory(db, ROOT_INO, ROOT_INO);
    yield { kind: 'no-root', where, text: 'the root directory is missing', fix };
  } else if (((mode as number) & S_IFMT) !== S_IFDIR) {
    const update = `UPDATE inode SET mode = ${S_IFDIR | 0o755}, target = NULL, size_bytes = 0`;
    const fix = () => db.prepare(`${update} WHERE ino = ${ROOT_INO}`).run();
    yield { kind: 'no-root', where, text: 'the root is not a directory', fix };
  }
}

function* inodeFields({ db }: RuleContext): Iterable<Finding> {
  const rules = [
    {
      kind: 'bad-type',
      text: 'its type is unknown or its target does not fit it',
      bad:
        `(mode & ${S_IFMT}) NOT IN (${TYPES.join(', ')}) ` +
        `OR (${isType(S_IFLNK)}) <> (target IS NOT NULL)`,
      set: `mode = ${S_IFREG} | (mode & 0x1FF), target = NULL, parent_ino = 0`,
    },
    {
      kind: 'bad-size',
      text: 'its size does not fit its type or range',
      bad:
        `size_bytes < 0 OR size_bytes > ${FILE_BYTES_MAX} ` +
        `OR (size_bytes > 0 AND NOT ${isType(S_IFREG)} AND target IS NULL)`,
      set:
        `size_bytes = CASE WHEN ${isType(S_IFREG)} THEN coalesce((SELECT ${PAGE_BYTES} * ` +
        'max(file_page + page_count) FROM extent WHERE extent.ino = inode.ino ' +
        // Extents are checked after this: one that is out of range gives no size.
        `AND file_page >= 0 AND page_count > 0 AND file_page + page_count <= ${FILE_PAGES_MAX}` +
        '), 0) ELSE 0 END',
    },
    {
      kind: 'bad-parent',
      text: 'it is no directory but has a parent directory',
      bad: `parent_ino <> 0 AND NOT ${isType(S_IFDIR)}`,
      set: 'parent_ino = 0',
    },
    {
      kind: 'bad-time',
      text: 'its times have nanoseconds out of range',
      bad: ['atime', 'mtime', 'ctime', 'btime']
        .map((time) => `${time}_nsec NOT BETWEEN 0 AND 999999999`)
        .join(' OR '),
      set: 'atime_nsec = 0, mtime_nsec = 0, ctime_nsec = 0, btime_nsec = 0',
    },
  ];
  for (const { kind, text, bad, set } of rules) {
    const inos = db.prepare(`SELECT ino FROM inode WHERE ${bad}`).pluck().all() as number[];
    for (const ino of inos) {
      const fix = () => db.prepare(`UPDATE inode SET ${set} WHERE ino = ?`).run(ino);
      yield { kind, where: `inode ${ino}`, text, fix };
    }
  }
}

function* extentRows({ db, pageCount }: RuleContext): Iterable<Finding> {
  const rows = db
    .prepare(
      `SELECT e.*, i.mode FROM extent e LEFT JOIN inode i USING (ino)
       WHERE i.ino IS NULL OR NOT ${isType(S_IFREG, 'i.mode')}
         OR page_count < 1 OR region_page < 1 OR region_page + page_count > ${pageCount}
         OR file_page < 0 OR file_page + page_count > ${FILE_PAGES_MAX}`,
    )
    .all() as (ExtentRow & { mode: number | null })[];
  for (const row of rows) {
    const isFile = row.mode !== null && (row.mode & S_IFMT) === S_IFREG;
    const kind = isFile ? 'bad-extent' : 'extent-without-file';
    const text = isFile ? 'it lies outside the region or the file' : 'no file owns it';
    yield { kind, where: extentName(row), text, fix: () => deleteExtent(db, row) };
  }
}

/** Sorted by region page, each extent must begin where the ones before it have ended. */
function* pagesOwnedOnce({ db }: RuleContext): Iterable<Finding> {
  const byFile = db.prepare('SELECT * FROM extent ORDER BY ino, file_page');
  const byRegion = db.prepare('SELECT * FROM extent ORDER BY region_page, ino, file_page');
  let before: ExtentRow | undefined;
  for (const row of byFile.all() as ExtentRow[]) {
    if (before?.ino === row.ino && before.file_page + before.page_count > row.file_page) {
      const fix = () => deleteExtent(db, row);
      yield { kind: 'file-overlap', where: extentName(row), text: 'it overlaps another', fix };
    } else {
      before = row;
    }
  }
  let owner: ExtentRow | undefined;
  for (const row of byRegion.all() as ExtentRow[]) {
    const ownerEnd = owner === undefined ? 0 : owner.region_page + owner.page_count;
    if (owner !== undefined && row.region_page < ownerEnd) {
      const text = `region page ${row.region_page} also belongs to ${extentName(owner)}`;
      const fix = () => deleteExtent(db, row);
      yield { kind: 'page-owned-twice', where: extentName(row), text, fix };
    } else {
      owner = row;
    }
  }
}

function* xattrRows({ db }: RuleContext): Iterable<Finding> {
  const select = 'SELECT DISTINCT ino FROM xattr WHERE ino NOT IN (SELECT ino FROM inode)';
  for (const ino of db.prepare(select).pluck().all() as number[]) {
    const fix = () => db.prepare('DELETE FROM xattr WHERE ino = ?').run(ino);
    const text = 'extended attributes of an inode that is not there';
    yield { kind: 'xattr-without-inode', where: `inode ${ino}`, text, fix };
  }
}

function* nameRows({ db }: RuleContext): Iterable<Finding> {
  const rules = [
    {
      kind: 'dangling-name',
      text: 'it points to an inode that is not there',
      bad: 'ino NOT IN (SELECT ino FROM inode)',
    },
    {
      kind: 'name-without-directory',
      text: 'its directory is not there or is none',
      bad: `parent_ino NOT IN (SELECT ino FROM inode WHERE ${isType(S_IFDIR)})`,
    },
    {
      kind: 'bad-name',
      text: 'no file may have this name',
      bad: `name IN ('', '.', '..') OR instr(name, '/') > 0 OR instr(name, char(0)) > 0`,
    },
    { kind: 'root-named', text: 'it names the root directory', bad: `ino = ${ROOT_INO}` },
  ];
  for (const { kind, text, bad } of rules) {
    const rows = db.prepare(`SELECT * FROM name WHERE ${bad}`).all() as NameRow[];
    for (const row of rows) {
      yield { kind, where: nameName(row), text, fix: () => deleteName(db, row) };
    }
  }
}

function* nameCookies({ db, seed }: RuleContext): Iterable<Finding> {
  for (const row of db.prepare('SELECT * FROM name').iterate() as Iterable<NameRow>) {
    const first = firstCookie(seed, row.name);
    if (row.cookie >= first && row.cookie < first + COLLISIONS_MAX) continue;
    const fix = () => {
      deleteName(db, row);
      addName(db, seed, row.parent_ino, row.name, row.ino);
    };
    const text = 'its position is not the hash of the name';
    yield { kind: 'bad-cookie', where: nameName(row), text, fix };
  }
}

function* nameDuplicates({ db }: RuleContext): Iterable<Finding> {
  const rows = db
    .prepare(
      `SELECT n.* FROM name n JOIN name m
         ON m.parent_ino = n.parent_ino AND m.name = n.name AND m.cookie < n.cookie
           AND m.cookie >= n.cookie - ${COLLISIONS_MAX}`,
    )
    .all() as NameRow[];
  for (const row of rows) {
    const text = 'the directory has this name twice';
    yield { kind: 'name-twice', where: nameName(row), text, fix: () => deleteName(db, row) };
  }
}

/** A directory has one name, in the directory it says is its parent. */
function* directoryNames({ db }: RuleContext): Iterable<Finding> {
  const select = db.prepare(
    `SELECT n.*, i.parent_ino AS said FROM name n JOIN inode i ON i.ino = n.ino
     WHERE ${isType(S_IFDIR, 'i.mode')} ORDER BY n.ino, n.parent_ino <> i.parent_ino, n.cookie`,
  );
  let lastIno = 0;
  for (const row of select.all() as (NameRow & { said: number })[]) {
    if (row.ino === lastIno) {
      const text = `directory ${row.ino} has another name`;
      yield {
        kind: 'directory-named-twice',
        where: nameName(row),
        text,
        fix: () => deleteName(db, row),
      };
    } else if (row.said !== row.parent_ino) {
      const text = `it says its parent is ${row.said}, its name is in ${row.parent_ino}`;
      const fix = () => setParent(db, row.ino, row.parent_ino);
      yield { kind: 'bad-parent', where: `inode ${row.ino}`, text, fix };
    }
    lastIno = row.ino;
  }
  const root = db.prepare(`SELECT parent_ino FROM inode WHERE ino = ${ROOT_INO}`).pluck().get();
  if (root !== undefined && root !== ROOT_INO) {
    const fix = () => setParent(db, ROOT_INO, ROOT_INO);
    const text = 'the root is not its own parent';
    yield { kind: 'bad-parent', where: `inode ${ROOT_INO}`, text, fix };
  }
}

/** From the root every inode with links can be reached; cycles of directories cannot. */
function* reachable({ db, seed }: RuleContext): Iterable<Finding> {
  const lost = db
    .prepare(
      `WITH RECURSIVE found (ino) AS (
         VALUES (${ROOT_INO}) UNION SELECT name.ino FROM name JOIN found ON parent_ino = found.ino)
       SELECT ino, mode, (SELECT count(*) FROM name WHERE name.ino = inode.ino) AS names
       FROM inode WHERE ino NOT IN found AND (nlink <> 0 OR names > 0) ORDER BY ino`,
    )
    .all() as { ino: number; mode: number; names: number }[];
  // What lies below a lost directory comes back with it; of a cycle, one member is enough.
  const tops = lost.filter(({ names }) => names === 0);
  const directory = lost.find(({ mode }) => (mode & S_IFMT) === S_IFDIR);
  const rescued = tops.length > 0 ? tops : directory === undefined ? lost : [directory];
  for (const { ino, mode } of rescued) {
    const fix = () => {
      const home = lostFound(db, seed);
      if ((mode & S_IFMT) === S_IFDIR) {
        db.prepare('DELETE FROM name WHERE ino = ?').run(ino);
        setParent(db, ino, home);
      }
      addName(db, seed, home, freeName(db, seed, home, `#${ino}`), ino);
    };
    const text = 'it cannot be reached from the root';
    yield { kind: 'unreachable', where: `inode ${ino}`, text, fix };
  }
}

function* orphans({ db, allowOrphans }: RuleContext): Iterable<Finding> {
  if (allowOrphans) return;
  const select = 'SELECT ino FROM inode WHERE nlink = 0 AND ino NOT IN (SELECT ino FROM name)';
  for (const ino of db.prepare(select).pluck().all() as number[]) {
    const fix = () => {
      for (const table of ['extent', 'xattr', 'inode']) {
        db.prepare(`DELETE FROM ${table} WHERE ino = ?`).run(ino);
      }
    };
    const text = 'it has no name and was not removed';
    yield { kind: 'orphan', where: `inode ${ino}`, text, fix };
  }
}

/** Directories: 2 and one for each directory in them; others: their names. */
function* linkCounts({ db }: RuleContext): Iterable<Finding> {
  const rows = db
    .prepare(
      `WITH names (ino, count) AS (SELECT ino, count(*) FROM name GROUP BY ino),
       subdirectories (ino, count) AS (
         SELECT n.parent_ino, count(*) FROM name n JOIN inode i ON i.ino = n.ino
         WHERE ${isType(S_IFDIR, 'i.mode')} GROUP BY n.parent_ino),
       expected (ino, nlink, wanted) AS (
         SELECT i.ino, i.nlink, CASE WHEN ${isType(S_IFDIR, 'i.mode')}
           THEN 2 + coalesce(s.count, 0) ELSE coalesce(n.count, 0) END
         FROM inode i LEFT JOIN names n ON n.ino = i.ino
         LEFT JOIN subdirectories s ON s.ino = i.ino
         WHERE i.ino = ${ROOT_INO} OR n.count IS NOT NULL)
       SELECT * FROM expected WHERE nlink <> wanted`,
    )
    .all() as { ino: number; nlink: number; wanted: number }[];
  for (const { ino, nlink, wanted } of rows) {
    const fix = () => db.prepare('UPDATE inode SET nlink = ? WHERE ino = ?').run(wanted, ino);
    const text = `its link count is ${nlink} and should be ${wanted}`;
    yield { kind: 'bad-link-count', where: `inode ${ino}`, text, fix };
  }
}

function extentName(row: ExtentRow): string {
  return `extent at page ${row.file_page} of inode ${row.ino}`;
}

function nameName(row: NameRow): string {
  return `name ${JSON.stringify(row.name)} in directory ${row.parent_ino}`;
}

function deleteExtent(db: Database.Database, row: ExtentRow): void {
  db.prepare('DELETE FROM extent WHERE ino = ? AND file_page = ?').run(row.ino, row.file_page);
}

function deleteName(db: Database.Database, row: NameRow): void {
  const { parent_ino, cookie } = row;
  db.prepare('DELETE FROM name WHERE parent_ino = ? AND cookie = ?').run(parent_ino, cookie);
}

function setParent(db: Database.Database, ino: number, parentIno: number): void {
  db.prepare('UPDATE inode SET parent_ino = ? WHERE ino = ?').run(parentIno, ino);
}

function addName(
  db: Database.Database,
  seed: NameSeed,
  parentIno: number,
  name: string,
  ino: number,
): void {
  const names = new NameTable(db, new Transaction(db, { isOpen: true }), seed);
  if (names.lookup(parentIno, name) === undefined) names.add(parentIno, name, ino);
}

/** `name`, or the first of `name.1`, `name.2` that the directory does not have. */
function freeName(db: Database.Database, seed: NameSeed, parentIno: number, name: string): string {
  const names = new NameTable(db, new Transaction(db, { isOpen: true }), seed);
  let free = name;
  for (let count = 1; names.lookup(parentIno, free) !== undefined; count++) {
    free = `${name}.${count}`;
  }
  return free;
}

/** The directory for what was lost; made when missing. */
function lostFound(db: Database.Database, seed: NameSeed): number {
  const names = new NameTable(db, new Transaction(db, { isOpen: true }), seed);
  const found = names.lookup(ROOT_INO, LOST_FOUND);
  const mode = db.prepare('SELECT mode FROM inode WHERE ino = ?').pluck();
  if (found !== undefined && ((mode.get(found) as number) & S_IFMT) === S_IFDIR) return found;
  if (found !== undefined) names.remove(ROOT_INO, LOST_FOUND); // it is lost itself now
  const last = db.prepare('SELECT max(ino) FROM inode').pluck().get() as number;
  insertDirectory(db, last + 1, ROOT_INO);
  names.add(ROOT_INO, LOST_FOUND, last + 1);
  return last + 1;
}

function insertDirectory(db: Database.Database, ino: number, parentIno: number): void {
  db.prepare(
    `INSERT INTO inode VALUES (?, ${S_IFDIR | 0o700}, 0, 0, 2, 0, 0, 0, 0,
       0, 0, 0, 0, 0, 0, 0, 0, ?, NULL)`,
  ).run(ino, parentIno);
}
