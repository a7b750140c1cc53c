// Copy and persist, ours against two hand-written loops: memcpy + clwb + sfence, and non-temporal
// stores + sfence. The three run interleaved on the same buffers, on the same mapped file; a round
// times a batch of copies of one size to changing places: `cold` walks through 64 MiB, `hot`
// through 128 KiB that stay in the cache. The table shows medians over rounds.
//
//   g++ -std=c++20 -O2 -I native bench/persist.cc native/persist.cc -o persist && ./persist FILE
//
// The two loops are written as a program without this library would have them, with the best
// instructions of the machine and without CPUID checks. `ratio` is our speed over the better
// loop's.
#include <fcntl.h>
#include <immintrin.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "check.h"
#include "persist.h"
#include "units.h"

namespace {

using fauxdax::Persist;

constexpr size_t kFileBytes = size_t{64} << 20;
constexpr size_t kSourceBytes = size_t{4} << 20;
constexpr size_t kHotBytes = size_t{128} << 10;
constexpr size_t kLengthBytesMax = size_t{1} << 20;
constexpr size_t kBatchBytes = size_t{4} << 20;
constexpr size_t kBatchCopiesMax = 4096;
constexpr int kRounds = 101;

__attribute__((target("clwb"), noinline)) void PeerCached(uint8_t* target, const uint8_t* source,
                                                          size_t length_bytes) {
  std::memcpy(target, source, length_bytes);
  for (size_t at = 0; at < length_bytes; at += fauxdax::kLineBytes) _mm_clwb(target + at);
  _mm_sfence();
}

__attribute__((target("avx512f"), noinline)) void PeerStream(uint8_t* target, const uint8_t* source,
                                                             size_t length_bytes) {
  for (size_t at = 0; at < length_bytes; at += fauxdax::kLineBytes) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(target + at), _mm512_loadu_si512(source + at));
  }
  _mm_sfence();
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

struct Buffers {
  uint8_t* region;
  const uint8_t* source;
};

// Nanoseconds a copy. Targets walk through the file so that a line is not met again at once.
template <typename Copy>
double TimeBatch(const Buffers& buffers, size_t length_bytes, size_t span_bytes, size_t* cursor,
                 Copy copy) {
  const size_t copies = std::clamp(kBatchBytes / length_bytes, size_t{1}, kBatchCopiesMax);
  const size_t stride = std::max<size_t>(length_bytes, fauxdax::kPageBytes);
  const auto start = std::chrono::steady_clock::now();
  for (size_t index = 0; index < copies; ++index) {
    *cursor = *cursor + stride + length_bytes > span_bytes ? 0 : *cursor + stride;
    copy(buffers.region + *cursor, buffers.source + *cursor % (kSourceBytes / 2), length_bytes);
  }
  const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
  return spent.count() / static_cast<double>(copies);
}

void Measure(const Buffers& buffers, const Persist& persist, size_t length_bytes,
             size_t span_bytes) {
  std::vector<double> ours, cached, stream;
  size_t cursor = 0;
  const auto ours_copy = [&](uint8_t* target, const uint8_t* source, size_t bytes) {
    persist.CopyFlushed(target, source, bytes);
    Persist::Fence();
  };
  for (int round = 0; round < kRounds; ++round) {
    // The order turns, so that nobody always runs after the same neighbour.
    for (int turn = 0; turn < 3; ++turn) {
      switch ((round + turn) % 3) {
        case 0:
          ours.push_back(TimeBatch(buffers, length_bytes, span_bytes, &cursor, ours_copy));
          break;
        case 1:
          cached.push_back(TimeBatch(buffers, length_bytes, span_bytes, &cursor, PeerCached));
          break;
        default:
          stream.push_back(TimeBatch(buffers, length_bytes, span_bytes, &cursor, PeerStream));
      }
    }
  }
  const double ours_ns = Median(ours), cached_ns = Median(cached), stream_ns = Median(stream);
  std::printf("%8zu %12.0f %14.0f %12.0f %8.2f\n", length_bytes, ours_ns, cached_ns, stream_ns,
              std::min(cached_ns, stream_ns) / ours_ns);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: persist FILE   (a scratch file of 64 MiB is made there)\n");
    return 2;
  }
  const int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
  CHECK(fd >= 0, "the scratch file opens");
  CHECK(posix_fallocate(fd, 0, kFileBytes) == 0, "the scratch file has room");
  void* mapped = mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(mapped != MAP_FAILED, "the scratch file maps");
  std::memset(mapped, 1, kFileBytes);
  std::vector<uint8_t> source(kSourceBytes, 0x5a);
  const Persist persist;
  std::printf("%s, %zu-byte non-temporal stores; nanoseconds a copy, median of %d rounds\n",
              FlushInstructionName(persist.flush_instruction()), persist.stream_vector_bytes(),
              kRounds);
  const Buffers buffers{static_cast<uint8_t*>(mapped), source.data()};
  for (const size_t span_bytes : {kFileBytes, kHotBytes}) {
    std::printf("%8s %12s %14s %12s %8s\n", span_bytes == kFileBytes ? "cold" : "hot", "fauxdax",
                "memcpy+clwb", "streaming", "ratio");
    for (size_t length_bytes = 64; length_bytes <= kLengthBytesMax; length_bytes *= 2) {
      if (length_bytes < span_bytes) Measure(buffers, persist, length_bytes, span_bytes);
    }
  }
  CHECK(munmap(mapped, kFileBytes) == 0 && close(fd) == 0 && unlink(argv[1]) == 0, "clean-up");
  return 0;
}
