#!/bin/bash
# PostgreSQL of Debian: commits with fsync=on and with fsync=off. The server refuses root; it runs
# in a user namespace in which this user has another number.
. "$(dirname "$0")/prelude.sh"
bin=$(echo /usr/lib/postgresql/*/bin | tr ' ' '\n' | tail -1)
# The server as another user; both names as the shell passes them on.
as_user() { unshare --user --map-user=1000 --map-group=1000 "$@"; }
settings='-c shared_buffers=1MB -c max_wal_size=8MB -c autovacuum=off -c listen_addresses='

case ${1:-} in
  init)
    as_user "$bin/initdb" -D data -U postgres --no-sync --wal-segsize=1 -A trust >/dev/null &&
      echo 'CREATE TABLE t(id integer PRIMARY KEY)' |
      as_user "$bin/postgres" --single -D data postgres >/dev/null 2>&1
    exit ;;
  insert)
    sockets=$(mktemp -d)
    as_user "$bin/postgres" -D data $settings -k "$sockets" -c fsync="$2" 2>"$sockets/log" &
    until psql -h "$sockets" -U postgres -c 'SELECT 1' >/dev/null 2>&1; do
      kill -0 $! || { cat "$sockets/log" >&2; exit 1; }
      sleep 0.05
    done
    for number in 1 2 3 4; do
      psql -q -h "$sockets" -U postgres -c "INSERT INTO t VALUES($number)" && echo "$number"
    done
    rm -rf "$sockets"
    exit ;;
  check) # recovers, as a start after a crash does, and reads the table
    [ -e data/PG_VERSION ] || { acked_in </dev/null; exit; }
    rm -f data/postmaster.pid
    found=$(echo 'SELECT id FROM t' |
      as_user "$bin/postgres" --single -j -D data $settings postgres 2>"$FAUXDAX_ACKED.log") || {
      grep -E 'FATAL|PANIC' "$FAUXDAX_ACKED.log" >&2
      exit 1
    }
    sed -n 's/.*id = "\([0-9]*\)".*/\1/p' <<<"$found" | acked_in
    exit ;;
esac

debian postgresql
try 'PostgreSQL, fsync=off, dax' 1 --model dax --states 100 --setup "'$self' init" \
  --workload "'$self' insert off" --check "'$self' check"
for model in dax sector; do
  try "PostgreSQL, fsync=on, $model" 0 --model $model --states 100 --setup "'$self' init" \
    --workload "'$self' insert on" --check "'$self' check"
done
finish
