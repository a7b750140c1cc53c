// native/shim_write.c (and shim_copy.c) alone, beside a daemon that is only memory: what of a write
// goes into the queue, and when the kernel makes it after all. Prints a line for each thing that
// holds.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim_files.h"

enum { kIno = 7, kSlot = 11 };

struct shim_files shim_files;
static struct wire_files table;
static struct wire_counts counts;
// What lies before a queue is not its business.
static struct {
  uint8_t before[WIRE_WRITE_BYTES_MAX];
  struct wire_queue after;
} shared;
static struct wire_queue* const queue = &shared.after;
static _Atomic uint32_t owner;
static struct wire_file* const slot = &table.files[0][0] + kSlot;
static int changes_to_come;    // before each of the next looks at the generation
static uint64_t next_to_come;  // what somebody else claims before the next look
static bool is_served = true;

bool FilesEnter(int fd) { return fd >= 0; }
void FilesLeave(void) {}
bool FilesAreServed(void) { return is_served; }
void FilesForgetGuess(int fd) { (void)fd; }
long ShimResult(long result) { return result; }

bool FilesGuess(int fd, struct shim_file* file) {
  *file = (struct shim_file){.slot = slot, .ino = kIno};
  return fd >= 0;
}

enum shim_confirmed FilesConfirm(int fd, struct shim_file* file) {
  file->flags = fcntl(fd, F_GETFL);
  return kFileConfirmed;
}

bool FilesIsSame(const struct shim_file* file) {
  if (changes_to_come > 0) {
    changes_to_come--;
    slot->changes++;
  }
  if (next_to_come > 0) counts.next[kSlot] = next_to_come;
  next_to_come = 0;
  return file->slot == slot;
}

bool FilesTakeVectors(const struct iovec* from, int count, struct iovec* vectors,
                      uint64_t* length) {
  memcpy(vectors, from, (size_t)count * sizeof(*from));
  *length = 0;
  for (int i = 0; i < count; i++) *length += from[i].iov_len;
  return true;
}

static void Ok(bool good, const char* name) { printf("%s %s\n", good ? "ok" : "not ok", name); }

static size_t CountOf(enum wire_write_state state) {
  size_t count = 0;
  for (size_t i = 0; i < WIRE_QUEUE_WRITES; i++) count += (queue->writes[i].state & 3) == state;
  return count;
}

// Bytes of the file itself, which only the kernel changes.
static bool Has(int fd, const char* bytes) {
  char seen[8] = "";
  return pread(fd, seen, strlen(bytes), 100) == (ssize_t)strlen(bytes) && strcmp(seen, bytes) == 0;
}

// Whole pages where nothing is yet, of a file whose other pages somebody may be shown.
static void Rooms(int fd) {
  static const char large[2 * PAGE];
  *slot = (struct wire_file){.ino = kIno,
                             .size_bytes = 12 * PAGE,
                             .service = ~(uint64_t)WIRE_FILE_QUEUES,
                             .extent_count = 1,
                             .room_page = 4,
                             .room_end_page = 10,
                             .changes = slot->changes + 1};
  slot->extents[0] = (struct wire_extent){.page_count = 4};
  enum { kNothing, kChange, kTaken, kNewRoom, kShrunk, kPoison, kHeal, kClaim, kNoRoom, kAgain };
  static const struct {
    int before;
    uint64_t page;
    size_t length;
    bool is_queued;
    const char* name;
  } kWrites[] = {
      {kNothing, 3, PAGE, false, "before a room"},
      {kNothing, 5, PAGE, false, "into a room, but not its first page"},
      {kNothing, 4, PAGE - 1, false, "less than a page of a room"},
      {kNothing, 4, PAGE, true, "the first page of a room"},
      {kNothing, 4, PAGE, false, "the same page again"},
      {kNothing, 5, 2 * PAGE, true, "the next two pages"},
      {kNothing, 8, PAGE, false, "the next page but one"},
      {kChange, 7, PAGE, false, "the next page, while there is a change"},
      {kNothing, 4, PAGE, true, "the first page again, after the change"},
      {kTaken, 5, PAGE, false, "a page that the daemon has taken for others"},
      {kNothing, 7, PAGE, true, "the page behind those"},
      {kNothing, 8, 2 * PAGE, true, "the last pages of a room"},
      {kNothing, 10, PAGE, false, "behind a room"},
      {kNewRoom, 10, 2 * PAGE, true, "the first pages of the next room, up to the end"},
      {kShrunk, 10, 2 * PAGE, false, "what would make the file longer"},
      {kPoison, 10, PAGE, false, "while a page is poisoned"},
      {kHeal, 10, PAGE, true, "when none is"},
      {kClaim, 11, PAGE, false, "a page that somebody else claims at the same time"},
      {kNoRoom, 10, PAGE, false, "where no room is to be written so"},
      {kAgain, 10, PAGE, true, "and where it is"},
  };
  for (size_t i = 0; i < sizeof(kWrites) / sizeof(kWrites[0]); i++) {
    switch (kWrites[i].before) {
      case kChange:
        changes_to_come = 1;
        break;
      case kTaken:
        slot->room_page = 7;
        break;
      case kNewRoom:
        slot->changes++;
        slot->room_page = 10;
        slot->room_end_page = 14;
        break;
      case kShrunk:
        slot->changes++;
        slot->size_bytes = 12 * PAGE - 1;
        break;
      case kPoison:
      case kHeal:
        table.poisoned_pages = kWrites[i].before == kPoison;
        break;
      case kClaim:
        slot->size_bytes = 12 * PAGE;
        next_to_come = (slot->changes << WIRE_NEXT_PAGE_BITS) + 12;
        break;
      case kNoRoom:
        slot->changes++;
        slot->service = ~(uint64_t)(WIRE_FILE_QUEUES | WIRE_FILE_QUEUES_ROOM);
        break;
      case kAgain:
        slot->service = ~(uint64_t)WIRE_FILE_QUEUES;
        break;
      default:
        break;
    }
    for (size_t place = 0; place < WIRE_QUEUE_WRITES; place++) queue->writes[place].state = 0;
    (void)!pwrite(fd, large, kWrites[i].length, (off_t)(kWrites[i].page * PAGE));
    Ok((CountOf(WIRE_WRITE_COMMITTED) == 1) == kWrites[i].is_queued &&
           CountOf(WIRE_WRITE_FILLING) == 0,
       kWrites[i].name);
  }
}

int main(void) {
  owner = (uint32_t)getpid();
  shim_files =
      (struct shim_files){.table = &table, .owner = &owner, .counts = &counts, .queue = queue};
  *slot = (struct wire_file){.ino = kIno, .size_bytes = 2 * PAGE, .service = ~UINT64_C(0)};
  slot->extent_count = 1;
  slot->extents[0] = (struct wire_extent){.page_count = 2};
  counts.sequence = 5;
  const int fd = memfd_create("file", 0);
  if (fd < 0 || ftruncate(fd, 2 * PAGE) != 0 || pwrite(-1, "", 1, 0) != -1) return 1;

  bool good = pwrite(fd, "one", 3, 100) == 3 && !Has(fd, "one");
  const struct wire_write* write = &queue->writes[0];
  good = good && write->state == (5 << 2 | WIRE_WRITE_COMMITTED) && write->slot == kSlot &&
         write->ino == kIno && write->offset == 100 && write->length == 3 && write->time > 0 &&
         write->changes == 0 && memcmp(queue->bytes[0], "one", 3) == 0;
  Ok(good && counts.queued[kSlot] == 1 && counts.sequence == 6 && counts.pending == 1,
     "a write is committed with all that the daemon needs");

  changes_to_come = 1;
  good = pwrite(fd, "two", 3, 100) == 3 && !Has(fd, "two") && CountOf(WIRE_WRITE_COMMITTED) == 2;
  Ok(good && CountOf(WIRE_WRITE_FREE) == WIRE_QUEUE_WRITES - 2,
     "after a change it is taken back, and made anew");
  changes_to_come = 100;
  good = pwrite(fd, "tri", 3, 100) == 3 && Has(fd, "tri") && CountOf(WIRE_WRITE_COMMITTED) == 2;
  Ok(good && CountOf(WIRE_WRITE_FREE) == WIRE_QUEUE_WRITES - 2,
     "after several the kernel makes it");
  changes_to_come = 0;

  __atomic_store_n(&queue->is_over, 1, __ATOMIC_SEQ_CST);
  good = pwrite(fd, "for", 3, 100) == 3 && Has(fd, "for") && CountOf(WIRE_WRITE_COMMITTED) == 2;
  Ok(good && CountOf(WIRE_WRITE_FREE) == WIRE_QUEUE_WRITES - 2,
     "where nobody takes it any more, the kernel makes it");
  __atomic_store_n(&queue->is_over, 0, __ATOMIC_SEQ_CST);
  is_served = false;
  good = pwrite(fd, "end", 3, 100) == 3 && Has(fd, "end") && CountOf(WIRE_WRITE_COMMITTED) == 2;
  Ok(good && CountOf(WIRE_WRITE_FREE) == WIRE_QUEUE_WRITES - 2, "and when the daemon is gone");
  is_served = true;

  for (size_t i = 0; i < WIRE_QUEUE_WRITES; i++) queue->writes[i].state = WIRE_WRITE_FILLING;
  const uint64_t sequence = counts.sequence;
  good = pwrite(fd, "fiv", 3, 100) == 3 && Has(fd, "fiv");
  Ok(good && counts.sequence == sequence, "without a free place, too");
  queue->writes[WIRE_QUEUE_WRITES - 1].state = WIRE_WRITE_FREE;
  Ok(pwrite(fd, "six", 3, 100) == 3 && Has(fd, "fiv") && CountOf(WIRE_WRITE_COMMITTED) == 1,
     "the last free place is found");
  queue->writes[0].state = WIRE_WRITE_FREE;
  char* gone = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  Ok(pwrite(fd, gone, 3, 100) == -1 && CountOf(WIRE_WRITE_FREE) == 1,
     "a buffer that is not there leaves its place");
  const struct iovec pieces[2] = {{"se", 2}, {"v", 1}};
  Ok(pwritev(fd, pieces, 2, 2 * PAGE - 3) == 3 && memcmp(queue->bytes[0], "sev", 3) == 0,
     "vectors up to the last byte are one write");
  queue->writes[0].state = WIRE_WRITE_FREE;
  static const char large[WIRE_WRITE_BYTES_MAX + 1];
  const struct {
    off_t offset;
    size_t length;
    int flags;
    uint64_t service;
    const char* name;
  } kKernels[] = {
      {2 * PAGE - 2, 3, 0, 0, "beyond the end"},
      {0, 0, 0, 0, "of nothing"},
      {0, sizeof(large), 0, 0, "of too much"},
      {0, 3, O_APPEND, 0, "to a descriptor that appends"},
      {0, 3, 0, WIRE_FILE_WRITES, "to a file that is not written so"},
      {0, 3, 0, WIRE_FILE_QUEUES, "to one without a queue"},
      {0, 3, 0, WIRE_FILE_READS, "to one that is not read so"},
      {0, 3, 0, WIRE_FILE_NOTHING_TO_KILL, "to one with set-id bits"},
  };
  for (size_t i = 0; i < sizeof(kKernels) / sizeof(kKernels[0]); i++) {
    slot->service = ~kKernels[i].service;
    fcntl(fd, F_SETFL, O_RDWR | kKernels[i].flags);
    good = pwrite(fd, large, kKernels[i].length, kKernels[i].offset) == (ssize_t)kKernels[i].length;
    Ok(good && CountOf(WIRE_WRITE_FREE) == 1, kKernels[i].name);
  }
  fcntl(fd, F_SETFL, O_RDWR);
  slot->service = ~UINT64_C(0);
  slot->size_bytes = 4 * PAGE;
  slot->extents[0] = (struct wire_extent){.file_page = 1, .page_count = 1};
  slot->extents[1] = (struct wire_extent){.file_page = 2, .region_page = 9, .page_count = 1};
  slot->extent_count = 2;
  static const struct {
    off_t offset;
    size_t length;
    bool is_queued;
    const char* name;
  } kPlaces[] = {
      {PAGE - 1, 2, false, "half before what is written"}, {PAGE, 2, true, "at its start"},
      {2 * PAGE - 1, 2, true, "over two pieces of it"},    {3 * PAGE - 2, 2, true, "at its end"},
      {3 * PAGE - 1, 2, false, "half behind it"},          {3 * PAGE, 1, false, "behind it"},
  };
  slot->size_bytes = 3 * PAGE - 1;
  (void)!pwrite(fd, large, 2, 3 * PAGE - 2);
  Ok(CountOf(WIRE_WRITE_FREE) == 1, "inside what is written, but beyond the end");
  slot->size_bytes = 4 * PAGE;
  for (size_t i = 0; i < sizeof(kPlaces) / sizeof(kPlaces[0]); i++) {
    (void)!pwrite(fd, large, kPlaces[i].length, kPlaces[i].offset);
    Ok((CountOf(WIRE_WRITE_FREE) == 0) == kPlaces[i].is_queued, kPlaces[i].name);
    queue->writes[0].state = WIRE_WRITE_FREE;
  }
  Rooms(fd);
  puts("end");
  return 0;
}
