#include "fault_client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <string_view>

#include "check.h"
#include "packet_socket.h"

namespace fauxdax {

namespace {

// Packets sent and not done: few, so that they always fit the socket of a helper that is stopped.
constexpr size_t kPacketsMax = 4;

// The state of a thread, as in /proc/PID/stat; 0 when it cannot be read.
char StateOf(const std::string& stat_path) {
  FILE* file = fopen(stat_path.c_str(), "re");
  if (file == nullptr) return 0;
  char text[512];
  const size_t length = fread(text, 1, sizeof(text), file);
  fclose(file);
  // The name of the command may hold anything; what follows its last bracket does not.
  const std::string_view line(text, length);
  const size_t bracket = line.rfind(')');
  return bracket == std::string_view::npos || bracket + 2 >= line.size() ? 0 : line[bracket + 2];
}

}  // namespace

FaultClient::FaultClient(uint64_t number, uint32_t pid, uint32_t helper_tid, int helper_fd,
                         int uffd, int pidfd)
    : number_(number),
      pid_(pid),
      helper_tid_(helper_tid),
      helper_fd_(helper_fd),
      pidfd_(pidfd),
      userfault_(uffd) {}

FaultClient::~FaultClient() { close(pidfd_); }

bool FaultClient::HasParts(uint64_t address, uint64_t length_bytes) const {
  bool any = false;
  ForEachPart(address, address + length_bytes, [&](const Part&) { any = true; });
  return any;
}

void FaultClient::AddPart(FaultMapping* mapping) {
  const uint64_t end = mapping->AddressOf(mapping->file_page + mapping->page_count);
  parts_.emplace(mapping->address, Part{mapping->address, end, mapping});
}

const FaultClient::Part* FaultClient::Find(uint64_t address) const {
  const auto next = parts_.upper_bound(address);
  if (next == parts_.begin()) return nullptr;
  const Part& part = std::prev(next)->second;
  return part.end > address ? &part : nullptr;
}

uint64_t FaultClient::Command(FaultMapping* mapping, const ShownRun& run, uint32_t kind,
                              uint32_t flags, Asker asker) {
  if (commands_.size() >= kCommandsMax) return 0;
  UnderWay& added = commands_.emplace_back();
  added.command = {++last_number_,
                   kind,
                   flags,
                   mapping->number,
                   mapping->AddressOf(run.file_page),
                   run.page_count << kPageShift,
                   kind == WIRE_REGION ? run.region_page << kPageShift : 0};
  added.mapping = mapping;
  added.file_page = run.file_page;
  added.page_count = run.page_count;
  added.asker = asker;
  mapping->shown.ForEach(run.file_page, run.page_count,
                         [&](const ShownRun& before) { added.before.push_back(before); });
  mapping->shown.Clear(run.file_page, run.page_count);
  if (kind == WIRE_REGION) mapping->shown.Set(run);
  return last_number_;
}

int FaultClient::SendCommands(int64_t now_ns) {
  wire_command packet[WIRE_COMMANDS_MAX];
  while (packets_.size() < kPacketsMax && sent_ < commands_.size()) {
    size_t count = 0;
    while (count < WIRE_COMMANDS_MAX && sent_ + count < commands_.size()) {
      packet[count] = commands_[sent_ + count].command;
      count++;
    }
    const int error = SendPacket(helper_fd_, packet, count * sizeof(packet[0]), {});
    if (error != 0) return error;
    sent_ += count;
    packets_.push_back({packet[count - 1].number, now_ns});
  }
  return 0;
}

bool FaultClient::Done(uint64_t number, int64_t now_ns) {
  if (packets_.empty() || packets_.front().last_number != number) return false;
  packets_.pop_front();
  // The next one could not be done before.
  if (!packets_.empty()) packets_.front().since_ns = now_ns;
  while (!commands_.empty() && commands_.front().command.number <= number) {
    CHECK(sent_ > 0, "what is done was sent");
    commands_.pop_front();
    sent_--;
  }
  LetGo();
  return true;
}

void FaultClient::Hold(uint64_t address, uint64_t end) {
  held_ = address;
  held_end_ = end;
  LetGo();
}

void FaultClient::LetGo() {
  // Those that still have to wait are held back again.
  const std::vector<uint64_t> held_back = std::move(held_back_);
  held_back_.clear();
  for (const uint64_t page_address : held_back) userfault_.Wake(page_address, kPageBytes);
}

void FaultClient::Forget(const FaultMapping* mapping) {
  for (UnderWay& under_way : commands_) {
    if (under_way.mapping == mapping) under_way.mapping = nullptr;
  }
}

bool FaultClient::IsCommanded(const FaultMapping& mapping, uint64_t file_page) const {
  for (const UnderWay& under_way : commands_) {
    if (under_way.asker == Asker::kJavaScript && under_way.mapping == &mapping &&
        file_page >= under_way.file_page &&
        file_page - under_way.file_page < under_way.page_count) {
      return true;
    }
  }
  return false;
}

int64_t FaultClient::SilentNs(int64_t now_ns) {
  if (packets_.empty()) return 0;
  if (IsStopped()) {
    packets_.front().since_ns = now_ns;
    // The number is the process's word: a thread of another's is none of ours.
    if (StateOf(TaskPath()) != 0) stopped_helper_.Run(static_cast<pid_t>(helper_tid_));
  }
  return now_ns - packets_.front().since_ns;
}

std::string FaultClient::TaskPath() const {
  return "/proc/" + std::to_string(pid_) + "/task/" + std::to_string(helper_tid_) + "/stat";
}

bool FaultClient::IsStopped() const {
  const char state = StateOf("/proc/" + std::to_string(pid_) + "/stat");
  const char helper = StateOf(TaskPath());
  return state == 'T' || state == 't' || helper == 'T' || helper == 't';
}

void FaultClient::Kill() { (void)syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0); }

bool FaultClient::HasEnded() const {
  return syscall(SYS_pidfd_send_signal, pidfd_, 0, nullptr, 0) != 0 && errno == ESRCH;
}

void FaultClient::Wake(uint64_t address, uint64_t length_bytes) {
  told_.erase(told_.lower_bound(address), told_.lower_bound(address + length_bytes));
  userfault_.Wake(address, length_bytes);
}

}  // namespace fauxdax
