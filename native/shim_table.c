// The table of mappings: parts in the order of their addresses, and the anchors that keep their
// files open. Memory by mmap, grown and never given back: programs map files inside their
// allocators.
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "shim.h"

struct growing {
  void* items;
  size_t count;
  size_t capacity;
};

static struct growing parts;
static struct growing anchors;
struct shim_lock shim_change_lock;
struct shim_lock shim_table_lock;

// Every part lies within; both are of an empty range when there are none.
static _Atomic uint64_t lowest = UINT64_MAX;
static _Atomic uint64_t highest = 0;

// The range that MapVacate holds; the change lock has room for one.
static _Atomic uint64_t vacant_start;
static _Atomic uint64_t vacant_end;

// The one MAP call under way: whether there is one, and the largest number a reply gave.
static _Atomic uint32_t pending_count;
static _Atomic uint64_t newest_number;

static int Grow(struct growing* table, size_t count, size_t item_bytes) {
  if (table->count + count <= table->capacity) return 0;
  const size_t bytes = table->capacity * item_bytes;
  const size_t new_bytes = PageUp((table->count + count) * item_bytes * 2);
  const long memory =
      bytes == 0 ? SysMmap(0, new_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                 : SysMremap((uint64_t)table->items, PageUp(bytes), new_bytes, MREMAP_MAYMOVE, 0);
  if (IsError(memory)) return ENOMEM;
  table->items = (void*)memory;
  table->capacity = new_bytes / item_bytes;
  return 0;
}

bool TableMayTouch(uint64_t start, uint64_t end) {
  const uint64_t high = atomic_load_explicit(&highest, memory_order_relaxed);
  if (start < high && end > atomic_load_explicit(&lowest, memory_order_relaxed)) return true;
  const uint64_t vacated = atomic_load_explicit(&vacant_end, memory_order_relaxed);
  return start < vacated && end > atomic_load_explicit(&vacant_start, memory_order_relaxed);
}

void TableVacant(uint64_t start, uint64_t end) {
  atomic_store(&vacant_start, start);
  atomic_store(&vacant_end, end);
}

static void Limit(void) {
  const struct shim_part* all = parts.items;
  const bool is_empty = parts.count == 0;
  atomic_store_explicit(&lowest, is_empty ? UINT64_MAX : all[0].start, memory_order_relaxed);
  atomic_store_explicit(&highest, is_empty ? 0 : all[parts.count - 1].end, memory_order_relaxed);
}

int TableReserve(size_t count) { return Grow(&parts, count, sizeof(struct shim_part)); }

size_t TableCount(void) { return parts.count; }

struct shim_part* TablePart(size_t index) { return (struct shim_part*)parts.items + index; }

size_t TableFind(uint64_t address) {
  size_t low = 0;
  size_t high = parts.count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (TablePart(middle)->end > address) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

static void InsertAt(size_t index, const struct shim_part* part) {
  memmove(TablePart(index + 1), TablePart(index), (parts.count - index) * sizeof(*part));
  *TablePart(index) = *part;
  parts.count++;
  AnchorAt(part->anchor)->part_count++;
}

void TableInsert(const struct shim_part* part) {
  InsertAt(TableFind(part->start), part);
  Limit();
}

static void CutAt(uint64_t address) {
  const size_t index = TableFind(address);
  if (index == parts.count || TablePart(index)->start >= address) return;
  struct shim_part right = *TablePart(index);
  TablePart(index)->end = address;
  right.offset += address - right.start;
  right.start = address;
  InsertAt(index + 1, &right);
}

size_t TableCut(uint64_t start, uint64_t end) {
  CutAt(start);
  CutAt(end);
  return TableFind(start);
}

bool TableRemove(uint64_t start, uint64_t end) {
  const size_t first = TableCut(start, end);
  size_t after = first;
  for (; after < parts.count && TablePart(after)->start < end; after++) {
    AnchorAt(TablePart(after)->anchor)->part_count--;
  }
  memmove(TablePart(first), TablePart(after), (parts.count - after) * sizeof(struct shim_part));
  parts.count -= after - first;
  Limit();
  return after > first;
}

struct shim_anchor* AnchorAt(uint32_t index) { return (struct shim_anchor*)anchors.items + index; }

int AnchorAdd(const struct shim_anchor* anchor) {
  uint32_t index = 0;
  while (index < anchors.count && AnchorAt(index)->address != 0) index++;
  if (index == anchors.count) {
    if (Grow(&anchors, 1, sizeof(*anchor)) != 0) return -1;
    anchors.count++;
  }
  *AnchorAt(index) = *anchor;
  return (int)index;
}

void AnchorsDrop(void) {
  for (uint32_t index = 0;; index++) {
    Lock(&shim_table_lock);
    uint64_t address = 0;
    while (index < anchors.count) {
      struct shim_anchor* anchor = AnchorAt(index);
      if (anchor->address != 0 && anchor->part_count == 0) {
        address = anchor->address;
        anchor->address = 0;
        break;
      }
      index++;
    }
    Unlock(&shim_table_lock);
    if (address == 0) return;
    SysMunmap(address, PAGE);
  }
}

void TablePending(void) { atomic_store(&pending_count, 1); }

void TableNumbered(uint64_t number) {
  if (number > atomic_load(&newest_number)) atomic_store(&newest_number, number);
  atomic_store(&pending_count, 0);
  FutexWake(&pending_count, INT_MAX);
}

void TableAwaitNumber(uint64_t number) {
  while (number > atomic_load(&newest_number) && atomic_load(&pending_count) != 0) {
    FutexWait(&pending_count, 1);
  }
}
