// The root of the pool: two accounts, on lines of their own.
#include <libpmemobj.h>
#include <stdint.h>

struct accounts {
  uint64_t before[8];
  uint64_t from;
  uint64_t between[8];
  uint64_t to;
};

POBJ_LAYOUT_BEGIN(bank);
POBJ_LAYOUT_ROOT(bank, struct accounts);
POBJ_LAYOUT_END(bank);
