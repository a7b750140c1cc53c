#!/bin/bash
# Programs nobody here wrote, each on a fresh fauxdax mount, with their own checks. One line a
# program: PASS, FAIL or SKIP with the reason; the last line is `N passed, N failed`. Exit status 1
# when one failed. What a failed program said is kept in build/test/programs/NAME.log.
#
#   test/programs/run.sh [--dir DIR] [--dax] [--no-install] [--list] [NAME...]
#
# --dax runs the programs of dax_programs.sh instead, or any, under `fauxdax run`. --dir runs in a directory instead of mounts: on ext4 that is how this script is tested. Needs
# root.
set -uo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
logs=$here/build/test/programs
packages=(fio stress-ng sqlite3 lmdb-utils git dbench fsmark postgresql acl attr rsync bonnie++)
step_seconds_max=${FAUXDAX_STEP_SECONDS:-240}
plain='' dax='' install=yes names=()
. "$here/test/programs/dax_programs.sh"

usage() {
  sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'
  exit "$1"
}

install_packages() {
  local missing=()
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok' ||
      missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >"$logs/apt.log" 2>&1 || echo "run.sh: could not install ${missing[*]}, see $logs/apt.log"
}

fauxdax() { timeout 60 node "$here/dist/tools/fauxdax.js" "$@"; }

# Commands that a program cannot do without; otherwise it is skipped with status 77.
need() {
  for command in "$@"; do
    command -v "$command" >/dev/null && continue
    echo "skipped: $command is not installed"
    exit 77
  done
}

# --- programs: each in a shell of its own with `set -eux`, in $work, an empty directory ---

# One block size a job: blocks of several sizes overlap, and fio then finds its own newer ones.
fio_job() {
  need fio
  fio --name="$1" --directory="$work" --size=12m --rw=randrw --verify=crc32c --verify_fatal=1 \
    --do_verify=1 --verify_state_save=0 --randrepeat=1 --end_fsync=1 --loops=2 --minimal "${@:2}"
}
program_fio_psync() { fio_job psync --ioengine=psync --bs=3k --numjobs=2; }
program_fio_direct() { fio_job direct --ioengine=psync --direct=1 --bs=16k --numjobs=2; }
program_fio_mmap() { fio_job mmap --ioengine=mmap --bs=4k --numjobs=2; }
program_fio_libaio() {
  fio_job libaio --ioengine=libaio --iodepth=16 --direct=1 --bs=8k --numjobs=2
}
program_fio_fsync() {
  fio_job fsync --ioengine=psync --bs=4k --fsync=8 --fallocate=posix --rw=randwrite
}
program_fio_large() { fio_job large --ioengine=psync --bs=1m --rw=write --size=96m; }

# Classes of calls that FUSE passes on; each for a few seconds with its own verification.
program_stress_ng() {
  need stress-ng
  local stressors=(access chdir chmod chown copy-file dentry dir dirdeep dup fallocate fcntl fiemap
    file-ioctl filename flock fpunch fstat hdd io link locka lockf lockofd metamix mknod mmap
    mmapaddr mmapfiles mmapfork mmapmany msync open readahead rename revio seek sendfile splice
    symlink sync-file touch unlink utime verity xattr)
  local known failed=()
  known=$(stress-ng --stressors)
  for stressor in "${stressors[@]}"; do
    grep -qw -- "$stressor" <<<"$known" || continue
    mkdir -p "$work/$stressor"
    timeout 90 stress-ng --temp-path "$work/$stressor" "--$stressor" 2 --timeout 3 --verify \
      --hdd-bytes 4m --mmap-bytes 8m --metrics-brief --fallocate-bytes 8m --seek-size 4m \
      --readahead-bytes 8m --copy-file-bytes 128m --sync-file-bytes 4m --msync-bytes 4m \
      --sendfile-size 1m --splice-bytes 64k --fiemap-bytes 8m || {
      # 3: no resources, 4: not implemented by this kernel or filesystem.
      local status=$?
      echo "stress-ng $stressor ended with $status"
      [ $status -eq 3 ] || [ $status -eq 4 ] || failed+=("$stressor")
    }
    rm -rf "${work:?}/$stressor"
  done
  if [ ${#failed[@]} -ne 0 ]; then
    echo "failed stressors: ${failed[*]}"
    return 1
  fi
}

program_sqlite() {
  need sqlite3
  local pragmas='PRAGMA journal_mode=WAL; PRAGMA mmap_size=268435456; PRAGMA synchronous=FULL;'
  sqlite3 db "$pragmas CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b BLOB);
    CREATE INDEX i ON t(a);
    WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000)
    INSERT INTO t SELECT x, printf('row %d', x * 7919 % 20011), randomblob(x % 500) FROM n;"
  for turn in $(seq 1 40); do
    sqlite3 db "$pragmas BEGIN; UPDATE t SET b = randomblob(300) WHERE id % 40 = $turn - 1;
      DELETE FROM t WHERE id = $turn * 11; COMMIT;" >/dev/null
  done
  sqlite3 db "$pragmas VACUUM; PRAGMA wal_checkpoint(TRUNCATE);" >/dev/null
  [ "$(sqlite3 db 'PRAGMA integrity_check;')" = ok ]
  [ "$(sqlite3 db 'SELECT count(*) FROM t;')" = 19960 ]
  # Four processes at once, each of them counted.
  for writer in 1 2 3 4; do
    for row in $(seq 1 50); do
      echo "INSERT INTO t(a) VALUES('w$writer-$row');"
    done | sqlite3 -cmd '.timeout 30000' db &
  done
  wait
  [ "$(sqlite3 db "SELECT count(*) FROM t WHERE a LIKE 'w%';")" = 200 ]
  [ "$(sqlite3 db 'PRAGMA integrity_check;')" = ok ]
}

program_lmdb() {
  need mdb_load mdb_dump mdb_copy mdb_stat
  mkdir db copy
  {
    printf 'VERSION=3\nformat=print\ntype=btree\nmapsize=33554432\nmaxreaders=126\n'
    printf 'db_pagesize=4096\nHEADER=END\n'
    for key in $(seq -w 1 20000); do
      printf ' key%s\n value of %s, and some more bytes to fill pages\n' "$key" "$key"
    done
    printf 'DATA=END\n'
  } >in.txt
  mdb_load -f in.txt db
  mdb_dump -p db >out.txt
  diff <(grep '^ ' in.txt) <(grep '^ ' out.txt)
  mdb_copy -c db copy
  mdb_dump -p copy | diff <(grep '^ ' in.txt) <(grep '^ ' -)
  mdb_load -f in.txt -N db 2>/dev/null || true
  mdb_stat -e db
}

program_git() {
  need git
  git clone --quiet --no-hardlinks "$here" clone
  cd clone
  git -c user.name=t -c user.email=t@localhost commit --quiet --allow-empty -m empty
  git checkout --quiet -b other HEAD~1
  git gc --quiet --aggressive --prune=now
  git fsck --full --strict
  git status --porcelain | tee /dev/stderr | wc -l | grep -qx 0
  cd ..
  git clone --quiet clone second
  diff -r --exclude=.git clone second
}

program_dbench() {
  need dbench
  local loads=(/usr/share/dbench/client.txt)
  dbench -c "${loads[0]}" -D "$work" -t 15 4
}

program_fsmark() {
  need fs_mark
  fs_mark -d "$work/marks" -n 1000 -s 4096 -t 2 -S 1 -L 2 -k
  [ "$(find "$work/marks" -type f | wc -l)" -ge 2000 ]
}

program_bonnie() {
  need bonnie++
  bonnie++ -d "$work" -s 32M:8k -r 16 -n 4:8192:0:4 -u root -q -z 1
}

program_postgresql() {
  local bin
  bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)
  need "$bin/initdb" "$bin/pgbench"
  mkdir data socket
  chown postgres data socket
  run_postgres() { (cd / && runuser -u postgres -- env PGOPTIONS= "$@"); }
  run_postgres "$bin/initdb" -D "$work/data" -A trust --data-checksums >/dev/null
  cat >>data/postgresql.conf <<CONF
listen_addresses = ''
unix_socket_directories = '$work/socket'
shared_buffers = 16MB
max_wal_size = 48MB
min_wal_size = 32MB
CONF
  run_postgres "$bin/pg_ctl" -D "$work/data" -l "$work/data/log" -w start
  run_postgres "$bin/createdb" -h "$work/socket" bench
  run_postgres "$bin/pgbench" -h "$work/socket" -i -s 2 -q bench
  run_postgres "$bin/pgbench" -h "$work/socket" -c 4 -j 2 -T 15 bench
  # What pgbench promises: the sum of the history is the sum of every balance.
  local sums='SELECT (SELECT coalesce(sum(delta), 0) FROM pgbench_history) =
    (SELECT sum(abalance) FROM pgbench_accounts)'
  [ "$(run_postgres "$bin/psql" -h "$work/socket" -Atc "$sums" bench)" = t ]
  # Stopped at once, it recovers from its log.
  run_postgres "$bin/pg_ctl" -D "$work/data" -m immediate -w stop
  run_postgres "$bin/pg_ctl" -D "$work/data" -l "$work/data/log" -w start
  [ "$(run_postgres "$bin/psql" -h "$work/socket" -Atc "$sums" bench)" = t ]
  run_postgres "$bin/pg_ctl" -D "$work/data" -m fast -w stop
  run_postgres "$bin/pg_checksums" --check -D "$work/data"
}

# A tree with many names, links and kinds; small enough for the image.
tree=/usr/include
program_tar() {
  need tar
  tar -C "$(dirname "$tree")" -cf "$work/tree.tar" "$(basename "$tree")"
  mkdir out
  tar -C out -xpf tree.tar
  diff -r --no-dereference "$tree" "out/$(basename "$tree")"
  tar -C out -df tree.tar
  rm tree.tar
  cp -a "out/$(basename "$tree")" copy
  diff -r --no-dereference "out/$(basename "$tree")" copy
  rm -rf out
  [ "$(ls)" = copy ]
}

program_rsync() {
  need rsync
  rsync -aHAX "$tree/" one/
  rsync -aHAX one/ two/
  [ -z "$(rsync -aHAXn --checksum --itemize-changes one/ two/)" ]
  find two -name '*.h' | head -50 | xargs touch -d 2001-01-01
  rsync -aHAX --delete --inplace one/ two/
  diff -r --no-dereference one two
}

program_coreutils() {
  printf 'some text\n%.0s' $(seq 1 2000) >text
  cp --sparse=always text copy && cmp text copy
  cp --reflink=auto text clone && cmp text clone
  truncate -s 1G sparse && [ "$(stat -c %b sparse)" = 0 ]
  dd if=/dev/urandom of=random bs=64k count=40 conv=fsync status=none
  dd if=random of=direct bs=4k oflag=direct iflag=direct status=none && cmp random direct
  split -b 100k random part. && cat part.* | cmp - random
  sort -R text -T . | sort -T . | cmp - <(sort text)
  mkdir -p deep/{1..20}/{1..20} && [ "$(find deep -type d | wc -l)" = 421 ]
  install -m 4750 -o 1 -g 2 text installed && [ "$(stat -c '%a %u %g' installed)" = '4750 1 2' ]
  mv deep moved && rm -r moved && [ ! -e moved ]
  shred -u direct && [ ! -e direct ]
  sync -d random && sync -f random
}

all=(fio_psync fio_direct fio_mmap fio_libaio fio_fsync fio_large stress_ng sqlite lmdb git
  dbench fsmark bonnie postgresql tar rsync coreutils)

# --- running ---

# How a program is started: by itself, or so that it maps files directly.
launcher() {
  [ -z "$dax" ] || [ -n "$plain" ] || printf '%s\n' node "$here/dist/tools/fauxdax.js" run "$work" --
}

passed=0 failed=0
base=''

mount_fresh() {
  # What is mapped directly lies in memory.
  base=$(mktemp -d "${dax:-${TMPDIR:-/tmp}}/fauxdax-programs.XXXXXX")
  chmod 755 "$base"
  mkdir "$base/dir"
  work=$base/dir
  [ -n "$plain" ] && { work=$(mktemp -d "$plain/programs.XXXXXX") && chmod 755 "$work"; return; }
  fauxdax mkfs "$base/image" --size 768M && fauxdax mount "$base/image" "$work" -o allow_other
}

# A mount that cannot be unmounted or an image that is not clean fails the program that left it so.
unmount_clean() {
  local status=0
  if [ -n "$plain" ]; then
    rm -rf "$work"
  else
    fauxdax umount "$work" || { status=1; umount -l "$work"; }
    fauxdax fsck "$base/image" || status=1
  fi
  rm -rf "$base"
  return $status
}

fail() {
  echo "FAIL $1: $2, see $3"
  failed=$((failed + 1))
}

run_one() {
  local name=$1 log=$logs/$1.log status begin=$SECONDS launch
  mount_fresh >"$log" 2>&1 || { fail "$name" 'cannot mount' "$log"; return; }
  export work here tree
  export -f "program_$name" program_sqlite need fio_job dax_compile
  mapfile -t launch < <(launcher)
  # A new session, so that the time limit reaches every process of the program.
  timeout --kill-after=10 "$step_seconds_max" "${launch[@]}" \
    bash -euxc "cd '$work'; program_$name" >>"$log" 2>&1
  status=$?
  unmount_clean >>"$log" 2>&1 || { [ $status -eq 0 ] && status=unmount; }
  case $status in
    0) echo "PASS $name ($((SECONDS - begin)) s)"; passed=$((passed + 1)) ;;
    77) echo "SKIP $name ($(grep -m1 '^skipped: ' "$log" | cut -c10-))" ;;
    124 | 137) fail "$name" "not done after $step_seconds_max s" "$log" ;;
    *) fail "$name" "status $status" "$log" ;;
  esac
}

while [ $# -gt 0 ]; do
  case $1 in
    --dir) plain=${2:?--dir wants a directory}; shift ;;
    --dax) dax=/dev/shm packages=("${dax_packages[@]}") all=("${dax_all[@]}") ;;
    --no-install) install=no ;;
    --list) printf '%s\n' "${all[@]}"; exit 0 ;;
    --help) usage 0 ;;
    -*) echo "run.sh: unknown option $1" >&2; usage 2 >&2 ;;
    *)
      declare -F "program_$1" >/dev/null || {
        echo "run.sh: no program $1; see --list" >&2
        exit 2
      }
      names+=("$1")
      ;;
  esac
  shift
done
[ "$(id -u)" = 0 ] || { echo 'run.sh: needs root' >&2; exit 2; }
mkdir -p "$logs"
[ $install = yes ] && install_packages
[ ${#names[@]} -eq 0 ] && names=("${all[@]}")
for name in "${names[@]}"; do run_one "$name"; done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
