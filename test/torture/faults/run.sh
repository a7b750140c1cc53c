#!/usr/bin/env bash
# The torture of faults on a fresh mount, under `fauxdax run`: main.c says what it does.
#
#   test/torture/faults/run.sh [--dir DIR] [OPTION...]
#
# With --dir in a plain directory instead, which is how the torture itself is tested. The other
# options are main.c's. Exit status 0 when nothing was wrong and the image is clean.
set -euo pipefail
here=$(cd "$(dirname "$0")/../../.." && pwd)
program=$here/build/test/faults
mkdir -p "$here/build/test"
if [ ! -e "$program" ] || [ -n "$(find "$here/test/torture/faults" -newer "$program" -name '*.[ch]')" ]; then
  gcc -std=gnu17 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -pthread \
    "$here"/test/torture/faults/*.c -o "$program.$$"
  mv "$program.$$" "$program"
fi
if [ "${1:-}" = --dir ]; then
  exec "$program" "${@:3}" "$2"
fi
. "$here/test/dax/mount.sh"
dax_mount 256M
status=0
dax_run "$program" "$@" "$mount" || status=$?
rm -f "$mount"/tortured-*
dax_umount || status=1
exit $status
