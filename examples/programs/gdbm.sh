#!/bin/bash
# GDBM through gdbmtool: one process a record, which syncs the file when it ends.
. "$(dirname "$0")/prelude.sh"

case ${1:-} in
  store)
    for number in 1 2 3 4 5; do
      gdbmtool db store "$number" "value-$number" && echo "$number"
    done
    exit ;;
  check)
    [ -e db ] || { acked_in </dev/null; exit; }
    while read -r number; do
      value=$(gdbmtool --read-only db fetch "$number" 2>&1)
      [ "$value" = "value-$number" ] && continue
      echo "db: $number was stored: $value" >&2
      exit 1
    done <"$FAUXDAX_ACKED"
    exit ;;
esac

debian gdbmtool
for model in dax sector; do
  try "GDBM, $model" 1 --model $model --workload "'$self' store" --check "'$self' check"
done
finish
