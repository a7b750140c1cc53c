// Threads of the shim, and jobs for them. They are no pthreads: a program may hold any lock of its
// allocator when it maps a file, may leave main by pthread_exit and expect the process to end with
// its last thread, and may wait for all pthreads to take part in setuid. They share one table of
// descriptors that is not the program's, so that a program may close all of its own, and have all
// signals blocked. They end with the process.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "shim.h"

enum { kThreadsMax = 20, kAgentsMax = 16, kStackBytes = 64 << 10 };

struct thread {
  uint64_t stack;  // kept for a child of fork, which starts the same threads again
  int (*run)(void*);
  void* argument;
  bool has_own_files;
};

static struct thread threads[kThreadsMax];
static _Atomic uint32_t thread_count;

static struct shim_lock job_lock;
static struct shim_job* first_job;
static struct shim_job** last_link = &first_job;
static _Atomic uint32_t job_sequence;  // changes with every new job
static uint32_t idle_agents;
static uint32_t agent_count;
// Zeroed in a child that has memory of its own, where none of our threads runs: one that is made
// past fork's handlers finds it so, and one of vfork does not.
struct memory {
  _Atomic uint32_t owner;  // number of the process that our threads are of, or would be
  _Atomic uint32_t are_running;
};
static struct memory* memory;

void ThreadsPrepare(void) {
  if (memory == NULL) {
    const long page = SysMmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (IsError(page)) return;
    SysMadvise((uint64_t)page, PAGE, MADV_WIPEONFORK);
    memory = (struct memory*)page;
  }
  ThreadsMayStart();
}

bool ThreadsMayStart(void) {
  if (memory == NULL) return false;
  const uint32_t process = (uint32_t)Sys3(SYS_getpid, 0, 0, 0);
  uint32_t owner = 0;
  return atomic_compare_exchange_strong(&memory->owner, &owner, process) || owner == process;
}

static int ThreadMain(void* argument) {
  const struct thread* thread = argument;
  Sys3(SYS_prctl, PR_SET_NAME, (long)"fauxdax", 0);
  // Without copying or closing any: closing is heard by filesystems.
  if (thread->has_own_files) Sys3(SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE);
  return thread->run(thread->argument);
}

_Static_assert(SYS_clone == 56 && SYS_exit == 60, "as Clone has them");

// clone(2) of a thread that does run(argument) on the memory below `stack`, and ends with it. Not
// by libc's function: thread sanitizers have one of their own, which takes all for forks.
__attribute__((naked, noinline)) static long Clone(long flags, uint64_t stack, int (*run)(void*),
                                                   void* argument) {
  __asm__(
      "sub $16, %rsi\n"
      "mov %rcx, (%rsi)\n"
      "mov %rdx, 8(%rsi)\n"
      "mov $56, %eax\n"
      "syscall\n"
      "test %rax, %rax\n"
      "jnz 1f\n"
      ".cfi_remember_state\n"
      ".cfi_undefined rip\n"  // here a stack trace ends
      "xor %ebp, %ebp\n"
      "pop %rdi\n"
      "pop %rax\n"
      "call *%rax\n"
      "mov %eax, %edi\n"
      "mov $60, %eax\n"
      "syscall\n"
      ".cfi_restore_state\n"
      "1: ret\n");
}

int ThreadStart(int (*run)(void*), void* argument, bool has_own_files) {
  const uint32_t index = atomic_fetch_add(&thread_count, 1);
  if (index >= kThreadsMax) return EAGAIN;
  struct thread* thread = &threads[index];
  if (thread->stack == 0) {
    const long stack = SysMmap(0, kStackBytes + PAGE, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (IsError(stack)) return ENOMEM;
    SysMprotect((uint64_t)stack, PAGE, PROT_NONE);
    thread->stack = (uint64_t)stack;
  }
  thread->run = run;
  thread->argument = argument;
  thread->has_own_files = has_own_files;
  const int flags = CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  const long tid = Clone(flags, thread->stack + PAGE + kStackBytes, ThreadMain, thread);
  return tid < 0 ? EAGAIN : 0;
}

bool ThreadIsOurs(void) {
  const uint64_t here = (uint64_t)__builtin_frame_address(0);
  for (size_t i = 0; i < kThreadsMax; i++) {
    if (threads[i].stack != 0 && here - threads[i].stack < kStackBytes + PAGE) return true;
  }
  return false;
}

static void Finish(struct shim_job* job, int error) {
  job->error = error;
  atomic_store(&job->is_done, 1);
  FutexWake(&job->is_done, 1);  // the job may be gone already, which a wake does not mind
}

static int AgentMain(void* channel);

// Another agent, when nobody is left to wait for the next job, with a channel that this one asks
// for.
static void StartAnother(long channel) {
  int theirs;
  int error = ChannelTake(channel, WIRE_CHANNEL, &theirs, 1);
  if (error == 0) {
    error = ThreadStart(AgentMain, (void*)(intptr_t)theirs, false);
    if (error != 0) SysClose(theirs);
  }
  if (error == 0) return;
  Lock(&job_lock);
  agent_count--;
  Unlock(&job_lock);
}

// The next job.
static struct shim_job* TakeJob(long channel) {
  for (;;) {
    Lock(&job_lock);
    const uint32_t sequence = atomic_load(&job_sequence);
    struct shim_job* job = first_job;
    if (job != NULL) {
      first_job = job->next;
      if (first_job == NULL) last_link = &first_job;
      const bool is_last = idle_agents == 0 && agent_count < kAgentsMax;
      if (is_last) agent_count++;
      Unlock(&job_lock);
      if (is_last) StartAnother(channel);
      return job;
    }
    idle_agents++;
    Unlock(&job_lock);
    FutexWait(&job_sequence, sequence);
    Lock(&job_lock);
    idle_agents--;
    Unlock(&job_lock);
  }
}

// An agent: does one job after the other, with a call channel of its own.
static int AgentMain(void* argument) {
  const long channel = (intptr_t)argument;
  for (;;) {
    struct shim_job* job = TakeJob(channel);
    Finish(job, job->run(job, channel));
  }
  return 0;
}

int AgentsStart(long channel) {
  atomic_store(&memory->are_running, 1);
  agent_count = 1;
  return ThreadStart(AgentMain, (void*)channel, false);
}

bool ThreadsAreRunning(void) { return memory != NULL && atomic_load(&memory->are_running) != 0; }

int JobDo(struct shim_job* job) {
  if (!ThreadsAreRunning()) return EIO;
  job->next = NULL;
  atomic_store(&job->is_done, 0);
  Lock(&job_lock);
  if (atomic_load(&shim_helper.state) != kHelperReady) {
    Unlock(&job_lock);
    return EIO;
  }
  *last_link = job;
  last_link = &job->next;
  atomic_fetch_add(&job_sequence, 1);
  Unlock(&job_lock);
  FutexWake(&job_sequence, 1);
  while (atomic_load(&job->is_done) == 0) FutexWait(&job->is_done, 0);
  return job->error;
}

static int CallJob(struct shim_job* job, long channel) {
  const int error = ChannelAsk(channel, job);
  // What waits for a fault there would wait for ever: nobody is told of a fault in nothing.
  if (job->request.call == WIRE_UNMAP) {
    ShowWake(job->request.arguments[0], job->request.arguments[1]);
  }
  return error;
}

int ShimCall(struct shim_job* job) {
  const uint64_t signals = BlockSignals();
  job->run = CallJob;
  job->request.tid = (uint32_t)Sys3(SYS_gettid, 0, 0, 0);
  const int error = JobDo(job);
  RestoreSignals(signals);
  return error;
}

void JobsFail(void) {
  Lock(&job_lock);
  struct shim_job* job = first_job;
  first_job = NULL;
  last_link = &first_job;
  Unlock(&job_lock);
  while (job != NULL) {
    struct shim_job* next = job->next;
    Finish(job, EIO);
    job = next;
  }
}

void ThreadsForget(void) {
  atomic_store(&thread_count, 0);
  first_job = NULL;
  last_link = &first_job;
  idle_agents = 0;
  agent_count = 0;
  job_lock = (struct shim_lock){0};
}

bool ShimIsRecorded(void) {
  return atomic_load_explicit(&shim_helper.state, memory_order_acquire) == kHelperReady &&
         (shim_helper.mode & WIRE_MODE_RECORDED) != 0;
}

void shim_barrier(const void* address, size_t length, uint32_t flags) {
  if (!ShimIsRecorded()) return;
  ScanObjects();
  struct shim_job job = {.request = {.call = WIRE_FLUSH, .flags = flags}};
  job.request.arguments[0] = (uint64_t)address;
  job.request.arguments[1] = length;
  ShimCall(&job);
}
