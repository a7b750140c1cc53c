#include "bells.h"

#include <sys/mman.h>

#include "shared_memory.h"

namespace fauxdax {

int Bells::Make(uint64_t address, std::unique_ptr<Bells>* out, int* fd) {
  void* shared;
  const int error = MakeShared("fauxdax-bells", sizeof(wire_bells), fd, &shared);
  if (error == 0) out->reset(new Bells(address, static_cast<wire_bells*>(shared)));
  return error;
}

Bells::~Bells() { munmap(shared_, sizeof(wire_bells)); }

bool Bells::Read(size_t bell, Asked* asked) const {
  const wire_bell& shared = shared_->bells[bell];
  const uint64_t state = __atomic_load_n(&shared.state, __ATOMIC_SEQ_CST);
  if ((state & 3) != WIRE_BELL_ASKED) return false;
  asked->bell = bell;
  asked->number = state >> 2;
  asked->call = __atomic_load_n(&shared.call, __ATOMIC_RELAXED);
  asked->tid = __atomic_load_n(&shared.tid, __ATOMIC_RELAXED);
  asked->arguments[0] = __atomic_load_n(&shared.arguments[0], __ATOMIC_RELAXED);
  asked->arguments[1] = __atomic_load_n(&shared.arguments[1], __ATOMIC_RELAXED);
  return true;
}

void Bells::Answer(const Asked& asked, int error) {
  wire_bell& shared = shared_->bells[asked.bell];
  uint64_t state = asked.number << 2 | WIRE_BELL_ASKED;
  // Who gave it up asks something else with it by now.
  if (__atomic_load_n(&shared.state, __ATOMIC_SEQ_CST) != state) return;
  __atomic_store_n(&shared.error, error, __ATOMIC_SEQ_CST);
  __atomic_compare_exchange_n(&shared.state, &state, asked.number << 2 | WIRE_BELL_ANSWERED, false,
                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

void Bells::SetBusy(size_t bell, bool on) {
  const uint64_t bit = uint64_t{1} << bell;
  busy_ = on ? busy_ | bit : busy_ & ~bit;
}

}  // namespace fauxdax
