#!/bin/bash
# LMDB through Python: as it comes, and with sync=False.
. "$(dirname "$0")/prelude.sh"

case ${1:-} in
  put)
    python3 - "$2" <<'PY'
import lmdb
import sys

env = lmdb.open('.', map_size=1 << 20, sync=sys.argv[1] == 'sync')
for number in range(1, 7):
    with env.begin(write=True) as transaction:
        transaction.put(b'%03d' % number, b'value %d' % number)
    print(number, flush=True)
PY
    exit ;;
  check)
    [ -e data.mdb ] || { acked_in </dev/null; exit; }
    python3 - <<'PY' | acked_in
import lmdb

env = lmdb.open('.', map_size=1 << 20)
with env.begin() as transaction:
    for key, value in transaction.cursor():
        assert value == b'value %d' % int(key), (key, value)
        print(int(key))
    counted, found = transaction.stat()['entries'], sum(1 for _ in transaction.cursor())
    assert counted == found, f'data.mdb counts {counted} records and has {found}'
PY
    exit ;;
esac

debian python3-lmdb
try 'LMDB, sync=False, dax' 1 --model dax --workload "'$self' put nosync" --check "'$self' check"
# 120 bytes of a meta page are written in place: three lines, one sector.
for expected in sector:0 dax:1; do
  try "LMDB, ${expected%:*}" "${expected#*:}" --model "${expected%:*}" \
    --workload "'$self' put sync" --check "'$self' check" --continue "'$self' put sync"
done
finish
