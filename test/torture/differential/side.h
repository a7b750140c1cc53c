// One of the two directories: its open files, its mappings, and the execution of one operation on
// it. Everything an operation lets a program see is in the Outcome. Single threaded.
#pragma once

#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <string>

#include "plan.h"

namespace fxdiff {

struct Outcome {
  int64_t result = 0;
  int error = 0;           // errno, 0 when the call succeeded
  int64_t byte_count = 0;  // bytes in the side's buffer that the call returned
  std::string text;        // names, attribute lists, signals
};

class Side {
 public:
  explicit Side(std::string root);
  ~Side();
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  /** Runs one operation. `world` gives sizes and flags; both sides get the same. */
  Outcome Run(const Op& op, const World& world);

  /** Closes every file and mapping, so that the filesystem can be unmounted. */
  void LetGo();

  std::string Path(int path) const { return root_ + "/" + Paths()[size_t(path)]; }
  const std::string& Root() const { return root_; }
  int Descriptor(int slot) const { return descriptors_[size_t(slot)]; }
  uint8_t* Buffer() { return buffer_; }
  /** Descriptor that follows a mapping after its file was closed; the peer uses it to know the
   * size. */
  int MapDescriptor(int map) const { return maps_[size_t(map)].descriptor; }
  /** Keep a descriptor beside each mapping: only the peer does, the side under test must live
   * without. */
  void FollowMaps() { follow_maps_ = true; }

 private:
  struct Mapping {
    uint8_t* address = nullptr;
    int64_t length = 0;
    int descriptor = -1;
  };

  Outcome RunData(const Op& op, const World& world);
  Outcome RunMapped(const Op& op, const World& world);
  Outcome RunName(const Op& op);
  Outcome RunAttribute(const Op& op, const World& world);
  void Unmap(int map);

  std::string root_;
  std::array<int, kSlotCountMax> descriptors_;
  std::array<Mapping, kMapCountMax> maps_;
  uint8_t* buffer_;
  bool follow_maps_ = false;
};

/** Makes SIGBUS inside a mapping an outcome instead of the end; called once, before the first Run.
 */
void CatchBusErrors();

}  // namespace fxdiff
