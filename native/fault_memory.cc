// Changes of the memory of processes through their userfaultfds: on the fault server's thread, one
// after the other, and without its mutex.
//
// Why: the kernel makes such a change under the address space's lock (mmap_lock), and a thread of
// the process may hold that lock while it waits for this very mount: munmap(2) of a mapping through
// the page cache writes it back, mmap(2) of a file waits for pages that are being read. If the
// JavaScript thread waited for the lock, or for a mutex whose owner does, nobody would answer that
// request: the daemon could not even be killed. So it only asks here. It waits for a moment, since
// nearly always the change is made at once, and then goes on with something else until it is told.
//
// What the thread waits for so is a READ, a WRITE of the page cache, or times: those are answered
// without waiting for any process. Commands, faults and calls of all processes wait meanwhile.
#include <errno.h>

#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "fault_server.h"

namespace fauxdax {

namespace {

constexpr std::chrono::milliseconds kMomentMax{10};

// For a scope, without the mutex that the caller holds.
class Unlocked {
 public:
  explicit Unlocked(std::mutex* mutex) : mutex_(mutex) { mutex_->unlock(); }
  ~Unlocked() { mutex_->lock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  std::mutex* const mutex_;
};

}  // namespace

uint64_t FaultServer::Append(MemoryChange change) {
  change.number = ++last_change_;
  changes_.push_back(std::move(change));
  return last_change_;
}

uint64_t FaultServer::Queue(MemoryChange change) {
  const uint64_t number = Append(std::move(change));
  if (changes_.size() == 1) Kick();
  return number;
}

void FaultServer::MakeChanges() {
  while (!changes_.empty()) {
    // It stays in the queue while it is made, and nobody else takes from that.
    const MemoryChange& change = changes_.front();
    FaultClient* client = FindClient(change.client);
    int error = ESRCH;
    if (client != nullptr && client->doom.empty()) {
      using Kind = MemoryChange::Kind;
      Userfault& userfault = client->userfault();
      const Unlocked unlocked(&mutex_);
      error = 0;
      if (change.kind == Kind::kRegister) {
        error = userfault.Register(change.whole.address, change.whole.length_bytes);
      }
      if (change.kind == Kind::kFill) error = userfault.Fill(change.whole.address);
      for (const auto& [address, length_bytes] : change.ranges) {
        const int failed = change.kind == Kind::kProtect
                               ? userfault.Protect(address, length_bytes)
                               : userfault.Unprotect(address, length_bytes);
        if (failed != 0) error = failed;
      }
    }
    Finish(change, error);
    made_change_ = change.number;
    changes_.pop_front();
    made_.notify_all();
    if (awaited_change_ == 0) continue;
    Push({.type = FaultEvent::Type::kProtected, .number = made_change_});
    if (made_change_ >= awaited_change_) awaited_change_ = 0;
  }
}

void FaultServer::Finish(const MemoryChange& change, int error) {
  FaultClient* client = FindClient(change.client);
  if (client == nullptr || !client->doom.empty()) return;
  const auto& [address, length_bytes] = change.whole;
  switch (change.kind) {
    case MemoryChange::Kind::kRegister:
      if (error != 0) RemoveParts(client, address, address + length_bytes);
      SendReply(change.channel, error, change.mapping);
      return;
    case MemoryChange::Kind::kUnprotect:
    case MemoryChange::Kind::kWake:
      client->Wake(address, length_bytes);
      break;
    case MemoryChange::Kind::kProtect:
    case MemoryChange::Kind::kFill:
      break;
  }
  if (client->userfault().has_read_ahead()) Kick();
  if (error == 0) return;
  if (error == ESRCH) return;  // its memory is gone, and its helper's channel ends
  Doom(client, std::string("its memory could not be changed: ") + std::strerror(error));
  client->Kill();
}

int FaultServer::Unprotect(FaultClient* client, const std::vector<MemoryRange>& ranges) {
  const Unlocked unlocked(&mutex_);
  int error = 0;
  for (const auto& [address, length_bytes] : ranges) {
    const int failed = client->userfault().Unprotect(address, length_bytes);
    if (failed != 0) error = failed;
  }
  return error;
}

int FaultServer::Register(FaultClient* client, const MemoryRange& range) {
  const Unlocked unlocked(&mutex_);
  return client->userfault().Register(range.address, range.length_bytes);
}

void FaultServer::Fill(FaultClient* client, uint64_t address) {
  int error;
  {
    const Unlocked unlocked(&mutex_);
    error = client->userfault().Fill(address);
  }
  if (error != 0 && error != ESRCH) Doom(client, "its memory could not be filled");
}

void FaultServer::Wake(uint64_t mapping_number, uint64_t file_page, uint64_t page_count) {
  const Turn turn(this);
  const FaultMapping* mapping = FindMapping(mapping_number);
  if (mapping == nullptr || !mapping->Covers(file_page, page_count)) return;
  const MemoryRange whole = {mapping->AddressOf(file_page), page_count << kPageShift};
  FaultClient* client = mapping->client;
  // What wakes too early only faults again.
  if (changes_.empty()) return client->Wake(whole.address, whole.length_bytes);
  Queue({.kind = MemoryChange::Kind::kWake,
         .client = client->number(),
         .whole = whole,
         .ranges = {}});
}

uint64_t FaultServer::WriteProtect(uint64_t mapping_number, uint64_t file_page, uint64_t page_count,
                                   bool on) {
  const Turn turn(this);
  FaultMapping* mapping = FindMapping(mapping_number);
  if (mapping == nullptr || !mapping->Covers(file_page, page_count)) return 0;
  FaultClient* client = mapping->client;
  if (!on) Unsettle(*mapping);
  MemoryChange change = {.kind = on ? MemoryChange::Kind::kProtect : MemoryChange::Kind::kUnprotect,
                         .client = client->number(),
                         .whole = {mapping->AddressOf(file_page), page_count << kPageShift},
                         .ranges = ShownMemory(*mapping, file_page, page_count)};
  // What a later command shows is made protected where it has to be.
  if (on && change.ranges.empty()) return 0;
  return Queue(std::move(change));
}

std::vector<FaultServer::MemoryRange> FaultServer::ShownMemory(const FaultMapping& mapping,
                                                               uint64_t file_page,
                                                               uint64_t page_count) {
  std::vector<MemoryRange> found;
  mapping.client->ForEachPartOf(mapping, file_page, page_count, [&](const FaultClient::Part& part) {
    const uint64_t first = mapping.PageAt(part.address);
    const uint64_t count = (part.end - part.address) >> kPageShift;
    const auto add = [&](const ShownRun& run) {
      found.push_back({mapping.AddressOf(run.file_page), run.page_count << kPageShift});
    };
    mapping.shown.ForEach(first, count, add);
    mapping.client->ForEachShownBefore(mapping, first, count, add);
  });
  return found;
}

bool FaultServer::IsProtected(uint64_t number) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (made_.wait_for(lock, kMomentMax, [&] { return made_change_ >= number; })) return true;
  if (awaited_change_ < number) awaited_change_ = number;
  return false;
}

void FaultServer::ProtectOrKill(int64_t wait_ns_max) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto is_made = [this] { return changes_.empty(); };
  if (made_.wait_for(lock, std::chrono::nanoseconds(wait_ns_max), is_made)) return;
  for (const MemoryChange& change : changes_) {
    FaultClient* client = FindClient(change.client);
    if (client == nullptr || !client->doom.empty()) continue;
    client->Kill();
    Doom(client, "killed: its memory could not be protected in time");
  }
  KickIfDoomed();
}

}  // namespace fauxdax
