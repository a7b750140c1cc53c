# For scripts that work on a mount whose region can be mapped directly: sourced, not run.
#
#   dax_mount SIZE [OPT,...]   sets $scratch, $image and $mount; the image lies on a tmpfs
#   dax_run PROGRAM [WORD...]  runs a program under `fauxdax run`
#   dax_umount                 unmounts and checks the image; fails when it is not clean, or when
#                              entries of a page and of 2 MiB met at one place of a process
#
# Whatever happens, nothing stays mounted or on disk. Needs $here, the folder of the clone.
fauxdax() { timeout 60 node "$here/dist/tools/fauxdax.js" "$@"; }

dax_mount() {
  scratch=$(mktemp -d /dev/shm/fauxdax-dax.XXXXXX)
  chmod 755 "$scratch"
  image=$scratch/image mount=$scratch/mount
  mkdir "$mount"
  trap dax_end EXIT
  trap 'exit 130' INT TERM
  fauxdax mkfs "$image" --size "$1" >/dev/null &&
    fauxdax mount "$image" "$mount" -o "${2:-allow_other}" &&
    daemon=$(fauxdax info "$mount" --json | node -p \
      'JSON.parse(require("fs").readFileSync(0, "utf8")).daemon.pid')
}

dax_run() { node "$here/dist/tools/fauxdax.js" run "$mount" -- "$@"; }

dax_umount() {
  local collisions
  collisions=$(fauxdax info "$mount" | sed -n 's/^ *collisions *//p')
  [ "${collisions:-0}" = 0 ] || echo "collisions: $collisions" >&2
  fauxdax umount "$mount" && fauxdax fsck "$image" && [ "${collisions:-0}" = 0 ]
}

# After a failure what the daemon said is shown. A hung daemon is ended before the umount, which would
# wait for it.
dax_end() {
  local status=$?
  [ $status -eq 0 ] || [ ! -s "$image/daemon.log" ] || tail -n 20 "$image/daemon.log" | cut -c-2000 >&2
  if mountpoint -q "$mount" && ! timeout 20 node "$here/dist/tools/fauxdax.js" umount "$mount"; then
    [ -z "${daemon:-}" ] || kill -KILL "$daemon"
    umount -l "$mount"
  fi
  rm -rf "$scratch"
}
