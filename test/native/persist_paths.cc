// Every flush instruction and vector width that this CPU has, on every alignment and many lengths:
// the bytes of the range are right and no byte around it changes. Prints the paths it ran; a wrong
// byte ends the process. Compiled and started by persist.test.ts.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "check.h"
#include "persist.h"
#include "units.h"

namespace {

using fauxdax::FlushInstruction;
using fauxdax::kLineBytes;
using fauxdax::Persist;

constexpr size_t kBufferBytes = 16384;
constexpr uint8_t kAround = 0xee;

bool CpuHas(FlushInstruction instruction) {
  __builtin_cpu_init();
  switch (instruction) {
    case FlushInstruction::kClwb:
      return __builtin_cpu_supports("clwb");
    case FlushInstruction::kClflushopt:
      return __builtin_cpu_supports("clflushopt");
    case FlushInstruction::kClflush:
      return true;
  }
  return false;
}

void CheckBytes(const uint8_t* buffer, size_t offset, const std::vector<uint8_t>& expected) {
  for (size_t at = 0; at < kBufferBytes; ++at) {
    const bool inside = at >= offset && at < offset + expected.size();
    CHECK(buffer[at] == (inside ? expected[at - offset] : kAround), "a byte is wrong");
  }
}

void TryRange(const Persist& persist, uint8_t* buffer, size_t offset, size_t length_bytes,
              size_t source_offset) {
  std::vector<uint8_t> source(source_offset + length_bytes);
  for (size_t at = 0; at < source.size(); ++at) source[at] = static_cast<uint8_t>(at * 31 + 1);
  std::memset(buffer, kAround, kBufferBytes);
  persist.CopyFlushed(buffer + offset, source.data() + source_offset, length_bytes);
  Persist::Fence();
  CheckBytes(buffer, offset,
             {source.begin() + static_cast<ptrdiff_t>(source_offset), source.end()});
  std::memset(buffer, kAround, kBufferBytes);
  persist.ZeroFlushed(buffer + offset, length_bytes);
  persist.Flush(buffer + offset, length_bytes);
  Persist::Fence();
  CheckBytes(buffer, offset, std::vector<uint8_t>(length_bytes, 0));
}

void TryPath(FlushInstruction instruction, size_t vector_bytes) {
  const Persist persist(instruction, vector_bytes);
  alignas(kLineBytes) static uint8_t buffer[kBufferBytes];
  for (size_t offset = 0; offset <= kLineBytes; ++offset) {
    for (const size_t length_bytes : {0, 1, 2, 63, 64, 65, 127, 128, 129, 200, 4096, 9000}) {
      TryRange(persist, buffer, offset, length_bytes, offset % 7);
    }
  }
  std::printf("%s %zu\n", FlushInstructionName(instruction), vector_bytes);
}

}  // namespace

int main() {
  const size_t widest_bytes = Persist().stream_vector_bytes();
  for (const auto instruction :
       {FlushInstruction::kClwb, FlushInstruction::kClflushopt, FlushInstruction::kClflush}) {
    if (!CpuHas(instruction)) continue;
    for (size_t vector_bytes = 16; vector_bytes <= widest_bytes; vector_bytes *= 2) {
      TryPath(instruction, vector_bytes);
    }
  }
  return 0;
}
