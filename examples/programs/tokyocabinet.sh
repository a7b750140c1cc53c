#!/bin/bash
# Tokyo Cabinet through tchmgr: one process a record, which never syncs.
. "$(dirname "$0")/prelude.sh"

case ${1:-} in
  put)
    for number in 1 2 3 4; do
      tchmgr put db.tch "$number" "value-$number" && echo "$number"
    done
    exit ;;
  check) tchmgr list db.tch | acked_in; exit ;;
esac

debian tokyocabinet-bin
try 'Tokyo Cabinet, dax' 1 --model dax --setup 'tchmgr create db.tch 100' \
  --workload "'$self' put" --check "'$self' check"
finish
