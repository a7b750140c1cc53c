// Several threads change one recorded region, all over each other, between calls that they serve;
// afterwards the trace, replayed over zeros, gives the region byte for byte. Run under the thread
// and the address sanitizer by programs.test.ts; FILE is a scratch region of zeros, TRACE a trace
// that has its header.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "canary.h"
#include "check.h"
#include "recorder.h"
#include "region.h"
#include "units.h"

namespace {

using fauxdax::kPageBytes;
using fauxdax::Recorder;
using fauxdax::Region;
using fauxdax::Request;

constexpr uint64_t kPageCount = 64;
constexpr uint64_t kRegionBytes = kPageCount * kPageBytes;
constexpr uint64_t kThreads = 4;
constexpr uint64_t kRounds = 400;

uint64_t Next(uint64_t* random) {
  *random = *random * 6364136223846793005 + 1442695040888963407;
  return *random >> 33;
}

void ChangeSomething(Region* region, uint64_t* random, const uint8_t* bytes) {
  const uint64_t length = Next(random) % (3 * kPageBytes);
  const uint64_t offset = Next(random) % (kRegionBytes - length);
  switch (Next(random) % 7) {
    case 0:
      CHECK(region->Store(offset, bytes, length) == 0, "the region is healthy");
      return region->Flush(offset, length);
    case 1:
      CHECK(region->ZeroFlushed(offset, length) == 0, "the region is healthy");
      return;
    case 2: {
      const uint64_t from = Next(random) % (kRegionBytes - length);
      CHECK(region->CopyFlushed(from, offset, length) == 0, "the region is healthy");
      return;
    }
    case 3:
      return region->FillCanary(offset / kPageBytes % (kPageCount - 1), 2, length);
    case 4:
      return region->Fence();
    default:
      CHECK(region->StoreFlushed(offset, bytes, length) == 0, "the region is healthy");
  }
}

// As a program's flush and drain are recorded.
void Map(Region* region, Recorder* recorder, uint64_t index, uint64_t* random) {
  using Operation = fauxdax::MappingOperation;
  const auto thread = static_cast<uint32_t>(index + 1);
  const uint64_t offset = Next(random) % kRegionBytes;
  const uint64_t call = recorder->Begin({Operation::kFlush, 0, thread, 7, offset, 1, 0});
  const uint64_t before = Recorder::Serve(call);
  {
    const std::unique_lock order = recorder->Order();
    recorder->Flush(offset, 1, thread);
    recorder->Fence(thread);
    recorder->StoreFound(offset, region->At(offset), kRegionBytes - offset > 64 ? 64 : 1);
  }
  Recorder::Serve(before);
  recorder->End(call, 0);
}

// As a serving thread does: a request, what it changes, its answer.
void Serve(Region* region, Recorder* recorder, uint64_t index) {
  uint64_t random = index + 1;
  std::vector<uint8_t> bytes(3 * kPageBytes);
  for (uint64_t round = 0; round < kRounds; ++round) {
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(Next(&random));
    fuse_in_header header = {};
    header.unique = 2 * (round * kThreads + index + 1);
    header.opcode = round % 5 == 0 ? FUSE_LOOKUP : FUSE_WRITE;
    const Request request = {&header, bytes.data(), 100};
    const Recorder::Serving serving(recorder, request, false);
    ChangeSomething(region, &random, bytes.data());
    if (round % 3 == 0) Map(region, recorder, index, &random);
    if (round % 9 == 0) recorder->Append(Recorder::Note::kMetadata, "{}", 0);
    if (round % 64 == 0) recorder->Drain();
    recorder->Return(header.unique, 0);
  }
}

template <typename T>
T Load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

class Replay {
 public:
  Replay() : region_(kRegionBytes) {}

  const std::vector<uint8_t>& region() const { return region_; }
  uint64_t call_count() const { return call_count_; }

  void Chunk(const uint8_t* payload, uint32_t length_bytes) {
    for (const uint8_t* end = payload + length_bytes; payload < end;) {
      const auto record_bytes = Load<uint32_t>(payload);
      Event(payload[4], payload + 8, record_bytes - 8);
      payload += record_bytes;
    }
  }

 private:
  void Event(uint8_t kind, const uint8_t* body, uint64_t body_bytes) {
    const auto first = Load<uint64_t>(body);
    if (kind == 1) {
      const uint64_t argument_bytes = first % 2 == 0 ? sizeof(fuse_write_in) : 24;
      CHECK(Load<uint32_t>(body + 40) == argument_bytes, "payloads are not recorded");
      CHECK(!open_[first], "a call comes once");
      open_[first] = true;
      call_count_++;
    }
    if (kind == 2) {
      CHECK(open_[first], "a return comes after its call");
      open_[first] = false;
    }
    if (kind == 3) {
      CheckOpen(Load<uint64_t>(body + 8));
      std::memcpy(&region_[first], body + 16, body_bytes - 16);
    }
    if (kind == 4) {
      CheckOpen(Load<uint64_t>(body + 8));
      std::memset(&region_[first], 0, Load<uint64_t>(body + 16));
    }
    if (kind == 5) {
      CheckOpen(Load<uint64_t>(body + 16));
      CheckThread(Load<uint64_t>(body + 16), Load<uint32_t>(body + 24));
    }
    if (kind == 6 || kind == 8) CheckOpen(first);
    if (kind == 6) CheckThread(first, Load<uint32_t>(body + 8));
    if (kind == 7) {
      for (uint64_t page = first; page < first + Load<uint64_t>(body + 8); ++page) {
        fauxdax::FillCanaryPage(&region_[page * kPageBytes], page, Load<uint64_t>(body + 16));
      }
    }
  }

  // Flushes and fences inside a call of a mapping are its thread's, others the filesystem's.
  void CheckThread(uint64_t call, uint32_t thread) {
    CHECK((call % 2 == 1) == (thread != 0), "flushed by whom its call says");
  }

  void CheckOpen(uint64_t call) { CHECK(call == 0 || open_[call], "inside its call"); }

  std::vector<uint8_t> region_;
  std::map<uint64_t, bool> open_;
  uint64_t call_count_ = 0;
};

void ReplayFile(const char* path, Replay* replay) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
  const auto* at = reinterpret_cast<const uint8_t*>(bytes.data()) + 64;
  for (const uint8_t* end = at - 64 + bytes.size(); at < end;) {
    const auto payload_bytes = Load<uint32_t>(at + 16);
    if (Load<uint32_t>(at + 4) == 4) replay->Chunk(at + 32, payload_bytes);
    at += 32 + payload_bytes;
  }
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 3, "usage: recorder_threads FILE TRACE");
  std::unique_ptr<Recorder> opened;
  std::string reason;
  CHECK(Recorder::Open(argv[2], {}, &opened, &reason) == 0, "the trace opens");
  const std::shared_ptr<Recorder> recorder = std::move(opened);
  std::unique_ptr<Region> region;
  CHECK(Region::Open(argv[1], kPageCount, false, &region) == 0, "the region opens");
  region->Record(recorder);
  std::vector<std::thread> threads;
  for (uint64_t index = 0; index < kThreads; ++index) {
    threads.emplace_back(Serve, region.get(), recorder.get(), index);
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(recorder->Finish() == 0, "the trace is written");

  Replay replay;
  ReplayFile(argv[2], &replay);
  const uint64_t mapping_calls = 2 * kThreads * ((kRounds + 2) / 3);
  CHECK(replay.call_count() == kThreads * kRounds * 4 / 5 + mapping_calls,
        "a LOOKUP is not recorded");
  CHECK(std::memcmp(replay.region().data(), region->At(0), kRegionBytes) == 0, "the same bytes");
  std::puts("done");
  return 0;
}
