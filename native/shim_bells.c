// Calls to the daemon by a thread of the program itself: it rings a bell (wire_bells.h). No thread
// of ours has to be woken for it and to wake it again, and no descriptor is needed, which the
// program could close.
//
// What the daemon does not answer so, because it is gone or every bell is in use, is asked by one
// of our threads.
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "shim.h"
#include "wire_bells.h"

enum { kIdle, kStarting, kReady, kNever };

static _Atomic uint32_t bells_state = kIdle;
static uint64_t bells_start;
static struct wire_bells* requests;
static _Atomic uint64_t last_number;

// Not in a child of fork, which has bells of its own when it wants some; in no dump, for which the
// kernel would load from them.
static long MapAlone(uint64_t length, int prot, int flags, long fd) {
  const long address = SysMmap(0, length, prot, flags | MAP_NORESERVE, fd, 0);
  if (IsError(address)) return address;
  SysMadvise((uint64_t)address, length, MADV_DONTFORK);
  SysMadvise((uint64_t)address, length, MADV_DONTDUMP);
  return address;
}

static int StartJob(struct shim_job* job, long channel) {
  const uint64_t length = WIRE_BELL_COUNT * PAGE;
  const long start = MapAlone(length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  if (IsError(start)) return (int)-start;
  job->request.arguments[0] = (uint64_t)start;
  int fd = -1;
  int error = ChannelCall(channel, &job->request, -1, &job->reply, &fd, 1);
  if (error == 0) error = job->reply.error;
  long mapped = 0;
  if (error == 0) {
    mapped = MapAlone(sizeof(*requests), PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    SysClose(fd);
    if (IsError(mapped)) error = (int)-mapped;
  }
  if (error != 0) {
    SysMunmap((uint64_t)start, length);
    return error;
  }
  bells_start = (uint64_t)start;
  requests = (struct wire_bells*)mapped;
  return 0;
}

static bool AreReady(void) {
  // A child that was made past fork's handlers has none of this memory.
  if (!ThreadsAreRunning()) return false;
  uint32_t state = kIdle;
  if (atomic_compare_exchange_strong(&bells_state, &state, kStarting)) {
    struct shim_job job = {.request = {.call = WIRE_BELLS}, .run = StartJob};
    job.request.tid = (uint32_t)Sys3(SYS_gettid, 0, 0, 0);
    state = JobDo(&job) == 0 ? kReady : kNever;
    atomic_store(&bells_state, state);
  }
  return state == kReady;
}

void BellsForget(void) { atomic_store(&bells_state, kIdle); }

// A bell that is the caller's; NULL when there is none.
static struct wire_bell* Take(uint64_t* address) {
  for (uint32_t i = 0; i < WIRE_BELL_COUNT; i++) {
    struct wire_bell* bell = &requests->bells[i];
    uint64_t is_free = WIRE_BELL_FREE;
    if (__atomic_load_n(&bell->state, __ATOMIC_RELAXED) != WIRE_BELL_FREE) continue;
    if (__atomic_compare_exchange_n(&bell->state, &is_free, WIRE_BELL_FILLING, false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
      *address = bells_start + i * PAGE;
      return bell;
    }
  }
  return NULL;
}

bool BellCall(const struct wire_request* request, int* error) {
  const uint64_t signals = BlockSignals();
  uint64_t address;
  struct wire_bell* bell = AreReady() ? Take(&address) : NULL;
  bool is_answered = false;
  if (bell != NULL) {
    const uint64_t number = atomic_fetch_add(&last_number, 1) + 1;
    bell->call = request->call;
    bell->tid = (uint32_t)Sys3(SYS_gettid, 0, 0, 0);
    bell->arguments[0] = request->arguments[0];
    bell->arguments[1] = request->arguments[1];
    __atomic_store_n(&bell->state, number << 2 | WIRE_BELL_ASKED, __ATOMIC_SEQ_CST);
    (void)*(volatile const uint8_t*)address;  // waits here
    const uint64_t state = __atomic_load_n(&bell->state, __ATOMIC_SEQ_CST);
    is_answered = state == (number << 2 | WIRE_BELL_ANSWERED);
    *error = bell->error;
    SysMadvise(address, PAGE, MADV_DONTNEED);
    __atomic_store_n(&bell->state, WIRE_BELL_FREE, __ATOMIC_SEQ_CST);
  }
  RestoreSignals(signals);
  return is_answered;
}
