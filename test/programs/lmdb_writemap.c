// LMDB with MDB_WRITEMAP: it stores to its file through a mapping. Writers in several processes,
// each with keys of its own, while readers go through all there is; at the end every key has its
// value.
//
//   lmdb_writemap DIRECTORY KEYS WRITERS
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kMapBytes = 64 << 20, kBatch = 50, kValueBytes = 200 };

static void Check(int result, const char* call) {
  if (result == 0) return;
  fprintf(stderr, "lmdb_writemap: %s: %s\n", call, mdb_strerror(result));
  exit(1);
}

static MDB_env* OpenAt(const char* directory) {
  MDB_env* environment;
  Check(mdb_env_create(&environment), "mdb_env_create");
  Check(mdb_env_set_mapsize(environment, kMapBytes), "mdb_env_set_mapsize");
  Check(mdb_env_open(environment, directory, MDB_WRITEMAP, 0644), "mdb_env_open");
  return environment;
}

static int KeyText(char* text, long key) { return sprintf(text, "key%08ld", key); }

static void ValueText(char* text, long key) {
  memset(text, 'a' + (int)(key % 26), kValueBytes);
  sprintf(text, "value of %ld", key);
}

static int Write(const char* directory, long begin, long end) {
  MDB_env* environment = OpenAt(directory);
  char key_text[32], value_text[kValueBytes];
  for (long key = begin; key < end;) {
    MDB_txn* transaction;
    MDB_dbi database;
    Check(mdb_txn_begin(environment, NULL, 0, &transaction), "mdb_txn_begin");
    Check(mdb_dbi_open(transaction, NULL, 0, &database), "mdb_dbi_open");
    for (int i = 0; i < kBatch && key < end; i++, key++) {
      ValueText(value_text, key);
      MDB_val name = {(size_t)KeyText(key_text, key), key_text}, value = {kValueBytes, value_text};
      Check(mdb_put(transaction, database, &name, &value, 0), "mdb_put");
    }
    Check(mdb_txn_commit(transaction), "mdb_txn_commit");
  }
  mdb_env_close(environment);
  return 0;
}

/** Checks every value there is; returns how many. */
static long ReadAll(const char* directory) {
  MDB_env* environment = OpenAt(directory);
  MDB_txn* transaction;
  MDB_dbi database;
  MDB_cursor* cursor;
  MDB_val name, value;
  char expected[kValueBytes];
  long count = 0;
  Check(mdb_txn_begin(environment, NULL, MDB_RDONLY, &transaction), "mdb_txn_begin");
  Check(mdb_dbi_open(transaction, NULL, 0, &database), "mdb_dbi_open");
  Check(mdb_cursor_open(transaction, database, &cursor), "mdb_cursor_open");
  while (mdb_cursor_get(cursor, &name, &value, MDB_NEXT) == 0) {
    ValueText(expected, strtol((char*)name.mv_data + 3, NULL, 10));
    if (value.mv_size != kValueBytes || memcmp(value.mv_data, expected, kValueBytes) != 0) {
      fprintf(stderr, "lmdb_writemap: %.11s has a wrong value\n", (char*)name.mv_data);
      exit(1);
    }
    count++;
  }
  mdb_cursor_close(cursor);
  mdb_txn_abort(transaction);
  mdb_env_close(environment);
  return count;
}

int main(int count, char** words) {
  if (count != 4) return 2;
  long keys = atol(words[2]), writers = atol(words[3]);
  for (long writer = 0; writer < writers; writer++)
    if (fork() == 0) _exit(Write(words[1], keys * writer / writers, keys * (writer + 1) / writers));
  int status = 0, failed = 0;
  long running = writers, turns = 0;
  while (running > 0) {
    pid_t child = waitpid(-1, &status, WNOHANG);
    if (child > 0) running--, failed += status != 0;
    ReadAll(words[1]);
    turns++;
  }
  long found = ReadAll(words[1]);
  printf("lmdb_writemap: %ld keys of %ld, read %ld times meanwhile\n", found, keys, turns);
  return failed == 0 && found == keys ? 0 : 1;
}
