#!/usr/bin/env bash
# Random operations on a mount beside the same on the host's filesystem (ext4), every result compared;
# unmounted, checked and mounted again on the way. Usage: soak.sh [OPERATIONS [SEED]]
set -euo pipefail
operations=${1:-1000000}
seed=${2:-$RANDOM}
here=$(cd "$(dirname "$0")" && pwd)
fauxdax=(node "$here/../../dist/tools/fauxdax.js")
scratch=$(mktemp -d)
mount="$scratch/mount"
finish() {
  mountpoint -q "$mount" && "${fauxdax[@]}" umount "$mount"
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

mkdir "$mount" "$scratch/peer"
"${fauxdax[@]}" mkfs "$scratch/image" --size 512M
"${fauxdax[@]}" mount "$scratch/image" "$mount"
cat >"$scratch/remount" <<REMOUNT
set -e
${fauxdax[*]} umount "$mount"
${fauxdax[*]} fsck "$scratch/image"
${fauxdax[*]} mount "$scratch/image" "$mount"
REMOUNT
"$here/differential/run.sh" --dir "$mount" --peer "$scratch/peer" --seed "$seed" \
  --ops "$operations" --remount "bash $scratch/remount" --remount-every 50000
