// Transactions of libpmemobj: accounts whose sum never changes, and a list of what was moved, whose
// entries are allocated and freed in the same transactions.
//
//   pmemobj_ledger create POOL | work POOL MOVES THREADS | check POOL
//
// A process may be killed at any moment; opening the pool recovers it, and `check` says whether
// each transaction was done whole or not at all.
#include <libpmemobj.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kAccounts = 64, kStart = 1000, kEntriesMax = 500, kPoolBytes = 32 << 20 };

POBJ_LAYOUT_BEGIN(ledger);
POBJ_LAYOUT_ROOT(ledger, struct root);
POBJ_LAYOUT_TOID(ledger, struct entry);
POBJ_LAYOUT_END(ledger);

struct entry {
  TOID(struct entry) next;
  uint32_t from, to, amount;
  uint32_t check;  // of the three
  char padding[300];
};

struct root {
  int64_t balances[kAccounts];
  TOID(struct entry) first;
  uint64_t entries;
  uint64_t moved;
};

static PMEMobjpool* pool;
static pthread_mutex_t ledger = PTHREAD_MUTEX_INITIALIZER;
static long moves;

static uint32_t CheckOf(const struct entry* entry) {
  return (entry->from * 31 + entry->to) * 31 + entry->amount + 1;
}

static void Move(TOID(struct root) root, unsigned* seed) {
  uint32_t from = (uint32_t)rand_r(seed) % kAccounts, to = (uint32_t)rand_r(seed) % kAccounts;
  uint32_t amount = (uint32_t)rand_r(seed) % 100;
  TX_BEGIN(pool) {
    TX_ADD_FIELD(root, balances[from]);
    D_RW(root)->balances[from] -= amount;
    TX_ADD_FIELD(root, balances[to]);
    D_RW(root)->balances[to] += amount;
    TX_ADD_FIELD(root, first);
    TX_ADD_FIELD(root, entries);
    TX_ADD_FIELD(root, moved);
    D_RW(root)->moved++;
    TOID(struct entry) entry = TX_ZNEW(struct entry);
    D_RW(entry)->next = D_RO(root)->first;
    D_RW(entry)->from = from;
    D_RW(entry)->to = to;
    D_RW(entry)->amount = amount;
    D_RW(entry)->check = CheckOf(D_RO(entry));
    D_RW(root)->first = entry;
    D_RW(root)->entries++;
    if (D_RO(root)->entries > kEntriesMax) {
      for (int i = 0; i < kEntriesMax / 2; i++) {
        TOID(struct entry) old = D_RO(root)->first;
        D_RW(root)->first = D_RO(old)->next;
        D_RW(root)->entries--;
        TX_FREE(old);
      }
    }
    // Now and then it is given up in the end.
    if (rand_r(seed) % 16 == 0) pmemobj_tx_abort(0);
  }
  TX_END
}

static void* Work(void* argument) {
  unsigned seed = (unsigned)(uintptr_t)argument;
  TOID(struct root) root = POBJ_ROOT(pool, struct root);
  for (long i = 0; i < moves; i++) {
    pthread_mutex_lock(&ledger);
    Move(root, &seed);
    pthread_mutex_unlock(&ledger);
  }
  return NULL;
}

static int Check(void) {
  TOID(struct root) root = POBJ_ROOT(pool, struct root);
  int64_t sum = 0;
  for (int i = 0; i < kAccounts; i++) sum += D_RO(root)->balances[i];
  uint64_t entries = 0;
  int wrong = 0;
  for (TOID(struct entry) entry = D_RO(root)->first; !TOID_IS_NULL(entry);
       entry = D_RO(entry)->next) {
    entries++;
    wrong += D_RO(entry)->check != CheckOf(D_RO(entry));
  }
  uint64_t objects = 0;
  TOID(struct entry) object;
  POBJ_FOREACH_TYPE(pool, object) objects++;
  printf("pmemobj_ledger: sum %lld, %llu moves, %llu entries, %d wrong, %llu allocated\n",
         (long long)sum, (unsigned long long)D_RO(root)->moved, (unsigned long long)entries, wrong,
         (unsigned long long)objects);
  return sum == (int64_t)kAccounts * kStart && entries == D_RO(root)->entries &&
                 objects == entries && wrong == 0
             ? 0
             : 1;
}

static int Create(const char* path) {
  pool = pmemobj_create(path, POBJ_LAYOUT_NAME(ledger), kPoolBytes, 0644);
  if (pool == NULL) return fprintf(stderr, "pmemobj_ledger: %s\n", pmemobj_errormsg()), 1;
  TOID(struct root) root = POBJ_ROOT(pool, struct root);
  for (int i = 0; i < kAccounts; i++) D_RW(root)->balances[i] = kStart;
  pmemobj_persist(pool, D_RW(root), sizeof(struct root));
  pmemobj_close(pool);
  return 0;
}

int main(int count, char** words) {
  if (count < 3) return 2;
  if (strcmp(words[1], "create") == 0) return Create(words[2]);
  pool = pmemobj_open(words[2], POBJ_LAYOUT_NAME(ledger));
  if (pool == NULL) return fprintf(stderr, "pmemobj_ledger: %s\n", pmemobj_errormsg()), 1;
  int status = 0;
  if (strcmp(words[1], "work") == 0 && count == 5) {
    moves = atol(words[3]);
    pthread_t threads[16];
    long thread_count = atol(words[4]);
    for (long i = 0; i < thread_count; i++)
      pthread_create(&threads[i], NULL, Work, (void*)(uintptr_t)(i + 1));
    for (long i = 0; i < thread_count; i++) pthread_join(threads[i], NULL);
  } else {
    status = Check();
  }
  pmemobj_close(pool);
  return status;
}
