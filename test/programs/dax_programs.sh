# Programs for `run.sh --dax`, which starts them under `fauxdax run`: those that map files, and those
# that take them for persistent memory. Sourced.

dax_packages=(fio stress-ng sqlite3 lmdb-utils liblmdb-dev libpmemobj-dev libpmem-dev pmdk-tools
  liburing-dev python3 gcc libc6-dev pkg-config)

# dax_compile SOURCE PACKAGE: builds a program outside the mount; prints its path.
dax_compile() {
  local out
  need gcc pkg-config
  out=$here/build/test/programs/$(basename "$1" .c)
  # shellcheck disable=SC2046  # flags are words
  env -u LD_PRELOAD gcc -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -pthread \
    -I "$here/build/test/programs" "$1" -o "$out" \
    $(env -u LD_PRELOAD pkg-config --cflags --libs "$2") -lm 1>&2
  echo "$out"
}

program_dax_fio_mmap() { fio_job mmap --ioengine=mmap --bs=4k --numjobs=2; }
program_dax_fio_mmap_fsync() {
  fio_job mmap-fsync --ioengine=mmap --bs=4k --fsync=8 --fallocate=posix
}
program_dax_fio_mmap_holes() { fio_job holes --ioengine=mmap --bs=8k --fallocate=truncate; }
program_dax_fio_libpmem() { fio_job libpmem --ioengine=libpmem --bs=4k --direct=1 --numjobs=2; }
program_dax_fio_libpmem_sync() {
  fio_job libpmem-sync --ioengine=libpmem --bs=4k --direct=1 --sync=1 --thread
}
program_dax_fio_psync() { fio_job psync --ioengine=psync --bs=3k --numjobs=2; }

# Written through a mapping, checked through read(2), and the other way round.
program_dax_fio_mixed() {
  need fio
  local common=(--name=mixed --filename="$work/mixed" --size=12m --verify=crc32c --verify_state_save=0
    --randrepeat=1 --minimal)
  fio "${common[@]}" --ioengine=mmap --rw=randwrite --bs=4k --do_verify=0
  fio "${common[@]}" --ioengine=psync --rw=randread --bs=4k --verify_only
  fio "${common[@]}" --ioengine=psync --rw=randwrite --bs=8k --do_verify=0
  fio "${common[@]}" --ioengine=mmap --rw=randread --bs=8k --verify_only
}

program_dax_lmdb_writemap() {
  need mdb_dump mdb_stat
  local program
  program=$(dax_compile "$here/test/programs/lmdb_writemap.c" lmdb)
  mkdir db
  "$program" db 20000 2
  mdb_stat -e db
  [ "$(mdb_dump -p db | grep -c '^ key')" = 20000 ]
}

program_dax_sqlite_mmap() { program_sqlite; }

program_dax_pmempool() {
  need pmempool
  pmempool create --size=16M obj --layout=test pool.obj
  pmempool create --size=16M log pool.log
  pmempool create --size=32M blk 512 pool.blk
  for pool in pool.obj pool.log pool.blk; do
    pmempool check -v "$pool"
    pmempool info "$pool"
  done
  pmempool info -u pool.obj | head -3
  # A damaged header is seen, and repaired.
  printf 'XXXX' | dd of=pool.blk bs=1 seek=32 conv=notrunc status=none
  ! pmempool check pool.blk
  pmempool check -r -a -y pool.blk || true
  pmempool dump pool.log
  pmempool rm pool.obj pool.log pool.blk
  [ -z "$(ls)" ]
}

program_dax_pmemobj() {
  need pmempool
  local program
  program=$(dax_compile "$here/test/programs/pmemobj_ledger.c" libpmemobj)
  "$program" create pool
  "$program" work pool 2000 3
  "$program" check pool
  pmempool check -v pool
  # Killed in the middle of transactions: none of them is half there.
  for turn in 1 2 3 4 5; do
    "$program" work pool 100000000 3 &
    sleep 0.3
    kill -KILL $!
    wait $! || true
    "$program" check pool
  done
  pmempool check -v pool
}

# The examples that come with libpmemobj.
program_dax_pmemobj_examples() {
  need pmempool
  local from=/usr/share/doc/libpmemobj-dev/examples program
  [ -d "$from" ] || { echo "skipped: $from is not there"; exit 77; }
  # The header that the package left out.
  printf '%s\n' '#include <unistd.h>' '#define CREATE_MODE_RW 0644' \
    'static inline int file_exists(const char *path) { return access(path, F_OK); }' \
    >"$here/build/test/programs/ex_common.h"
  program=$(dax_compile "$from/btree.c" libpmemobj)
  "$program" tree i 5 five
  "$program" tree i 3 three
  "$program" tree i 9 nine
  [ "$("$program" tree f 3)" = three ]
  [ "$("$program" tree p | tr '\n' ' ')" = '3 three 5 five 9 nine ' ]
  pmempool check -v tree
  program=$(dax_compile "$from/pi.c" libpmemobj)
  "$program" pi c 2 500
  "$program" pi p | grep -q '^pi: 3.1'
  pmempool check -v pi
  program=$(dax_compile "$from/queue/queue.c" libpmemobj)
  pmempool create obj --layout=queue queue
  "$program" queue new 10
  for entry in one two three; do "$program" queue enqueue "$entry"; done
  "$program" queue dequeue
  [ "$("$program" queue show | tail -2 | tr '\n' ' ')" = '1: two 2: three ' ]
  pmempool check -v queue
  program=$(dax_compile "$from/string_store_tx/writer.c" libpmemobj)
  echo persisted | "$program" strings
  program=$(dax_compile "$from/string_store_tx/reader.c" libpmemobj)
  [ "$("$program" strings)" = persisted ]
}

program_dax_python_mmap() {
  need python3
  python3 - <<'PYTHON'
import mmap, os
with open("file", "w+b") as file:
    file.truncate(1 << 20)
    with mmap.mmap(file.fileno(), 0) as map:
        map[0:5] = b"hello"
        map[500000:500003] = b"far"
        assert os.pread(file.fileno(), 5, 0) == b"hello"
        os.pwrite(file.fileno(), b"back", 4096)
        assert map[4096:4100] == b"back"
        map.flush()
        map.resize(4 << 20)
        assert len(map) == 4 << 20 and os.fstat(file.fileno()).st_size == 4 << 20
        map[-4:] = b"last"
        assert map.find(b"far") == 500000 and map.rfind(b"last") == (4 << 20) - 4
        map.move(100, 0, 5)
        assert map[100:105] == b"hello"
        child = os.fork()
        if child == 0:
            map[200:205] = b"child"
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0 and map[200:205] == b"child"
        map.resize(8192)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as own:
        own[0:5] = b"OWNED"
        assert os.pread(file.fileno(), 5, 0) == b"hello"
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as map:
        assert map[0:5] == b"hello" and map[100:105] == b"hello" and map[200:205] == b"child"
assert os.path.getsize("file") == 8192
PYTHON
  [ "$(head -c 5 file)" = hello ]
}

program_dax_uring() {
  local program
  program=$(dax_compile "$here/test/programs/uring_mapping.c" liburing)
  "$program"
}

program_dax_stress_ng() {
  need stress-ng
  local stressors=(fault madvise mincore mlock mmap mmapaddr mmapfixed mmapmany mprotect mremap
    msync msyncmany munmap pagemove revio sync-file sendfile splice)
  local known failed=()
  known=$(stress-ng --stressors)
  for stressor in "${stressors[@]}"; do
    grep -qw -- "$stressor" <<<"$known" || continue
    mkdir -p "$work/$stressor"
    local files=()
    [ "$stressor" = mmap ] && files=(--mmap-file)
    timeout 60 stress-ng --temp-path "$work/$stressor" "--$stressor" 2 --timeout 3 --verify \
      --metrics-brief --mmap-bytes 8m --msync-bytes 4m --sync-file-bytes 4m "${files[@]}" || {
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

dax_all=(dax_fio_mmap dax_fio_mmap_fsync dax_fio_mmap_holes dax_fio_libpmem dax_fio_libpmem_sync
  dax_fio_psync dax_fio_mixed dax_lmdb_writemap dax_sqlite_mmap dax_pmempool dax_pmemobj
  dax_pmemobj_examples dax_python_mmap dax_uring dax_stress_ng)
