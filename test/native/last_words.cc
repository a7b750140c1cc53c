// A program that dies of what its argument says, with last words, for
// test/native/last_words.test.ts.
#include "last_words.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "check.h"
#include "own_thread.h"

// Seen by name in the frames.
extern "C" [[gnu::noinline]] void StoreTo(volatile int* place) { *place = 1; }

extern "C" [[gnu::noinline]] int Deeper(int depth) {
  volatile char frame[4096];
  frame[0] = static_cast<char>(depth);
  if (depth == INT_MAX) return 0;
  return Deeper(depth + 1) + frame[0];
}

namespace {

volatile int* const kNothing = reinterpret_cast<volatile int*>(0x1230);

void InThread(void (*run)()) {
  std::thread thread = fauxdax::StartThread([run] {
    pthread_setname_np(pthread_self(), "of a \"test\"");
    run();
  });
  thread.join();
}

void Together() {
  std::atomic<int> ready{0};
  const auto run = [&ready] {
    ready++;
    while (ready < 4) continue;
    StoreTo(kNothing);
  };
  std::thread threads[4];
  for (std::thread& thread : threads) thread = fauxdax::StartThread(run);
  for (std::thread& thread : threads) thread.join();
}

// Beyond the end of a file.
void BusError() {
  const int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
  void* mapped = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return;
  StoreTo(static_cast<volatile int*>(mapped));
}

}  // namespace

int main(int, char** argv) {
  const std::string what = argv[1];
  fauxdax::SayLastWords();
  fauxdax::SayLastWords();
  if (what == "nothing") StoreTo(kNothing);
  if (what == "thread") InThread([] { StoreTo(kNothing); });
  if (what == "thread-bus") InThread(BusError);
  if (what == "thread-check") InThread([] { CHECK(kNothing == nullptr, "of a test"); });
  if (what == "thread-throw") InThread([] { throw std::runtime_error("of a test"); });
  if (what == "stack") std::printf("%d\n", Deeper(0));
  if (what == "thread-stack") InThread([] { std::printf("%d\n", Deeper(0)); });
  if (what == "together") Together();
  std::printf("lives\n");
  return 0;
}
