#!/bin/bash
# logrotate over a log whose every line is synced: is a line ever lost, is its state ever broken?
. "$(dirname "$0")/prelude.sh"

case ${1:-} in
  rotate)
    printf '%s/app.log {\n  rotate 5\n  create\n}\n' "$PWD" >rotate.conf
    sync rotate.conf .
    for number in 1 2 3; do
      echo "line $number" >>app.log
      sync app.log .
      echo "line $number"
      logrotate --force --state "$PWD/state" rotate.conf || exit
    done
    exit ;;
  check)
    if [ -s state ] && ! head -1 state | grep -q '^logrotate state -- version 2$'; then
      echo 'state: not a state of logrotate' >&2
      exit 1
    fi
    { cat app.log* 2>/dev/null || true; } | acked_in
    exit ;;
esac

debian logrotate
for model in dax sector; do
  try "logrotate, $model" 0 --model $model --workload "'$self' rotate" --check "'$self' check"
done
# The renames of one rotation may be lost one without the other: nothing syncs the directory.
try 'logrotate, posix' 1 --model posix --workload "'$self' rotate" --check "'$self' check"
finish
