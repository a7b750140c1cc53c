#!/usr/bin/env bash
# A thousand processes killed inside mappings, on a fresh mount under `fauxdax run` (killed.c), and then
# what the daemon has kept of them: it must be nothing.
#
#   test/torture/killed/run.sh [--dir DIR] [--seed N] [--count N]
#
# With --dir in a plain directory, which tests the torture itself.
set -euo pipefail
here=$(cd "$(dirname "$0")/../../.." && pwd)
program=$here/build/test/killed
source=$here/test/torture/killed/killed.c
mkdir -p "$here/build/test"
if [ ! "$program" -nt "$source" ]; then
  gcc -std=gnu17 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -pthread "$source" -o "$program.$$"
  mv "$program.$$" "$program"
fi
if [ "${1:-}" = --dir ]; then
  exec "$program" "${@:3}" "$2"
fi
. "$here/test/dax/mount.sh"

# What is left of processes: clients, mappings, waiting faults, descriptors of the daemon.
look() {
  local dax free
  dax=$(fauxdax info "$mount" --json | node -e '
    const { daemon, free } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const { runs = 0, clients = 0, mappings = 0, files = 0, waiting = 0 } = daemon.dax ?? {};
    console.log(JSON.stringify({ runs, clients, mappings, files, waiting, pages: free.pages + free.busyPages }));
  ')
  echo "$dax $(find "/proc/$daemon/fd" -maxdepth 1 -type l | wc -l) descriptors"
}

dax_mount 128M
# The first run starts what stays for the mount's life.
dax_run "$program" --count 3 "$mount" >/dev/null
rm "$mount/shared" "$mount/innocent"
sync "$mount"
sleep 0.5
before=$(look)
status=0
dax_run "$program" "$@" "$mount" || status=1
rm -f "$mount/shared" "$mount/innocent"
sync "$mount"
for wait in 0.2 0.5 1 2 4; do
  sleep "$wait"
  after=$(look)
  [ "$before" = "$after" ] && break
done
echo "before: $before"
echo "after:  $after"
[ "$before" = "$after" ] || status=1
dax_umount || status=1
exit $status
