#!/usr/bin/env bash
# The probe of probe.c on a fresh mount, under `fauxdax run`.
#
#   test/dax/probe/run.sh [--dir DIR] [--only GROUP]
#
# With --dir in a plain directory instead, to compare with other filesystems. Exit status 0 when all
# is as expected, 1 when not, 3 when programs cannot be run with direct mappings here.
set -euo pipefail
here=$(cd "$(dirname "$0")/../../.." && pwd)
program=$here/build/test/probe
sources=$here/test/dax/probe
mkdir -p "$here/build/test"
if [ ! -e "$program" ] || [ -n "$(find "$sources" -newer "$program" -name '*.[ch]')" ]; then
  gcc -std=gnu17 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -pthread "$sources"/*.c -o "$program.$$"
  mv "$program.$$" "$program"
fi
if [ "${1:-}" = --dir ]; then
  exec "$program" "${@:3}" "$2"
fi
. "$here/test/dax/mount.sh"
# No commit but those that are asked for.
dax_mount 64M crashable,canary,commit=3600
status=0
cut="node '$here/dist/tools/fauxdax.js' crash '$mount'"
dax_run "$program" --crash-command "$cut" "$@" "$mount" || status=$?
dax_umount || status=1
exit $status
