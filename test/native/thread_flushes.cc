// Random stores, flushes and fences of three threads, the filesystem one of them, on a few lines,
// beside a model that keeps every value: what a power cut leaves when it keeps nothing, and which
// lines are undecided. Started by programs.test.ts; says `done`.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "check.h"
#include "persist.h"
#include "undecided.h"
#include "units.h"

namespace {

using fauxdax::Keep;
using fauxdax::kLineBytes;
using fauxdax::kPageBytes;
using fauxdax::Persist;
using fauxdax::Undecided;

constexpr uint32_t kThreads = 3;
constexpr uint64_t kLines = 3;
constexpr uint64_t kPages = 2;
constexpr int kHistories = 20000;
constexpr int kOperations = 14;

// The value of a line is its first byte; values come again. The rest are indexes of `values`.
struct Line {
  std::vector<uint8_t> values = {0};
  size_t durable = 0;
  std::map<uint32_t, size_t> flushed;
};

// The second page has the last line.
uint64_t OffsetOf(uint64_t line) { return line < 2 ? line * kLineBytes : kPageBytes; }

void TryHistory(uint32_t seed) {
  std::mt19937 random(seed);
  const auto below = [&](uint32_t bound) { return random() % bound; };
  std::vector<uint8_t> bytes(kPages * kPageBytes);
  const Persist persist;
  Undecided undecided(bytes.data(), kPages, persist);
  std::array<Line, kLines> lines;
  for (int count = 0; count < kOperations; ++count) {
    const uint64_t at = below(kLines);
    Line& line = lines.at(at);
    const uint32_t thread = below(kThreads);
    switch (below(3)) {
      case 0:
        undecided.BeforeStore(OffsetOf(at), 1);
        line.values.push_back(static_cast<uint8_t>(below(3)));
        bytes[OffsetOf(at)] = line.values.back();
        break;
      case 1:
        undecided.AfterFlush(OffsetOf(at), 1, thread);
        line.flushed[thread] = line.values.size() - 1;
        break;
      default:
        undecided.Fence(thread);
        for (Line& each : lines) {
          each.durable = std::max(each.durable, each.flushed[thread]);
          each.flushed.erase(thread);
        }
    }
  }
  uint64_t undecided_lines = 0;
  for (const Line& line : lines) {
    if (line.values[line.durable] != line.values.back()) ++undecided_lines;
  }
  CHECK(undecided.line_count() >= undecided_lines, "what is not durable is undecided");
  undecided.Crash({Keep::Kind::kNone, 0});
  for (uint64_t at = 0; at < kLines; ++at) {
    CHECK(bytes[OffsetOf(at)] == lines.at(at).values[lines.at(at).durable],
          "a line has its durable value");
  }
  CHECK(undecided.line_count() == 0, "nothing is undecided after a crash");
}

}  // namespace

int main() {
  for (uint32_t seed = 0; seed < kHistories; ++seed) TryHistory(seed);
  std::puts("done");
  return 0;
}
