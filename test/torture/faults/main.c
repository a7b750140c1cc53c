// Torture of faults: processes of threads that load, store, read, write, punch, truncate, collapse,
// insert, sync, map, unmap, move, protect and fork, on two files at once, each line of which must
// hold what shadow.h says.
//
//   faults [--seed N] [--seconds N] [--processes N] [--threads N] [--outsiders N] [--pages N]
//   DIRECTORY
//
//          [--plant flip|lost|stale|foreign]
//
// SIGINT and SIGTERM end it before its time. Outsiders are processes started without LD_PRELOAD, which
// only read, write and change extents.
// Exit status 0: nothing wrong; 1: something wrong, or stuck; 2: usage.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shadow.h"
#include "work.h"

enum { kStuckSeconds = 60, kProcessesMax = 32 };

static const char* directory;
static const char* plant;  // a kind of damage to do, to see that it is found

struct options {
  long seed, seconds, processes, threads, outsiders, pages;
};

static void* Thread(void* number) {
  worker = (int)(intptr_t)number;
  Work(worker, true);
  return NULL;
}

static void Process(int index, int threads) {
  worker = index * threads;
  WorkOpen(directory, true);
  pthread_t handles[kWorkersMax];
  for (int i = 1; i < threads; i++)
    if (pthread_create(&handles[i], NULL, Thread, (void*)(intptr_t)(index * threads + i)) != 0)
      Failed(0, 0, "no thread");
  Work(worker, true);
  for (int i = 1; i < threads; i++) pthread_join(handles[i], NULL);
  _exit(0);
}

/** This program again, without the shim. */
static void StartOutsider(int number, int shadow_descriptor) {
  char text[2][24];
  snprintf(text[0], sizeof text[0], "%d", number);
  snprintf(text[1], sizeof text[1], "%d", shadow_descriptor);
  unsetenv("LD_PRELOAD");
  execl("/proc/self/exe", "faults", "--outsider", text[0], text[1], directory, (char*)NULL);
  perror("faults: exec");
  _exit(1);
}

static uint64_t Total(void) {
  uint64_t total = 0;
  for (int i = 0; i < kWorkersMax; i++) total += shadow->workers[i].operations;
  return total;
}

/** Waits until all have ended; true when all did so with status 0. */
static bool Watch(const pid_t* children, int count, long seconds) {
  time_t begin = time(NULL), moved = begin;
  uint64_t last = 0;
  int ended = 0;
  bool good = true;
  while (ended < count) {
    int status = 0;
    pid_t child;
    while (ended < count && (child = waitpid(-1, &status, WNOHANG)) > 0) {
      ended++;
      if (status == 0) continue;
      good = false;
      shadow->ends = true;
      if (!shadow->has_failed)
        fprintf(stderr, "process %d ended with %x\n", child, (unsigned)status);
    }
    if (time(NULL) - begin >= seconds) shadow->ends = true;
    if (Total() != last) {
      last = Total();
      moved = time(NULL);
    }
    bool is_stuck = time(NULL) - moved > kStuckSeconds;
    if (is_stuck && !shadow->has_failed) {
      fprintf(stderr, "STUCK for %d s, seed %llu:", kStuckSeconds,
              (unsigned long long)shadow->seed);
      ShowDoing(stderr);
    }
    if (is_stuck || (shadow->has_told && time(NULL) - begin >= 1)) {
      for (int i = 0; i < count; i++) kill(children[i], SIGKILL);
      return false;
    }
    usleep(50000);
  }
  return good;
}

static void OnSignal(int number) {
  (void)number;
  shadow->ends = true;
}

static bool ReadOptions(int count, char** words, struct options* options) {
  int at = 1;
  for (; at + 1 < count && strncmp(words[at], "--", 2) == 0; at += 2) {
    if (strcmp(words[at], "--plant") == 0) {
      plant = words[at + 1];
      continue;
    }
    static const char* const kNames[] = {"seed",    "seconds",   "processes",
                                         "threads", "outsiders", "pages"};
    long* const values[] = {&options->seed,    &options->seconds,   &options->processes,
                            &options->threads, &options->outsiders, &options->pages};
    size_t i = 0;
    while (i < 6 && strcmp(kNames[i], words[at] + 2) != 0) i++;
    char* end;
    if (i == 6) return false;
    *values[i] = strtol(words[at + 1], &end, 10);
    if (*end != 0 || *values[i] < 0) return false;
  }
  if (at + 1 != count) return false;
  directory = words[at];
  return options->processes > 0 && options->threads > 0 && options->pages >= 16 &&
         options->pages <= 1 << 14 && options->processes <= kProcessesMax &&
         options->processes * options->threads + options->outsiders < kWorkersMax;
}

int main(int count, char** words) {
  if (count == 5 && strcmp(words[1], "--outsider") == 0) {
    ShadowAttach(atoi(words[3]));
    worker = atoi(words[2]);
    WorkOpen(words[4], false);
    Work(worker, false);
    return 0;
  }
  struct options options = {time(NULL) % 1000000, 10, 3, 2, 1, 1024};
  if (!ReadOptions(count, words, &options)) {
    fprintf(stderr,
            "usage: faults [--seed N] [--seconds N] [--processes N] [--threads N] [--outsiders N] "
            "[--pages N] [--plant flip|lost|stale|foreign] DIRECTORY\n");
    return 2;
  }
  printf("faults: seed %ld\n", options.seed);
  fflush(stdout);
  uint64_t lines = (uint64_t)options.pages * kPageLines;
  int shadow_descriptor = ShadowMake((uint64_t)options.seed, lines);
  ShadowAttach(shadow_descriptor);
  // Ended early, it says what was done until then.
  signal(SIGINT, OnSignal);
  signal(SIGTERM, OnSignal);
  pid_t children[kWorkersMax];
  int started = 0;
  for (int i = 0; i < options.processes; i++) {
    children[started] = fork();
    if (children[started++] == 0) Process(i, (int)options.threads);
  }
  for (int i = 0; i < options.outsiders; i++) {
    children[started] = fork();
    int number = (int)(options.processes * options.threads) + i;
    if (children[started++] == 0) StartOutsider(number, shadow_descriptor);
  }
  if (plant != NULL) {
    children[started] = fork();
    if (children[started++] == 0) {
      worker = kWorkersMax - 1;
      WorkOpen(directory, false);
      Plant(plant);
      _exit(0);
    }
  }
  bool good = Watch(children, started, options.seconds);
  if (good) {
    WorkOpen(directory, true);
    CheckAll(true);
  }
  printf("faults: seed %ld: %llu operations, %s\n", options.seed, (unsigned long long)Total(),
         good ? "nothing wrong" : "WRONG");
  ShowCounts(stdout);
  return good ? 0 : 1;
}
