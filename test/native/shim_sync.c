// native/shim_sync.c alone, beside a daemon and a table that are only memory: what an msync flushes
// by itself, and when the daemon is asked after all. Prints a line for each thing that holds.
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "shim_files.h"

enum { kIno = 7, kSlot = 11, kRegionPages = 512 };
static const uint64_t kStart = 64 * PAGE;  // of the program's mapping, of 32 pages from page 16 on

struct shim_files shim_files;
static struct wire_files table;
static struct wire_file* const slot = &table.files[0][0] + kSlot;
static struct wire_kept* const kept = &slot->kept;
static bool is_ready = true;
static int inside;
static bool is_served = true;
static bool has_queued;
static uint64_t next_number;  // what the list becomes while it is flushed; 0: nothing else
static bool goes_while_flushed;
// The mapping is of one part up to here; behind it lies another, of the same file.
static uint64_t part_end = 32;
static bool is_shared = true;

// It flushes outside of a call, or is inside of one when it has returned.
static bool is_inside_wrong;

static char log_of_calls[256];

static void Note(const char* call, uint64_t first, uint64_t count) {
  char* end = log_of_calls + strlen(log_of_calls);
  snprintf(end, (size_t)(log_of_calls + sizeof(log_of_calls) - end), "%s %lu+%lu; ", call, first,
           count);
}

bool FilesEnterToSync(void) {
  if (is_ready) inside++;
  return is_ready;
}
void FilesLeave(void) { inside--; }
bool FilesAreServed(void) { return is_served; }
long ShimResult(long result) { return result; }
bool TableMayTouch(uint64_t start, uint64_t end) { return start < end; }

bool FilesFind(struct shim_file* file) {
  file->slot = slot;
  return file->ino == kIno;
}

bool FilesHasQueued(const struct shim_file* file) { return file->slot == slot && has_queued; }

void PieceAt(uint64_t start, uint64_t end, struct shim_piece* piece) {
  const uint64_t border = kStart + part_end * PAGE;
  const bool is_first = start < border;
  *piece = (struct shim_piece){.start = start,
                               .end = is_first && end > border ? border : end,
                               .is_ours = true,
                               .part = {.start = is_first ? kStart : border},
                               .anchor = {.ino = kIno, .is_shared = is_shared}};
  piece->part.offset = 16 * PAGE + (piece->part.start - kStart);
}

bool BellCall(const struct wire_request* request, int* error) {
  Note("ask", (request->arguments[0] - kStart) / PAGE, request->arguments[1] / PAGE);
  *error = 0;
  return request->call == WIRE_SYNC;
}

int ShimCall(struct shim_job* job) { return (int)job->request.call; }

void FlushLines(uint64_t how, const uint8_t* start, uint64_t length) {
  const uint64_t page = (uint64_t)(start - shim_files.region) / PAGE;
  Note(how == WIRE_CLWB ? "flush" : "flush wrongly", page, length / PAGE);
  if (inside != 1) is_inside_wrong = true;
  if (goes_while_flushed) kept->number = next_number;
}

void FlushFence(void) { strcat(log_of_calls, "fence; "); }

static void Is(const char* wanted, uint64_t page, uint64_t count, int flags, const char* name) {
  log_of_calls[0] = 0;
  kept->number = 5;
  const int result = msync((void*)(kStart + page * PAGE), count * PAGE, flags);
  const bool good = result == 0 && strcmp(log_of_calls, wanted) == 0;
  if (inside != 0) is_inside_wrong = true;
  printf("%s %s\n", good ? "ok" : "not ok", name);
  if (!good) printf("# %s, not %s\n", log_of_calls, wanted);
}

int main(void) {
  const uint64_t bytes = kRegionPages * PAGE;
  void* region = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) return 1;
  table.flush_instruction = WIRE_CLWB;
  shim_files = (struct shim_files){.table = &table, .region = region, .region_bytes = bytes};
  *slot = (struct wire_file){.ino = kIno};
  kept->run_count = 3;
  kept->runs[0] = (struct wire_extent){2, 100, 1};
  kept->runs[1] = (struct wire_extent){18, 200, 4};
  kept->runs[2] = (struct wire_extent){30, 400, 8};

  Is("flush 200+4; flush 400+8; fence; ", 0, 32, MS_SYNC, "what the mapping has of the list");
  Is("flush 202+2; flush 400+1; fence; ", 4, 11, MS_SYNC, "and of that what is synced");
  Is("fence; ", 0, 2, MS_SYNC, "there, nothing was stored to");
  Is("", 0, 32, MS_ASYNC, "MS_ASYNC is nobody's business");
  part_end = 8;
  Is("ask 0+32; ", 0, 32, MS_SYNC, "two parts are for the daemon, at once");
  Is("flush 400+2; fence; ", 14, 2, MS_SYNC, "but not one of them");
  part_end = 32;
  is_shared = false;
  Is("", 0, 32, MS_SYNC, "a private mapping has nothing to be synced");
  is_shared = true;

  goes_while_flushed = true;
  Is("flush 200+4; flush 400+8; fence; ask 0+32; ", 0, 32, MS_SYNC,
     "a list that is gone when it is flushed was perhaps not all");
  next_number = 6;
  Is("flush 200+4; flush 400+8; fence; ask 0+32; ", 0, 32, MS_SYNC, "nor one that is another");
  goes_while_flushed = false;

  kept->runs[2].region_page = kRegionPages - 7;
  Is("ask 0+32; ", 0, 32, MS_SYNC, "what is not in the region is not touched");
  kept->runs[2].region_page = UINT64_MAX;
  Is("ask 0+32; ", 0, 32, MS_SYNC, "however far away");
  kept->runs[2].region_page = kRegionPages - 8;
  Is("flush 200+4; flush 504+8; fence; ", 0, 32, MS_SYNC, "its last page is");
  kept->run_count = WIRE_FILE_KEPT_MAX + 1;
  Is("ask 0+32; ", 0, 32, MS_SYNC, "nor is a list too long");
  kept->run_count = 3;
  slot->ino = kIno + 1;
  Is("ask 0+2; ", 0, 2, MS_SYNC, "nor is that of the file that has the slot by now");
  slot->ino = kIno;
  bool* const kOff[] = {&is_ready, &is_served};
  const char* const kNames[] = {"who is not attached asks", "who has no daemon asks"};
  const char* const kWanted[] = {"ask 0+2; ", "fence; ask 0+2; "};
  for (size_t i = 0; i < 2; i++) {
    *kOff[i] = false;
    Is(kWanted[i], 0, 2, MS_SYNC, kNames[i]);
    *kOff[i] = true;
  }
  has_queued = true;
  Is("ask 0+2; ", 0, 2, MS_SYNC, "what is queued is the daemon's");
  has_queued = false;
  goes_while_flushed = true;
  next_number = 0;
  kept->number = 0;
  log_of_calls[0] = 0;
  const bool is_zero =
      msync((void*)kStart, PAGE, MS_SYNC) == 0 && strcmp(log_of_calls, "ask 0+1; ") == 0;
  printf("%s without a list the daemon is asked\n", is_zero ? "ok" : "not ok");
  printf("%s while it flushes it is inside of a call\n", is_inside_wrong ? "not ok" : "ok");
  printf("end\n");
  return 0;
}
