#!/usr/bin/env bash
# `fauxdax run` on a mount of an ordinary user: refused with the reason, without the program being
# started, until userfaultfd is allowed; and to any other user, root too. As root, in a mount namespace
# of its own (unshare -m), where the two devices are given to that user. One line of output a step.
#
#   unshare -m --propagation private test/dax/other_user.sh PROGRAM [WORD...]
#
# PROGRAM WORD... stores to the file whose path is added, through a mapping.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
as_user() { setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/tmp "$@"; }
fauxdax() { timeout 60 node "$here/dist/tools/fauxdax.js" "$@"; }
user_fauxdax() { as_user timeout 60 node "$here/dist/tools/fauxdax.js" "$@"; }
step() {
  local status=0 what=$1
  shift
  said=$("$@" 2>&1) || status=$?
  echo "$what: $status $said"
}

as_user node "$here/dist/tools/fauxdax.js" --version >/dev/null || exit 77
scratch=$(mktemp -d /dev/shm/fauxdax-user.XXXXXX)
mount=$scratch/own/mount
trap 'umount -l "$mount" 2>/dev/null || true; rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
mkdir "$scratch/own"
chown 65534 "$scratch/own"
mknod -m 666 "$scratch/fuse" c 10 229
mknod -m 600 "$scratch/userfaultfd" c $(stat -c '0x%t 0x%T' /dev/userfaultfd)
mount --bind "$scratch/fuse" /dev/fuse
mount --bind "$scratch/userfaultfd" /dev/userfaultfd
user_fauxdax mkfs "$scratch/own/image" --size 16M >/dev/null
as_user mkdir "$mount"
user_fauxdax mount "$scratch/own/image" "$mount"
step refused user_fauxdax run "$mount" -- echo started
step root fauxdax run "$mount" -- echo started
chmod 666 "$scratch/userfaultfd"
# A folder of PATH that may not be searched is passed over.
mkdir -m 700 "$scratch/closed"
PATH=$scratch/closed:$PATH step allowed user_fauxdax run "$mount" -- "$@" "$mount/f"
user_fauxdax umount "$mount"
