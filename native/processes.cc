#include "processes.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "own_thread.h"

namespace fauxdax {

namespace {

constexpr int64_t kLookAgainNs = 5'000'000;
constexpr std::chrono::milliseconds kLookMsMax{200};
constexpr size_t kThreadsMax = 4096;
constexpr size_t kFileBytesMaxRead = 4096;
// Fields of /proc/PID/stat behind the short name; the first there is number 3.
constexpr int kParentField = 4;
constexpr int kStartField = 22;
constexpr int kCodeField = 26;
constexpr int kArgumentsField = 48;

// The first bytes of /proc/TID/NAME; empty when it cannot be read.
std::string ReadProc(uint32_t tid, const char* name) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%u/%s", tid, name);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char bytes[kFileBytesMaxRead];
  const ssize_t count = read(fd, bytes, sizeof(bytes));
  close(fd);
  return count > 0 ? std::string(bytes, count) : std::string();
}

// The number behind `label` in /proc/TID/status; `otherwise` when it is not there.
uint32_t StatusNumber(const std::string& status, const char* label, uint32_t otherwise) {
  const size_t at = status.find(label);
  if (at == std::string::npos) return otherwise;
  return static_cast<uint32_t>(std::strtoul(status.c_str() + at + std::strlen(label), nullptr, 10));
}

}  // namespace

Processes::Processes() {
  thread_ = StartThread([this] { Run(); });
}

Processes::~Processes() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    wanted_.notify_one();
  }
  thread_.join();
}

bool Processes::Look(uint32_t tid, int64_t now_ns, uint32_t* pid, Process* news) {
  const auto found = threads_.find(tid);
  *pid = found == threads_.end() ? tid : found->second.pid;
  if (found != threads_.end() && now_ns - found->second.looked_ns < kLookAgainNs) return false;

  const std::string stat = ReadProc(tid, "stat");
  // The short name may hold anything, also brackets.
  const size_t open = stat.find('(');
  const size_t close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return false;
  Identity identity;
  identity.short_name = stat.substr(open + 1, close - open - 1);
  uint32_t parent_pid = 0;
  const char* next = stat.c_str() + close + 2;
  for (int field = 3; next != nullptr && field <= kArgumentsField; ++field) {
    const uint64_t number = std::strtoull(next, nullptr, 10);
    if (field == kParentField) parent_pid = static_cast<uint32_t>(number);
    if (field == kStartField) identity.start_ticks = number;
    if (field == kCodeField) identity.code_address = number;
    if (field == kArgumentsField) identity.arguments_address = number;
    next = std::strchr(next, ' ');
    if (next != nullptr) next++;
  }
  if (found != threads_.end() && found->second.identity == identity) {
    found->second.looked_ns = now_ns;
    return false;
  }

  // Forgotten ones are said again, which is no harm.
  if (threads_.size() >= kThreadsMax) {
    threads_.clear();
    processes_.clear();
  }
  *pid = StatusNumber(ReadProc(tid, "status"), "\nTgid:", tid);
  threads_[tid] = {*pid, now_ns, identity};
  // Threads of a process have start times of their own; what an exec changes they have in common.
  Identity shared = identity;
  if (*pid != tid) {
    shared.start_ticks = 0;
    const auto known = processes_.find(*pid);
    if (known != processes_.end()) {
      shared.start_ticks = known->second.start_ticks;
      shared.short_name = known->second.short_name;
    }
  }
  const auto [entry, is_new] = processes_.try_emplace(*pid);
  if (!is_new && entry->second == shared) return false;
  *news = {*pid, parent_pid, "[" + identity.short_name + "]"};
  if (ReadCommandLine(tid, &news->command)) {
    entry->second = shared;
  } else {
    // The next look tries again.
    processes_.erase(entry);
    threads_.at(tid).identity = {};
  }
  return true;
}

bool Processes::ReadCommandLine(uint32_t tid, std::string* command) {
  std::unique_lock lock(mutex_);
  // Still at an earlier one, which somebody holds up.
  if (asked_tid_ != 0) return false;
  asked_tid_ = tid;
  wanted_.notify_one();
  if (!done_.wait_for(lock, kLookMsMax, [this] { return asked_tid_ == 0; })) return false;
  if (answer_.empty()) return false;
  *command = std::move(answer_);
  return true;
}

void Processes::Run() {
  pthread_setname_np(pthread_self(), "fauxdax-look");
  std::unique_lock lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [this] { return stop_ || asked_tid_ != 0; });
    if (stop_) return;
    const uint32_t tid = asked_tid_;
    lock.unlock();
    std::string command = ReadProc(tid, "cmdline");
    while (!command.empty() && command.back() == '\0') command.pop_back();
    for (char& letter : command) {
      if (letter == '\0' || letter == '\n') letter = ' ';
    }
    lock.lock();
    answer_ = std::move(command);
    asked_tid_ = 0;
    done_.notify_one();
  }
}

}  // namespace fauxdax
