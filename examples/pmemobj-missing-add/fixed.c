// Two accounts in a pool of libpmemobj, and transfers between them, each a transaction. Prints the
// number of each transfer that is done. With "init" it makes the pool: 100 on the first account.
#include <libpmemobj.h>
#include <stdio.h>

#include "accounts.h"

static int Init(void) {
  PMEMobjpool* pool = pmemobj_create("bank", "init", PMEMOBJ_MIN_POOL, 0600);
  if (pool == NULL) return 1;
  TOID(struct accounts) accounts = POBJ_ROOT(pool, struct accounts);
  D_RW(accounts)->from = 100;
  pmemobj_persist(pool, D_RW(accounts), sizeof(struct accounts));
  pmemobj_close(pool);
  return 0;
}

int main(int argc, char** argv) {
  (void)argv;
  if (argc > 1) return Init();
  PMEMobjpool* pool = pmemobj_open("bank", "init");
  if (pool == NULL) return 1;
  TOID(struct accounts) accounts = POBJ_ROOT(pool, struct accounts);
  for (int number = 1; number <= 2; number++) {
    TX_BEGIN(pool) {
      TX_ADD_FIELD(accounts, from);
      TX_ADD_FIELD(accounts, to);
      D_RW(accounts)->from -= 10;
      D_RW(accounts)->to += 10;
    }
    TX_END
    printf("%d\n", number);
  }
  pmemobj_close(pool);
  return 0;
}
