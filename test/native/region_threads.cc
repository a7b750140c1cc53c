// Several threads on one Region under the thread sanitizer: stores to their own lines, flushes,
// fences, poison and crashes all at once. Afterwards each line holds a value that its thread
// stored, or its first. Compiled and started by threads.test.ts; FILE is a scratch region.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "region.h"
#include "units.h"

namespace {

using fauxdax::kLineBytes;
using fauxdax::kPageBytes;
using fauxdax::Region;

constexpr uint64_t kPageCount = 64;
constexpr uint64_t kThreads = 4;
constexpr uint64_t kRounds = 3000;
constexpr uint64_t kPoisonPage = kPageCount - 1;  // nobody's: stored to by no thread

// Thread `index` owns the lines whose number is congruent to it.
void StoreOwnLines(Region* region, uint64_t index) {
  uint8_t line[kLineBytes];
  for (uint64_t round = 0; round < kRounds; ++round) {
    const uint64_t number = (round * 37 % ((kPageCount - 1) * 16)) * kThreads + index;
    std::memset(line, static_cast<int>(1 + round % 100), sizeof(line));
    const uint64_t offset = number * kLineBytes;
    if (round % 3 == 0) {
      CHECK(region->Store(offset, line, sizeof(line)) == 0, "the page is healthy");
      region->Flush(offset, sizeof(line));
    } else {
      CHECK(region->StoreFlushed(offset, line, sizeof(line)) == 0, "the page is healthy");
    }
    if (round % 17 == 0) region->Fence();
    CHECK(region->UndecidedLineCount() <= kPageCount * fauxdax::kLinesPerPage, "a sane count");
  }
}

void PoisonAndHeal(Region* region, const std::atomic<bool>* stop) {
  while (!stop->load()) {
    region->Poison(kPoisonPage);
    CHECK(region->Poisoned(kPoisonPage * kPageBytes, 1), "poison is seen by who set it");
    region->Heal(kPoisonPage);
  }
}

void Run(const char* path, bool crashes) {
  std::unique_ptr<Region> region;
  CHECK(Region::Open(path, kPageCount, false, &region) == 0, "the region opens");
  if (crashes) region->TrackUndecided();
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (uint64_t index = 0; index < kThreads; ++index) {
    threads.emplace_back(StoreOwnLines, region.get(), index);
  }
  std::thread poisoner(PoisonAndHeal, region.get(), &stop);
  for (uint64_t seed = 0; crashes && seed < 50; ++seed) {
    const fauxdax::CrashCount count = region->Crash({fauxdax::Keep::Kind::kSeed, seed});
    CHECK(count.kept_lines <= count.undecided_lines, "kept lines were undecided");
  }
  for (std::thread& thread : threads) thread.join();
  stop.store(true);
  poisoner.join();
  if (crashes) region->Crash({fauxdax::Keep::Kind::kNone, 0});
  for (uint64_t offset = 0; offset < kPoisonPage * kPageBytes; offset += kLineBytes) {
    for (uint64_t at = 1; at < kLineBytes; ++at) {
      CHECK(*region->At(offset + at) == *region->At(offset), "a line is never torn");
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: region_threads FILE");
  Run(argv[1], false);
  Run(argv[1], true);
  std::puts("done");
  return 0;
}
