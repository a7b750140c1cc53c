#!/bin/bash
# better-sqlite3 of npm, as a Node service uses it: the same two settings as in sqlite.sh.
. "$(dirname "$0")/prelude.sh"
debian sqlite3
npm_package better-sqlite3@12.11.1

cat >"$packages/insert.cjs" <<'JS'
const [journal, synchronous] = process.argv.slice(2);
const db = require('better-sqlite3')('db');
db.pragma(`journal_mode = ${journal}`);
db.pragma(`synchronous = ${synchronous}`);
const insert = db.prepare('INSERT INTO t VALUES(?, ?)');
for (let id = 1; id <= 6; id++) {
  insert.run(id, `row ${id}`);
  console.log(id);
}
JS

insert="node '$packages/insert.cjs'"
table='PRAGMA page_size=512; CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT)'
check="'$programs/sqlite.sh' check"
try 'better-sqlite3, synchronous=OFF, dax' 1 --model dax --setup "sqlite3 db '$table'" \
  --workload "$insert delete off" --check "$check"
for model in dax sector; do
  try "better-sqlite3, WAL, synchronous=FULL, $model" 0 --model $model \
    --setup "sqlite3 db '$table; PRAGMA journal_mode=WAL'" \
    --workload "$insert wal full" --check "$check"
done
finish
