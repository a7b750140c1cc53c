#!/bin/bash
# GDBM through gdbmtool: one process a record, which syncs the mapped file when it ends. The file is
# filled beforehand so far that a bucket is split in between.
. "$(dirname "$0")/prelude.sh"
before=164

case ${1:-} in
  fill)
    for number in $(seq "$before"); do echo "store $number value-$number"; done | gdbmtool -q db
    exit ;;
  store)
    for number in $(seq $((before + 1)) $((before + 6))); do
      gdbmtool db store "$number" "value-$number" && echo "$number"
    done
    exit ;;
  check)
    [ -e db ] || { acked_in </dev/null; exit; }
    { seq "$before"; cat "$FAUXDAX_ACKED"; } | sed 's/.*/fetch &/' >"$FAUXDAX_ACKED.fetch"
    found=$(gdbmtool -q --read-only db <"$FAUXDAX_ACKED.fetch" 2>&1)
    { seq "$before"; cat "$FAUXDAX_ACKED"; } | sed 's/.*/value-&/' >"$FAUXDAX_ACKED.wanted"
    lost=$(diff <(echo "$found") "$FAUXDAX_ACKED.wanted") || {
      echo "db: not what was stored: $(head -4 <<<"$lost" | tr '\n' ' ')" >&2
      exit 1
    }
    exit ;;
esac

debian gdbmtool
for model in dax sector; do
  try "GDBM, $model" 1 --model $model --setup "'$self' fill" --workload "'$self' store" \
    --check "'$self' check"
done
finish
