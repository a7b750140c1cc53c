/* A private mapping that is moved while threads store to it. */
#include "shim_program.h"

#include <pthread.h>
#include <stdatomic.h>

enum { kMovers = 400, kStorers = 3, kPages = 64, kPunchers = 20, kMoversAmidCalls = 100 };
/* Two places far below all that the kernel chooses by itself: nothing else comes to lie there. */
static char* const kPlaces[2] = {(char*)0x500000000000, (char*)0x510000000000};

static atomic_int is_over;
static atomic_int failures;
static __thread sigjmp_buf retry;

static void Retry(int signal) { siglongjmp(retry, signal); }

// Adds one to a number of the mapping, wherever that lies. A place where it does not lie is SIGSEGV;
// at no moment does it lie in none, nor show what it showed before.
static void Increment(size_t offset, uint64_t before, volatile size_t* place) {
  volatile size_t tries = 0;
  if (sigsetjmp(retry, 1) != 0) *place = 1 - *place;
  if (++tries > 1000000) {
    failures++;
    return;
  }
  uint64_t* at = (uint64_t*)(kPlaces[*place] + offset);
  if (__atomic_load_n(at, __ATOMIC_RELAXED) != before) failures++;
  __asm__ volatile("incq %0" : "+m"(*at));
}

static uint64_t stored[kStorers][kPages];

static void* Storing(void* argument) {
  const size_t number = (size_t)argument;
  volatile size_t place = 0;
  for (volatile size_t count = 0; !atomic_load(&is_over); count++) {
    // New pages become the process's own now and then, others have long been.
    const size_t page = count % (1 + (count >> 8) % kPages);
    const size_t offset = page * PAGE + number * 64;
    Increment(offset, stored[number][page], &place);
    stored[number][page]++;
  }
  return NULL;
}

static bool HasAll(const char* at) {
  for (size_t number = 0; number < kStorers; number++) {
    for (size_t page = 0; page < kPages; page++) {
      const uint64_t* seen = (const uint64_t*)(at + page * PAGE + number * 64);
      if (*seen != stored[number][page]) return false;
    }
  }
  return true;
}

static void* Punching(void* argument) {
  char* page = argument;
  while (!atomic_load(&is_over)) {
    if (madvise(page, PAGE, MADV_REMOVE) != 0) failures++;
  }
  return NULL;
}

// More calls than the shim has threads for wait for the helper, which obeys nothing for a mapping
// that is on its way.
static void MoveAmidCalls(char* at, char* shared) {
  atomic_store(&is_over, 0);
  failures = 0;
  pthread_t threads[kPunchers];
  for (size_t i = 0; i < kPunchers; i++) {
    Must(pthread_create(&threads[i], NULL, Punching, shared + (kPages - 1) * PAGE) == 0,
         "pthread_create");
  }
  for (int i = 0; i < kMoversAmidCalls; i++) {
    char* target = kPlaces[(i + 1) % 2];
    at = mremap(at, kPages * PAGE, kPages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    Must(at == target, "mremap amid calls");
  }
  atomic_store(&is_over, 1);
  for (size_t i = 0; i < kPunchers; i++) pthread_join(threads[i], NULL);
  Equal(failures, 0, "it is moved while calls take all threads of the shim");
}

void MovingCases(void) {
  char* shared = Map(kPages, RW, MAP_SHARED, 0);
  shared[3 * PAGE + 1000] = 's';
  const int fd = OpenFile(O_RDWR);
  char* at = mmap(kPlaces[0], kPages * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0);
  Must(at == kPlaces[0], "mmap");
  struct sigaction action = {.sa_handler = Retry, .sa_flags = SA_NODEFER};
  struct sigaction before;
  sigaction(SIGSEGV, &action, &before);
  pthread_t threads[kStorers];
  for (size_t i = 0; i < kStorers; i++) {
    Must(pthread_create(&threads[i], NULL, Storing, (void*)i) == 0, "pthread_create");
  }
  const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
  for (int i = 0; i < kMovers; i++) {
    char* target = kPlaces[(i + 1) % 2];
    at = mremap(at, kPages * PAGE, kPages * PAGE, flags, target);
    Must(at == target, "mremap");
  }
  atomic_store(&is_over, 1);
  for (size_t i = 0; i < kStorers; i++) pthread_join(threads[i], NULL);
  sigaction(SIGSEGV, &before, NULL);
  Equal(failures, 0, "each store was where the mapping was");
  Ok(HasAll(at), "and none is lost");
  Equal(at[3 * PAGE + 1000], 's', "the rest of a page is the file's");
  MoveAmidCalls(at, shared);
}
