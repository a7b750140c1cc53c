// One process under `fauxdax run`, as the daemon knows it: where its mappings lie, the commands its
// helper thread has not done yet, and the faults that wait for an answer. Addresses are bytes.
//
// Not thread safe: the fault server's mutex is held around every call. Nothing here waits for the
// process.
#ifndef FAUXDAX_FAULT_CLIENT_H_
#define FAUXDAX_FAULT_CLIENT_H_

#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "bells.h"
#include "fault_mapping.h"
#include "stopped_helper.h"
#include "userfault.h"
#include "wire.h"

namespace fauxdax {

class FaultClient {
 public:
  static constexpr size_t kPartsMax = 1 << 16;
  static constexpr size_t kCommandsMax = 1 << 20;

  // A part of a mapping that is still there.
  struct Part {
    uint64_t address;
    uint64_t end;
    FaultMapping* mapping;
  };

  // `helper_channel` carries commands; both descriptors of the process are taken over, the
  // channel's is the server's.
  FaultClient(uint64_t number, uint32_t pid, uint32_t helper_tid, int helper_fd, int uffd,
              int pidfd);
  ~FaultClient();
  FaultClient(const FaultClient&) = delete;
  FaultClient& operator=(const FaultClient&) = delete;

  uint64_t number() const { return number_; }
  uint32_t pid() const { return pid_; }
  Userfault& userfault() { return userfault_; }

  bool HasParts(uint64_t address, uint64_t length_bytes) const;
  size_t part_count() const { return parts_.size(); }
  // The range is free.
  void AddPart(FaultMapping* mapping);
  // The part that holds an address, or nullptr. Valid until parts change.
  const Part* Find(uint64_t address) const;
  // Takes [address, end) out, and calls gone(mapping, file_page, page_count) for what was there.
  template <typename Gone>
  void RemoveParts(uint64_t address, uint64_t end, Gone gone);
  // Calls take(const Part&), clipped to [address, end), ascending.
  template <typename Take>
  void ForEachPart(uint64_t address, uint64_t end, Take take) const;
  // The same for the parts of one mapping.
  template <typename Take>
  void ForEachPartOf(const FaultMapping& mapping, uint64_t file_page, uint64_t page_count,
                     Take take) const;

  // Who wants to know that a command is done: JavaScript, or nobody but this end.
  enum class Asker { kJavaScript, kServer };
  // Queues a command that shows the pages, of WIRE_REGION those of the region, and gives it its
  // number, which is returned; the mapping shows it from here on. 0 when there are too many.
  uint64_t Command(FaultMapping* mapping, const ShownRun& run, uint32_t kind, uint32_t flags,
                   Asker asker);
  // Sends what may be sent. 0, or the error of a helper that does not read.
  int SendCommands(int64_t now_ns);
  // The helper says it has done its oldest packet, whose last number this is; false when it lies.
  // Threads whose faults were held back because of it try again.
  bool Done(uint64_t number, int64_t now_ns);
  // The last number that was given.
  uint64_t last_number() const { return last_number_; }
  bool any_command() const { return !commands_.empty(); }
  // Calls take(const wire_command&, Asker) for those up to that number, in order.
  template <typename Take>
  void ForEachCommand(uint64_t number, Take take) const;
  // Calls take(file_page, page_count) for what of a file the server itself is making storable.
  template <typename Take>
  void ForEachBeingStorable(uint64_t ino, Take take) const;
  // No part of the mapping is left.
  void Forget(const FaultMapping* mapping);
  // A page is being changed by a command, otherwise than made storable.
  bool IsCommanded(const FaultMapping& mapping, uint64_t file_page) const;
  // Calls take(const ShownRun&) for what pages of the mapping showed before commands under way.
  template <typename Take>
  void ForEachShownBefore(const FaultMapping& mapping, uint64_t file_page, uint64_t page_count,
                          Take take) const;

  // The helper has not done a packet for that long, while it could run; 0 when nothing is due. Of a
  // process that is stopped it is made to run.
  int64_t SilentNs(int64_t now_ns);
  void Kill();
  bool HasEnded() const;

  // A fault waits for an answer: false when it does already.
  bool Tell(uint64_t page_address) { return told_.insert(page_address).second; }
  // Answered, for a range: its threads try again.
  void Wake(uint64_t address, uint64_t length_bytes);
  // The fault waits until the commands on its page are done, and no longer for Hold().
  void HoldBack(uint64_t page_address) { held_back_.push_back(page_address); }
  // Stores to private mappings in [address, end) wait from here on; those elsewhere no longer do.
  void Hold(uint64_t address, uint64_t end);
  bool IsHeld(uint64_t address) const { return held_ <= address && address < held_end_; }

  // Huge pages that it asked the kernel for in vain since it last got one.
  uint32_t small_count = 0;
  // Why it is to go; empty as long as it may stay.
  std::string doom;
  // Null until it asks for them; then for good.
  std::unique_ptr<Bells> bells;

 private:
  struct UnderWay {
    wire_command command;
    const FaultMapping* mapping;  // nullptr when it is gone
    uint64_t file_page;
    uint64_t page_count;
    Asker asker;
    std::vector<ShownRun> before;
  };
  struct Packet {
    uint64_t last_number;
    int64_t since_ns;
  };

  // Whoever is held back tries again.
  void LetGo();
  // What /proc says of the helper.
  std::string TaskPath() const;
  bool IsStopped() const;

  const uint64_t number_;
  const uint32_t pid_;
  const uint32_t helper_tid_;
  const int helper_fd_;
  const int pidfd_;
  Userfault userfault_;
  StoppedHelper stopped_helper_;
  std::map<uint64_t, Part> parts_;  // by address, apart
  std::deque<UnderWay> commands_;   // not done, in order; the first sent_ of them are sent
  size_t sent_ = 0;
  std::deque<Packet> packets_;  // sent, not done
  uint64_t last_number_ = 0;
  std::set<uint64_t> told_;
  // Faults that were held back, and the range of Hold().
  std::vector<uint64_t> held_back_;
  uint64_t held_ = 0;
  uint64_t held_end_ = 0;
};

template <typename Gone>
void FaultClient::RemoveParts(uint64_t address, uint64_t end, Gone gone) {
  auto next = parts_.upper_bound(address);
  if (next != parts_.begin() && std::prev(next)->second.end > address) --next;
  while (next != parts_.end() && next->first < end) {
    const Part part = next->second;
    next = parts_.erase(next);
    if (part.address < address) {
      parts_.emplace(part.address, Part{part.address, address, part.mapping});
    }
    if (part.end > end) parts_.emplace(end, Part{end, part.end, part.mapping});
    const uint64_t from = part.address < address ? address : part.address;
    const uint64_t to = part.end < end ? part.end : end;
    gone(part.mapping, part.mapping->PageAt(from), (to - from) >> kPageShift);
  }
}

template <typename Take>
void FaultClient::ForEachPart(uint64_t address, uint64_t end, Take take) const {
  auto next = parts_.upper_bound(address);
  if (next != parts_.begin() && std::prev(next)->second.end > address) --next;
  for (; next != parts_.end() && next->first < end; ++next) {
    const Part& part = next->second;
    take(Part{part.address < address ? address : part.address, part.end < end ? part.end : end,
              part.mapping});
  }
}

template <typename Take>
void FaultClient::ForEachPartOf(const FaultMapping& mapping, uint64_t file_page,
                                uint64_t page_count, Take take) const {
  const uint64_t address = mapping.AddressOf(file_page);
  ForEachPart(address, address + (page_count << kPageShift), [&](const Part& part) {
    if (part.mapping == &mapping) take(part);
  });
}

template <typename Take>
void FaultClient::ForEachCommand(uint64_t number, Take take) const {
  for (const UnderWay& under_way : commands_) {
    if (under_way.command.number > number) return;
    take(under_way.command, under_way.asker);
  }
}

template <typename Take>
void FaultClient::ForEachBeingStorable(uint64_t ino, Take take) const {
  for (const UnderWay& under_way : commands_) {
    if (under_way.asker != Asker::kServer || under_way.mapping == nullptr) continue;
    if (under_way.mapping->ino == ino) take(under_way.file_page, under_way.page_count);
  }
}

template <typename Take>
void FaultClient::ForEachShownBefore(const FaultMapping& mapping, uint64_t file_page,
                                     uint64_t page_count, Take take) const {
  const uint64_t end_page = file_page + page_count;
  for (const UnderWay& under_way : commands_) {
    if (under_way.mapping != &mapping) continue;
    for (const ShownRun& run : under_way.before) {
      if (run.file_page < end_page && run.file_page + run.page_count > file_page) {
        take(Clip(run, file_page, end_page));
      }
    }
  }
}

}  // namespace fauxdax

#endif  // FAUXDAX_FAULT_CLIENT_H_
