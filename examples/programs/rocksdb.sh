#!/bin/bash
# RocksDB through ldb: one process a record; each makes what the one before logged into a table.
. "$(dirname "$0")/prelude.sh"

case ${1:-} in
  put)
    for number in 1 2 3 4; do
      ldb --db=db --create_if_missing put "$number" "value-$number" >/dev/null && echo "$number"
    done
    exit ;;
  acked | prefix)
    if ! [ -e db/CURRENT ]; then
      [ "$1" = prefix ] || acked_in </dev/null
      exit
    fi
    found=$(ldb --db=db scan | sed 's/ : .*//') || exit
    if [ "$1" = acked ]; then
      echo "$found" | acked_in
    elif [ "$found" != "$(seq "$(echo "$found" | grep -c .)")" ]; then
      echo "db: it has" $found >&2
      exit 1
    fi
    exit ;;
esac

debian rocksdb-tools
for model in dax sector; do
  try "RocksDB: is there a hole? $model" 0 --model $model --workload "'$self' put" \
    --check "'$self' prefix"
done
try 'RocksDB, WAL not synced: acknowledged? dax' 1 --model dax --workload "'$self' put" \
  --check "'$self' acked"
finish
