#!/bin/bash
# The sqlite3 shell of Debian: a rollback journal without syncs, and a write-ahead log with all.
. "$(dirname "$0")/prelude.sh"

# The number is printed by a statement of its own: RETURNING answers before the commit.
insert_rows() {
  for id in 1 2 3 4 5 6; do
    echo "INSERT INTO t VALUES($id, 'row ' || $id); SELECT $id;"
  done
}

case ${1:-} in
  off) { echo 'PRAGMA synchronous=OFF;'; insert_rows; } | sqlite3 db; exit ;;
  full) { echo 'PRAGMA synchronous=FULL;'; insert_rows; } | sqlite3 db; exit ;;
  check)
    found=$(sqlite3 db 'PRAGMA integrity_check; SELECT id FROM t') || exit
    [ "${found%%$'\n'*}" = ok ] || { echo "db: $found" >&2; exit 1; }
    echo "$found" | acked_in
    exit ;;
esac

debian sqlite3
table='PRAGMA page_size=512; CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT)'
try 'sqlite3, synchronous=OFF, dax' 1 --model dax --setup "sqlite3 db '$table'" \
  --workload "'$self' off" --check "'$self' check"
for model in dax sector; do
  try "sqlite3, WAL, synchronous=FULL, $model" 0 --model $model \
    --setup "sqlite3 db '$table; PRAGMA journal_mode=WAL'" \
    --workload "'$self' full" --check "'$self' check"
done
finish
