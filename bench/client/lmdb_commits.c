// LMDB: transactions or reads, one line of JSON.
//
//   lmdb_commits DIRECTORY COUNT [writemap] [batch | get]
//
// The environment is made anew in DIRECTORY/lmdb with LMDB's defaults: no WRITEMAP, no NOSYNC, so a
// commit is a few page writes, one fdatasync and one synchronous write of the meta page. With
// `writemap` it is stores to a mapping and msync.
//
// An operation is a transaction of one small put. With the other two the database first gets 100,000
// entries, which are not counted: `batch` is a transaction that puts 1,000 of them anew, in the
// order of their keys, `get` a get at random in one transaction that reads.

#include <errno.h>
#include <lmdb.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "measure.h"

enum { kMapBytes = 64 << 20, kValueBytes = 100, kBatch = 1000, kEntries = 100000 };

static MDB_env* environment;
static MDB_dbi database;

static void Check(int result, const char* call) {
  if (result != 0) FAIL("%s: %s", call, mdb_strerror(result));
}

static MDB_txn* Begin(unsigned flags) {
  MDB_txn* transaction;
  Check(mdb_txn_begin(environment, NULL, flags, &transaction), "mdb_txn_begin");
  return transaction;
}

/** Keys from `first` on, as many as `puts`. */
static void Commit(size_t first, size_t puts) {
  char bytes[kValueBytes];
  memset(bytes, 'v', sizeof bytes);
  MDB_txn* transaction = Begin(0);
  for (size_t i = first; i < first + puts; i++) {
    MDB_val key = {.mv_size = sizeof i, .mv_data = &i};
    MDB_val value = {.mv_size = sizeof bytes, .mv_data = bytes};
    Check(mdb_put(transaction, database, &key, &value, 0), "mdb_put");
  }
  Check(mdb_txn_commit(transaction), "mdb_txn_commit");
}

static void Get(MDB_txn* transaction, uint64_t* random) {
  *random = *random * 6364136223846793005u + 1442695040888963407u;
  size_t number = (size_t)(*random >> 33) % kEntries;
  MDB_val key = {.mv_size = sizeof number, .mv_data = &number};
  MDB_val value;
  Check(mdb_get(transaction, database, &key, &value), "mdb_get");
  const char* bytes = value.mv_data;
  if (value.mv_size != kValueBytes || bytes[0] != 'v' || bytes[kValueBytes - 1] != 'v') {
    FAIL("entry %zu is not what was put", number);
  }
}

static void Open(const char* directory, unsigned flags) {
  EnterMount(directory);
  unlink("lmdb/data.mdb");
  unlink("lmdb/lock.mdb");
  if (mkdir("lmdb", 0755) < 0 && errno != EEXIST) FAIL("mkdir lmdb: %s", strerror(errno));
  Check(mdb_env_create(&environment), "mdb_env_create");
  Check(mdb_env_set_mapsize(environment, kMapBytes), "mdb_env_set_mapsize");
  Check(mdb_env_open(environment, "lmdb", flags, 0644), "mdb_env_open");
  MDB_txn* transaction = Begin(0);
  Check(mdb_dbi_open(transaction, NULL, MDB_INTEGERKEY, &database), "mdb_dbi_open");
  Check(mdb_txn_commit(transaction), "mdb_txn_commit");
}

int main(int count, char** words) {
  long operations = count >= 3 ? atol(words[2]) : 0;
  unsigned flags = 0;
  const char* job = "put";
  for (int i = 3; i < count; i++) {
    if (strcmp(words[i], "writemap") == 0) {
      flags = MDB_WRITEMAP;
    } else {
      job = words[i];
    }
  }
  const bool is_batch = strcmp(job, "batch") == 0;
  const bool is_get = strcmp(job, "get") == 0;
  if (operations <= 0 || (!is_batch && !is_get && strcmp(job, "put") != 0)) {
    FAIL("usage: lmdb_commits DIRECTORY COUNT [writemap] [batch | get]");
  }
  Open(words[1], flags);
  for (size_t i = 0; (is_batch || is_get) && i < kEntries; i += kBatch) Commit(i, kBatch);

  struct measure measure = MeasureNew((size_t)operations);
  MDB_txn* reading = is_get ? Begin(MDB_RDONLY) : NULL;
  uint64_t random = 1;
  uint64_t begin_ns = NowNs();
  uint64_t start_ns = begin_ns;
  for (size_t i = 0; i < (size_t)operations; i++) {
    if (is_get) {
      Get(reading, &random);
    } else if (is_batch) {
      Commit(i * kBatch % kEntries, kBatch);
    } else {
      Commit(i, 1);
    }
    start_ns = MeasureAdd(&measure, start_ns);
  }
  if (is_get) mdb_txn_abort(reading);
  MeasurePrint("lmdb", &measure, 1, start_ns - begin_ns, 0);
  mdb_env_close(environment);
  return 0;
}
