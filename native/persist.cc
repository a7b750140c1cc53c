#include "persist.h"

#include <cpuid.h>
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "check.h"
#include "units.h"

namespace fauxdax {

namespace {

// CPUID.(EAX=7,ECX=0):EBX
constexpr unsigned kClflushoptBit = 1u << 23;
constexpr unsigned kClwbBit = 1u << 24;

bool CpuHas(FlushInstruction instruction) {
  if (instruction == FlushInstruction::kClflush) return true;  // part of the x86-64 baseline (SSE2)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  return (ebx & (instruction == FlushInstruction::kClwb ? kClwbBit : kClflushoptBit)) != 0;
}

FlushInstruction BestFlushInstruction() {
  if (CpuHas(FlushInstruction::kClwb)) return FlushInstruction::kClwb;
  if (CpuHas(FlushInstruction::kClflushopt)) return FlushInstruction::kClflushopt;
  return FlushInstruction::kClflush;
}

// __builtin_cpu_supports also asks whether the kernel saves the wide registers.
size_t WidestStreamVectorBytes() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return 64;
  if (__builtin_cpu_supports("avx")) return 32;
  return 16;
}

__attribute__((target("clwb"))) void FlushByClwb(const uint8_t* line, size_t line_count) {
  for (; line_count > 0; --line_count, line += kLineBytes) {
    _mm_clwb(const_cast<uint8_t*>(line));
  }
}

__attribute__((target("clflushopt"))) void FlushByClflushopt(const uint8_t* line,
                                                             size_t line_count) {
  for (; line_count > 0; --line_count, line += kLineBytes) {
    _mm_clflushopt(const_cast<uint8_t*>(line));
  }
}

void FlushByClflush(const uint8_t* line, size_t line_count) {
  for (; line_count > 0; --line_count, line += kLineBytes) _mm_clflush(line);
}

__attribute__((target("avx512f"))) void StreamCopy512(uint8_t* target, const uint8_t* source,
                                                      size_t line_count) {
  for (; line_count > 0; --line_count, target += kLineBytes, source += kLineBytes) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(target), _mm512_loadu_si512(source));
  }
}

__attribute__((target("avx512f"))) void StreamZero512(uint8_t* target, size_t line_count) {
  for (; line_count > 0; --line_count, target += kLineBytes) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(target), _mm512_setzero_si512());
  }
}

__attribute__((target("avx"))) void StreamCopy256(uint8_t* target, const uint8_t* source,
                                                  size_t line_count) {
  for (; line_count > 0; --line_count, target += kLineBytes, source += kLineBytes) {
    const auto* from = reinterpret_cast<const __m256i*>(source);
    auto* to = reinterpret_cast<__m256i*>(target);
    const __m256i a = _mm256_loadu_si256(from);
    const __m256i b = _mm256_loadu_si256(from + 1);
    _mm256_stream_si256(to, a);
    _mm256_stream_si256(to + 1, b);
  }
  _mm256_zeroupper();
}

__attribute__((target("avx"))) void StreamZero256(uint8_t* target, size_t line_count) {
  for (; line_count > 0; --line_count, target += kLineBytes) {
    auto* to = reinterpret_cast<__m256i*>(target);
    _mm256_stream_si256(to, _mm256_setzero_si256());
    _mm256_stream_si256(to + 1, _mm256_setzero_si256());
  }
  _mm256_zeroupper();
}

void StreamCopy128(uint8_t* target, const uint8_t* source, size_t line_count) {
  for (; line_count > 0; --line_count, target += kLineBytes, source += kLineBytes) {
    const auto* from = reinterpret_cast<const __m128i*>(source);
    auto* to = reinterpret_cast<__m128i*>(target);
    const __m128i a = _mm_loadu_si128(from);
    const __m128i b = _mm_loadu_si128(from + 1);
    const __m128i c = _mm_loadu_si128(from + 2);
    const __m128i d = _mm_loadu_si128(from + 3);
    _mm_stream_si128(to, a);
    _mm_stream_si128(to + 1, b);
    _mm_stream_si128(to + 2, c);
    _mm_stream_si128(to + 3, d);
  }
}

void StreamZero128(uint8_t* target, size_t line_count) {
  for (; line_count > 0; --line_count, target += kLineBytes) {
    auto* to = reinterpret_cast<__m128i*>(target);
    for (int part = 0; part < 4; ++part) _mm_stream_si128(to + part, _mm_setzero_si128());
  }
}

// A range as bytes before the first whole line, whole lines, and bytes after the last.
struct Split {
  size_t head_bytes;
  size_t line_count;
  size_t tail_bytes;
};

Split SplitAtLines(const uint8_t* start, size_t length_bytes) {
  const size_t to_line = static_cast<size_t>(-reinterpret_cast<uintptr_t>(start)) % kLineBytes;
  const size_t head_bytes = std::min(to_line, length_bytes);
  const size_t rest_bytes = length_bytes - head_bytes;
  return Split{head_bytes, rest_bytes / kLineBytes, rest_bytes % kLineBytes};
}

}  // namespace

const char* FlushInstructionName(FlushInstruction instruction) {
  switch (instruction) {
    case FlushInstruction::kClwb:
      return "clwb";
    case FlushInstruction::kClflushopt:
      return "clflushopt";
    case FlushInstruction::kClflush:
      return "clflush";
  }
  CHECK(false, "an unknown flush instruction");
}

Persist::Persist() : Persist(BestFlushInstruction(), WidestStreamVectorBytes()) {}

Persist::Persist(FlushInstruction instruction, size_t stream_vector_bytes)
    : instruction_(instruction), stream_vector_bytes_(stream_vector_bytes) {
  CHECK(CpuHas(instruction), "this CPU lacks the flush instruction");
  CHECK(stream_vector_bytes <= WidestStreamVectorBytes(), "this CPU lacks such wide vectors");
  switch (instruction) {
    case FlushInstruction::kClwb:
      flush_lines_ = FlushByClwb;
      break;
    case FlushInstruction::kClflushopt:
      flush_lines_ = FlushByClflushopt;
      break;
    case FlushInstruction::kClflush:
      flush_lines_ = FlushByClflush;
      break;
  }
  switch (stream_vector_bytes) {
    case 64:
      stream_copy_ = StreamCopy512;
      stream_zero_ = StreamZero512;
      break;
    case 32:
      stream_copy_ = StreamCopy256;
      stream_zero_ = StreamZero256;
      break;
    default:
      CHECK(stream_vector_bytes == 16, "vectors have 16, 32 or 64 bytes");
      stream_copy_ = StreamCopy128;
      stream_zero_ = StreamZero128;
  }
}

void Persist::CopyFlushed(uint8_t* target, const uint8_t* source, size_t length_bytes) const {
  const Split split = SplitAtLines(target, length_bytes);
  if (split.head_bytes > 0) {
    std::memcpy(target, source, split.head_bytes);
    FlushLine(target);
    target += split.head_bytes;
    source += split.head_bytes;
  }
  stream_copy_(target, source, split.line_count);
  if (split.tail_bytes > 0) {
    target += split.line_count * kLineBytes;
    source += split.line_count * kLineBytes;
    std::memcpy(target, source, split.tail_bytes);
    FlushLine(target);
  }
}

void Persist::ZeroFlushed(uint8_t* target, size_t length_bytes) const {
  const Split split = SplitAtLines(target, length_bytes);
  if (split.head_bytes > 0) {
    std::memset(target, 0, split.head_bytes);
    FlushLine(target);
    target += split.head_bytes;
  }
  stream_zero_(target, split.line_count);
  if (split.tail_bytes > 0) {
    target += split.line_count * kLineBytes;
    std::memset(target, 0, split.tail_bytes);
    FlushLine(target);
  }
}

void Persist::Flush(const uint8_t* start, size_t length_bytes) const {
  if (length_bytes == 0) return;
  const size_t before_bytes = reinterpret_cast<uintptr_t>(start) % kLineBytes;
  flush_lines_(start - before_bytes, (before_bytes + length_bytes + kLineBytes - 1) / kLineBytes);
}

void Persist::FlushLine(const uint8_t* address) const { Flush(address, 1); }

void Persist::Fence() { _mm_sfence(); }

}  // namespace fauxdax
