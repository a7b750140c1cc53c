#include "last_words.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "check.h"

namespace fauxdax {

namespace {

constexpr int kLogFd = 2;
constexpr int kLevelFatal = 60;  // pino's
constexpr size_t kStackBytes = 128 << 10;
constexpr size_t kLineBytesMax = 16 << 10;
constexpr int kFramesMax = 48;

struct Death {
  int signal;
  const char* name;
  // The kernel says the address.
  bool is_fault;
};

constexpr Death kDeaths[] = {
    {SIGSEGV, "SIGSEGV", true},      {SIGBUS, "SIGBUS", true},    {SIGILL, "SIGILL", true},
    {SIGFPE, "SIGFPE", true},        {SIGTRAP, "SIGTRAP", false}, {SIGABRT, "SIGABRT", false},
    {SIGSYS, "SIGSYS", false},       {SIGQUIT, "SIGQUIT", false}, {SIGALRM, "SIGALRM", false},
    {SIGUSR2, "SIGUSR2", false},     {SIGPROF, "SIGPROF", false}, {SIGVTALRM, "SIGVTALRM", false},
    {SIGSTKFLT, "SIGSTKFLT", false}, {SIGIO, "SIGIO", false},     {SIGPWR, "SIGPWR", false},
    {SIGXCPU, "SIGXCPU", false},
};
constexpr size_t kDeathCount = sizeof(kDeaths) / sizeof(kDeaths[0]);

// Who handled the signals before; written once, before ours is there.
struct sigaction handled_before[kDeathCount];
// Of the program itself: the path, since its own name becomes the mount's (process.title).
char program_path[4096];
const void* program_base = nullptr;
// The thread that speaks: the first that dies.
std::atomic<bool> is_spoken{false};

// A line of the log, in memory that needs no stack. What does not fit is left out.
class Line {
 public:
  void Begin() {
    struct timespec now = {};
    clock_gettime(CLOCK_REALTIME, &now);
    used_bytes_ = 0;
    Text("{\"level\":");
    Number(kLevelFatal);
    Text(",\"time\":");
    Number(static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000);
    Text(",\"pid\":");
    Number(static_cast<uint64_t>(getpid()));
  }

  void Text(const char* text) {
    for (; *text != '\0'; text++) Put(*text);
  }

  // Of somebody else: what JSON would have to escape is shown as a question mark.
  void Foreign(const char* text) {
    for (; *text != '\0'; text++) {
      const bool is_plain = *text >= ' ' && *text < 0x7f && *text != '"' && *text != '\\';
      Put(is_plain ? *text : '?');
    }
  }

  void Number(uint64_t value, unsigned base = 10) {
    char digits[20];
    int count = 0;
    do {
      digits[count++] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value > 0);
    while (count > 0) Put(digits[--count]);
  }

  void Address(uintptr_t address) {
    Text("0x");
    Number(address, 16);
  }

  // Nothing more can be done when the log takes no line.
  void End(const char* last) {
    Text(last);
    size_t at = 0;
    while (at < used_bytes_) {
      const ssize_t count = write(kLogFd, bytes_ + at, used_bytes_ - at);
      if (count <= 0) return;
      at += static_cast<size_t>(count);
    }
  }

 private:
  void Put(char byte) {
    if (used_bytes_ < kLineBytesMax) bytes_[used_bytes_++] = byte;
  }

  char bytes_[kLineBytesMax];
  size_t used_bytes_ = 0;
};

Line line;

void SayWhat(const Death& death, const siginfo_t& info) {
  line.Begin();
  line.Text(",\"msg\":\"ended by ");
  line.Text(death.name);
  // si_code: above 0 from the kernel.
  if (info.si_code <= 0 && info.si_pid != getpid()) {
    line.Text(", which process ");
    line.Number(static_cast<uint64_t>(info.si_pid));
    line.Text(" of user ");
    line.Number(info.si_uid);
    line.Text(" sent");
  } else if (info.si_code > 0 && death.is_fault) {
    line.Text(" at address ");
    line.Address(reinterpret_cast<uintptr_t>(info.si_addr));
  }
  char name[16] = "";  // TASK_COMM_LEN
  prctl(PR_GET_NAME, name);
  line.Text(", in thread ");
  line.Number(static_cast<uint64_t>(gettid()));
  line.Text(" (");
  line.Foreign(name);
  line.End("): nothing further is committed\"}\n");
}

// `FILE+0xOFFSET`, as addr2line takes it, and the function where its name is in the file.
void SayWhere() {
  void* frames[kFramesMax];
  const int count = backtrace(frames, kFramesMax);
  line.Begin();
  line.Text(",\"frames\":[");
  for (int frame = 0; frame < count; frame++) {
    line.Text(frame == 0 ? "\"" : ",\"");
    const uintptr_t address = reinterpret_cast<uintptr_t>(frames[frame]);
    Dl_info found = {};
    if (dladdr(frames[frame], &found) == 0 || found.dli_fname == nullptr) {
      line.Address(address);
    } else {
      line.Foreign(found.dli_fbase == program_base ? program_path : found.dli_fname);
      line.Text("+");
      line.Address(address - reinterpret_cast<uintptr_t>(found.dli_fbase));
      if (found.dli_sname != nullptr) {
        line.Text(" ");
        line.Foreign(found.dli_sname);
      }
    }
    line.Text("\"");
  }
  line.End("],\"msg\":\"where it ended\"}\n");
}

void OnDeath(int signal, siginfo_t* info, void* context);

void FindProgram() {
  Dl_info found = {};
  if (dladdr(reinterpret_cast<void*>(getauxval(AT_ENTRY)), &found) == 0) return;
  const ssize_t length = readlink("/proc/self/exe", program_path, sizeof(program_path) - 1);
  if (length > 0) program_base = found.dli_fbase;
}

// Whether who handled this signal before us has mended what it was about. Node's handler, when it
// has not, gives the signal its usual action back and raises it, which waits while ours runs.
bool MendedBefore(size_t index, int signal, siginfo_t* info, void* context) {
  const struct sigaction& before = handled_before[index];
  if (before.sa_handler == SIG_DFL) return false;
  before.sa_sigaction(signal, info, context);
  struct sigaction now = {};
  sigaction(signal, nullptr, &now);
  return now.sa_sigaction == OnDeath;
}

void OnDeath(int signal, siginfo_t* info, void* context) {
  size_t index = 0;
  while (index < kDeathCount && kDeaths[index].signal != signal) index++;
  if (index == kDeathCount || MendedBefore(index, signal, info, context)) return;
  // One thread's death is the daemon's: others that die meanwhile wait for it.
  while (is_spoken.exchange(true)) pause();
  SayWhat(kDeaths[index], *info);
  SayWhere();
  struct sigaction usual = {};
  usual.sa_handler = SIG_DFL;
  sigaction(signal, &usual, nullptr);
  // Blocked while we run: it comes when we return, where the thread was.
  raise(signal);
}

}  // namespace

SignalStack::SignalStack() : bytes_(std::make_unique_for_overwrite<std::byte[]>(kStackBytes)) {
  const stack_t ours = {bytes_.get(), 0, kStackBytes};
  CHECK(sigaltstack(&ours, nullptr) == 0, "a thread takes a signal stack");
}

SignalStack::~SignalStack() {
  const stack_t none = {nullptr, SS_DISABLE, 0};
  CHECK(sigaltstack(&none, nullptr) == 0, "a thread loses its signal stack");
}

void SayLastWords() {
  static bool is_done = false;
  if (is_done) return;
  is_done = true;
  static const SignalStack stack;
  // The first call loads a library, which a handler must not.
  void* frame = nullptr;
  backtrace(&frame, 1);
  FindProgram();
  for (size_t index = 0; index < kDeathCount; index++) {
    const Death& death = kDeaths[index];
    struct sigaction& before = handled_before[index];
    CHECK(sigaction(death.signal, nullptr, &before) == 0, "a signal has an action");
    const bool is_chained = death.is_fault && (before.sa_flags & SA_SIGINFO) != 0;
    if (!is_chained && before.sa_handler != SIG_DFL) continue;
    struct sigaction ours = {};
    ours.sa_sigaction = OnDeath;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigfillset(&ours.sa_mask);
    CHECK(sigaction(death.signal, &ours, nullptr) == 0, "a signal takes a handler");
  }
}

}  // namespace fauxdax
