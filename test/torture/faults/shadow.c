#include "shadow.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { kCheckBits = 24, kSpins = 200, kEventsShown = 40, kNearPages = 1, kReportWaits = 5000 };

struct shadow* shadow;
__thread int worker;

static size_t Bytes(uint64_t file_lines) {
  return sizeof(struct shadow) + kFiles * file_lines * sizeof(struct line);
}

int ShadowMake(uint64_t seed, uint64_t file_lines) {
  int descriptor = memfd_create("shadow", 0);
  if (descriptor < 0 || ftruncate(descriptor, (off_t)Bytes(file_lines)) < 0) {
    perror("faults: shadow");
    exit(2);
  }
  struct shadow* made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (made == MAP_FAILED) {
    perror("faults: shadow");
    exit(2);
  }
  made->seed = seed;
  made->file_lines = file_lines;
  made->next_stamp = 1;
  pthread_mutexattr_t mutex;
  pthread_mutexattr_init(&mutex);
  pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
  pthread_rwlockattr_t lock;
  pthread_rwlockattr_init(&lock);
  pthread_rwlockattr_setpshared(&lock, PTHREAD_PROCESS_SHARED);
  // Readers are never absent for long.
  pthread_rwlockattr_setkind_np(&lock, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  for (int i = 0; i < kFiles; i++) {
    pthread_mutex_init(&made->files[i].sizing, &mutex);
    pthread_rwlock_init(&made->files[i].places, &lock);
  }
  munmap(made, sizeof *made);
  return descriptor;
}

void ShadowAttach(int descriptor) {
  off_t length = lseek(descriptor, 0, SEEK_END);
  shadow = mmap(NULL, (size_t)length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (shadow == MAP_FAILED) {
    perror("faults: shadow");
    exit(2);
  }
}

static void ShowEvents(int file, uint64_t line) {
  uint64_t end = shadow->next_event, shown = 0;
  uint64_t begin = end > kRing ? end - kRing : 0;
  uint64_t page = line / kPageLines;
  uint64_t numbers[kEventsShown];
  for (uint64_t at = end; at > begin && shown < kEventsShown; at--) {
    const struct event* event = &shadow->events[(at - 1) % kRing];
    if (event->file != file || event->line / kPageLines > page + kNearPages) continue;
    if ((event->line + event->count) / kPageLines + kNearPages < page) continue;
    numbers[shown++] = at - 1;
  }
  fprintf(stderr, "what was begun near it, last %llu:\n", (unsigned long long)shown);
  while (shown-- > 0) {
    const struct event* event = &shadow->events[numbers[shown] % kRing];
    fprintf(stderr, "  %8llu worker %2d %-14s page %llu line %llu, %u lines\n",
            (unsigned long long)event->number, event->worker, event->what,
            (unsigned long long)event->line / kPageLines,
            (unsigned long long)event->line % kPageLines, event->count);
  }
}

/** Not before the report is whole: it may be made by another thread of this process. */
static void __attribute__((noreturn)) EndAfterReport(void) {
  for (int waits = 0; !shadow->has_told && waits < kReportWaits; waits++) usleep(1000);
  _exit(1);
}

void Failed(int file, uint64_t line, const char* format, ...) {
  // The first to fail speaks; the others would only tell what follows from it.
  if (atomic_exchange(&shadow->has_failed, true)) EndAfterReport();
  shadow->ends = true;
  const struct line* state = LineOf(file, line);
  fprintf(stderr, "FAILED: file %d, page %llu, line %llu of it: ", file,
          (unsigned long long)line / kPageLines, (unsigned long long)line % kPageLines);
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(
      stderr,
      "\nworker %d of seed %llu; the line: stamp %llu mask %02x%s%s, in flux %d, sizing %d; the "
      "file has %llu lines\n",
      worker, (unsigned long long)shadow->seed, (unsigned long long)state->stamp, state->mask,
      state->is_loose ? " loose" : "", state->is_touched ? " touched" : "", state->flux,
      state->sizing, (unsigned long long)shadow->files[file].size_lines);
  ShowEvents(file, line);
  shadow->has_told = true;
  _exit(1);
}

void Note(const char* what, int file, uint64_t line, uint64_t count) {
  uint64_t number = atomic_fetch_add(&shadow->next_event, 1);
  struct event* event = &shadow->events[number % kRing];
  *event = (struct event){.number = number,
                          .worker = (uint16_t)worker,
                          .file = (uint16_t)file,
                          .count = (uint32_t)count,
                          .line = line};
  strncpy(event->what, what, sizeof event->what - 1);
}

struct line* LineOf(int file, uint64_t line) {
  return &shadow->lines[(uint64_t)file * shadow->file_lines + line];
}

void LineLock(int file, uint64_t line) {
  _Atomic uint32_t* lock = &LineOf(file, line)->lock;
  for (uint32_t spins = 0;; spins++) {
    uint32_t free = 0;
    if (atomic_compare_exchange_weak(lock, &free, (uint32_t)worker + 1)) return;
    if (spins < kSpins) continue;
    if (shadow->has_failed) EndAfterReport();
    if (spins % 8 == 0)
      usleep(100);
    else
      sched_yield();
  }
}

void LineUnlock(int file, uint64_t line) { atomic_store(&LineOf(file, line)->lock, 0); }

uint64_t NewStamp(void) { return atomic_fetch_add(&shadow->next_stamp, 1); }

static uint64_t Word(int file, uint64_t stamp, int index) {
  uint64_t hash = (stamp * kWords + (uint64_t)index) * kFiles + (uint64_t)file + 1;
  hash *= 0x9e3779b97f4a7c15u;
  hash ^= hash >> 29;
  hash *= 0xbf58476d1ce4e5b9u;
  return stamp << kCheckBits | hash >> (64 - kCheckBits);
}

void LineWords(uint64_t* words, int file, uint64_t stamp) {
  for (int i = 0; i < kWords; i++) words[i] = Word(file, stamp, i);
}

/** Says whose a word is. */
static const char* Tell(uint64_t word, int index) {
  static char text[128];
  if (word == 0) return "zero";
  uint64_t stamp = word >> kCheckBits;
  for (int file = 0; file < kFiles; file++)
    for (int i = 0; i < kWords; i++)
      if (word == Word(file, stamp, i)) {
        snprintf(text, sizeof text, "word %d of write %llu to file %d%s", i,
                 (unsigned long long)stamp, file, i == index ? "" : ", misplaced");
        return text;
      }
  snprintf(text, sizeof text, "nobody's %016llx", (unsigned long long)word);
  return text;
}

void LineCheck(int file, uint64_t line, const volatile uint64_t* words, const char* how) {
  struct line* state = LineOf(file, line);
  uint8_t seen = 0;
  for (int i = 0; i < kWords; i++) {
    uint64_t word = words[i];
    bool is_mine = (state->mask >> i & 1) != 0;
    bool may_be_zero = !is_mine || state->is_loose || state->flux > 0;
    if (word == 0 && may_be_zero) continue;
    if (is_mine && word == Word(file, state->stamp, i)) {
      seen |= (uint8_t)(1 << i);
      continue;
    }
    Failed(file, line, "%s finds in word %d %s", how, i, Tell(word, i));
  }
  if (state->is_loose && state->flux == 0) {
    state->mask = seen;
    state->is_loose = false;
  }
}

void LineCheckWild(int file, uint64_t line, const uint64_t* words, const char* how) {
  for (int i = 0; i < kWords; i++) {
    if (words[i] == 0 || words[i] == Word(file, words[i] >> kCheckBits, i)) continue;
    Failed(file, line, "%s finds in word %d %s", how, i, Tell(words[i], i));
  }
}

void LineStored(int file, uint64_t line, uint64_t stamp) {
  struct line* state = LineOf(file, line);
  state->stamp = stamp;
  state->mask = 0xff;
  state->is_loose = false;
  state->is_touched = state->flux > 0;
}

void FluxBegin(int file, uint64_t from, uint64_t to, bool sizes) {
  for (uint64_t line = from; line < to; line++) {
    LineLock(file, line);
    struct line* state = LineOf(file, line);
    if (state->flux == 0) state->is_touched = false;
    state->flux++;
    state->sizing += sizes;
    LineUnlock(file, line);
  }
}

void FluxEnd(int file, uint64_t from, uint64_t to, bool sizes, bool drops) {
  for (uint64_t line = from; line < to; line++) {
    LineLock(file, line);
    struct line* state = LineOf(file, line);
    state->flux--;
    state->sizing -= sizes;
    if (state->is_touched && !drops) {
      state->is_loose = true;
    } else {
      state->mask = 0;
      state->is_loose = false;
      state->is_touched = false;
    }
    LineUnlock(file, line);
  }
}
