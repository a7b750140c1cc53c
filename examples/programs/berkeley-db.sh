#!/bin/bash
# Berkeley DB through db5.3_load: a btree without an environment, so without a log.
. "$(dirname "$0")/prelude.sh"

case ${1:-} in
  load)
    for number in 1 2 3 4 5; do
      printf '%s\n%0300d\n' "key $number" "$number" | db5.3_load -T -t btree tree.db &&
        echo "key $number"
    done
    exit ;;
  check)
    [ -e tree.db ] || { acked_in </dev/null; exit; }
    db5.3_verify -q tree.db && db5.3_dump -p tree.db | sed -n 's/^ \(key.*\)/\1/p' | acked_in
    exit ;;
esac

debian db5.3-util
for model in dax sector; do
  try "Berkeley DB, $model" 1 --model $model --workload "'$self' load" --check "'$self' check"
done
finish
