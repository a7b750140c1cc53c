// LMDB commits: transactions of one small put each, every one synced, one line of JSON.
//
//   lmdb_commits DIRECTORY COUNT [writemap]
//
// The environment is made anew in DIRECTORY/lmdb with LMDB's defaults: no WRITEMAP, no NOSYNC, so a
// commit is a few page writes, one fdatasync and one synchronous write of the meta page. With
// `writemap` it is stores to a mapping and msync.

#include <errno.h>
#include <lmdb.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "measure.h"

enum { kMapBytes = 64 << 20, kValueBytes = 100 };

static void Check(int result, const char* call) {
  if (result != 0) FAIL("%s: %s", call, mdb_strerror(result));
}

int main(int count, char** words) {
  long commits = count >= 3 ? atol(words[2]) : 0;
  bool writes_map = count == 4 && strcmp(words[3], "writemap") == 0;
  if (commits <= 0 || count != (writes_map ? 4 : 3)) {
    FAIL("usage: lmdb_commits DIRECTORY COUNT [writemap]");
  }
  EnterMount(words[1]);
  unlink("lmdb/data.mdb");
  unlink("lmdb/lock.mdb");
  if (mkdir("lmdb", 0755) < 0 && errno != EEXIST) FAIL("mkdir lmdb: %s", strerror(errno));

  MDB_env* environment;
  MDB_dbi database;
  MDB_txn* transaction;
  Check(mdb_env_create(&environment), "mdb_env_create");
  Check(mdb_env_set_mapsize(environment, kMapBytes), "mdb_env_set_mapsize");
  Check(mdb_env_open(environment, "lmdb", writes_map ? MDB_WRITEMAP : 0, 0644), "mdb_env_open");
  Check(mdb_txn_begin(environment, NULL, 0, &transaction), "mdb_txn_begin");
  Check(mdb_dbi_open(transaction, NULL, MDB_INTEGERKEY, &database), "mdb_dbi_open");
  Check(mdb_txn_commit(transaction), "mdb_txn_commit");

  struct measure measure = MeasureNew((size_t)commits);
  char bytes[kValueBytes];
  memset(bytes, 'v', sizeof bytes);
  uint64_t begin_ns = NowNs();
  uint64_t start_ns = begin_ns;
  for (size_t i = 0; i < (size_t)commits; i++) {
    MDB_val key = {.mv_size = sizeof i, .mv_data = &i};
    MDB_val value = {.mv_size = sizeof bytes, .mv_data = bytes};
    Check(mdb_txn_begin(environment, NULL, 0, &transaction), "mdb_txn_begin");
    Check(mdb_put(transaction, database, &key, &value, 0), "mdb_put");
    Check(mdb_txn_commit(transaction), "mdb_txn_commit");
    start_ns = MeasureAdd(&measure, start_ns);
  }
  MeasurePrint("lmdb", &measure, 1, start_ns - begin_ns, 0);
  mdb_env_close(environment);
  return 0;
}
