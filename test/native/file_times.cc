// The times of files that are written natively: what stays within a tick, what moves when somebody
// looked, and that nothing which came later ever looks older.
//
//   file_times REGION_FILE
//
// Times need no region: the argument is only that of the other programs.
#include <atomic>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "file_map.h"

namespace {

using namespace fauxdax;

// A file as TypeScript knows it, which takes its times over and shows them.
class File {
 public:
  int64_t Show() {
    Take();
    map.Look();
    return mtime_;
  }
  // Without showing it.
  int64_t Take() {
    int64_t atime, mtime;
    map.Unlist();
    map.TakeTimes(&atime, &mtime);
    if (mtime > mtime_) mtime_ = mtime;
    return mtime_;
  }
  void Set(int64_t time) { mtime_ = time; }

  FileMap map{1, 0};

 private:
  int64_t mtime_ = 0;
};

void MovesAfterLooks() {
  FileClock clock;
  File file;
  for (int i = 0; i < 10'000; i++) {
    const int64_t shown = file.Show();
    switch (i % 3) {
      case 0:
        file.map.TouchMtime(&clock);
        break;
      case 1:
        file.map.TouchMtimeAt(&clock, FileClock::Realtime());
        break;
      case 2:
        (void)file.map.TouchAtime(&clock);
        file.map.TouchMtime(&clock);
        break;
    }
    CHECK(file.Take() > shown, "what is written after a look is later");
    CHECK(file.Take() <= FileClock::Realtime(), "and not later than now");
  }
}

void StaysInATick() {
  constexpr int kWrites = 1'000'000;
  FileClock clock;
  File files[2];
  int moves = 0;
  for (int i = 0; i < kWrites; i++) {
    const int64_t now = FileClock::Realtime();
    File& file = files[i % 2];
    const int64_t before = file.Take();
    const bool is_touched = i % 4 < 2 ? file.map.TouchMtime(&clock)
                                      : file.map.TouchMtimeAt(&clock, now);
    if (is_touched) moves++;
    CHECK(is_touched == (file.Take() > before), "whether there are times to take is said");
  }
  CHECK(moves < kWrites / 10, "writes that nobody looks at share their times");
  const int64_t start = FileClock::Realtime();
  timespec pause = {0, 50'000'000};
  nanosleep(&pause, nullptr);
  files[0].map.TouchMtime(&clock);
  CHECK(files[0].Take() > start, "but for those of another tick");
  files[1].map.TouchMtimeAt(&clock, start);
  CHECK(files[1].Take() == start, "and that of a queued write is its own");
}

void NeverLooksOlder() {
  FileClock clock;
  File files[3];
  std::mt19937 random(1);
  int64_t latest = 0;
  for (int i = 0; i < 200'000; i++) {
    File& file = files[random() % 3];
    switch (random() % 8) {
      case 0:
        file.Show();
        continue;
      case 1:
        file.Take();
        file.Set(clock.Fine());
        break;
      case 2:
        file.map.TouchMtimeFinely(&clock);
        break;
      case 3:
      case 4:
        file.map.TouchMtimeAt(&clock, FileClock::Realtime());
        break;
      default:
        file.map.TouchMtime(&clock);
        break;
    }
    CHECK(file.Take() >= latest, "what is changed later has no earlier time");
    latest = file.Take();
  }
}

// One thread shows the times and writes; others write.
void LooksAmongThreads() {
  FileClock clock;
  File file;
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (int i = 0; i < 2; i++) {
    writers.emplace_back([&] {
      while (!stop) file.map.TouchMtime(&clock);
    });
  }
  for (int i = 0; i < 100'000; i++) {
    const int64_t shown = file.Show();
    file.map.TouchMtime(&clock);
    CHECK(file.Take() > shown, "a look is not lost to writes beside it");
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
}

}  // namespace

int main() {
  MovesAfterLooks();
  StaysInATick();
  NeverLooksOlder();
  LooksAmongThreads();
  std::puts("done");
  return 0;
}
