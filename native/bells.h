// The bells of one process under `fauxdax run` (wire_bells.h): the daemon's side of the requests in
// shared memory. What is in it is the process's word. Not thread safe: the fault server's mutex is
// held around every call.
#ifndef FAUXDAX_BELLS_H_
#define FAUXDAX_BELLS_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "units.h"
#include "wire_bells.h"

namespace fauxdax {

class Bells {
 public:
  struct Asked {
    size_t bell;
    uint64_t number;
    uint32_t call;
    uint32_t tid;
    uint64_t arguments[2];
  };

  // For bells that lie at `address` of the process, which maps the requests by *fd; that is the
  // caller's. Errors: those of memfd_create(2), ftruncate(2), mmap(2).
  [[nodiscard]] static int Make(uint64_t address, std::unique_ptr<Bells>* out, int* fd);
  ~Bells();
  Bells(const Bells&) = delete;
  Bells& operator=(const Bells&) = delete;

  // Bytes.
  uint64_t AddressOf(size_t bell) const { return address_ + bell * kPageBytes; }
  bool Holds(uint64_t address) const {
    return address >= address_ && address - address_ < WIRE_BELL_COUNT * kPageBytes;
  }
  size_t At(uint64_t address) const { return (address - address_) / kPageBytes; }

  // What is asked at a bell; false when nothing is.
  bool Read(size_t bell, Asked* asked) const;
  // Nothing happens when it is not asked any more.
  void Answer(const Asked& asked, int error);

  // One call at a time is under way for a bell; others who ring it wait for its end.
  bool is_busy(size_t bell) const { return busy_ & (uint64_t{1} << bell); }
  void SetBusy(size_t bell, bool on);

 private:
  Bells(uint64_t address, wire_bells* shared) : address_(address), shared_(shared) {}

  const uint64_t address_;
  wire_bells* const shared_;
  uint64_t busy_ = 0;  // a bit for each bell

  static_assert(WIRE_BELL_COUNT <= 64);
};

}  // namespace fauxdax

#endif  // FAUXDAX_BELLS_H_
