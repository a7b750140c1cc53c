// How bytes reach the persistence domain: the flush instruction (clwb, clflushopt or clflush) and
// the widest non-temporal store the CPU and the kernel support, chosen once by CPUID. Large copies
// go around the cache, small ones through it and are flushed; the thresholds were measured with
// bench/persist. Stateless after construction, any thread, lengths in bytes.
//
// Order that matters: CopyFlushed() and ZeroFlushed() leave stores in flight; they are durable only
// after a Fence() by the same thread.
#ifndef FAUXDAX_PERSIST_H_
#define FAUXDAX_PERSIST_H_

#include <cstddef>
#include <cstdint>

namespace fauxdax {

enum class FlushInstruction { kClwb, kClflushopt, kClflush };
const char* FlushInstructionName(FlushInstruction instruction);

class Persist {
 public:
  // Chooses by CPUID.
  Persist();
  // Forces a weaker choice than the CPU offers, to test and to measure the other paths. CHECKs that
  // the CPU has the instruction.
  Persist(FlushInstruction instruction, size_t stream_vector_bytes);

  FlushInstruction flush_instruction() const { return instruction_; }
  // 64 (AVX-512), 32 (AVX) or 16 (SSE2).
  size_t stream_vector_bytes() const { return stream_vector_bytes_; }

  // Copies and flushes. The ranges must not overlap; neither needs any alignment.
  void CopyFlushed(uint8_t* target, const uint8_t* source, size_t length_bytes) const;
  void ZeroFlushed(uint8_t* target, size_t length_bytes) const;
  // Flushes every line that holds a byte of the range.
  void Flush(const uint8_t* start, size_t length_bytes) const;
  // This thread's flushes and non-temporal stores are in the persistence domain when it returns.
  static void Fence();

 private:
  using StreamCopy = void (*)(uint8_t* target, const uint8_t* source, size_t line_count);
  using StreamZero = void (*)(uint8_t* target, size_t line_count);
  using FlushLines = void (*)(const uint8_t* first_line, size_t line_count);

  void FlushLine(const uint8_t* address) const;

  FlushInstruction instruction_;
  size_t stream_vector_bytes_;
  StreamCopy stream_copy_;
  StreamZero stream_zero_;
  FlushLines flush_lines_;
};

}  // namespace fauxdax

#endif  // FAUXDAX_PERSIST_H_
