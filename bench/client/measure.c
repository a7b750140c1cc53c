// Recording and printing of latencies; see measure.h.

#include "measure.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void EnterMount(const char* directory) {
  struct stat here, above;
  if (chdir(directory) < 0 || stat(".", &here) < 0 || stat("..", &above) < 0) {
    FAIL("%s: %s", directory, strerror(errno));
  }
  if (here.st_dev == above.st_dev) FAIL("%s is not a mount", directory);
}

struct measure MeasureNew(size_t count_max) {
  struct measure measure = {.count_max = count_max};
  measure.latencies_ns = malloc(count_max * sizeof *measure.latencies_ns);
  if (measure.latencies_ns == NULL) FAIL("no memory for %zu latencies", count_max);
  // Touched now, so that no page fault of ours falls into an operation.
  memset(measure.latencies_ns, 0, count_max * sizeof *measure.latencies_ns);
  return measure;
}

uint64_t NowNs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t MeasureAdd(struct measure* measure, uint64_t start_ns) {
  uint64_t now_ns = NowNs();
  uint64_t latency_ns = now_ns - start_ns;
  if (measure->count >= measure->count_max) FAIL("more operations than were to be measured");
  if (latency_ns > UINT32_MAX) FAIL("one operation took %.1f s", (double)latency_ns / 1e9);
  measure->latencies_ns[measure->count++] = (uint32_t)latency_ns;
  return now_ns;
}

static int CompareLatencies(const void* left, const void* right) {
  uint32_t a = *(const uint32_t*)left;
  uint32_t b = *(const uint32_t*)right;
  return (a > b) - (a < b);
}

void MeasurePrint(const char* job, const struct measure* measures, int threads, uint64_t elapsed_ns,
                  uint64_t operation_bytes) {
  size_t count = 0;
  for (int i = 0; i < threads; i++) count += measures[i].count;
  if (count == 0) FAIL("%s measured nothing", job);
  struct measure all = MeasureNew(count);
  for (int i = 0; i < threads; i++) {
    memcpy(all.latencies_ns + all.count, measures[i].latencies_ns,
           measures[i].count * sizeof *all.latencies_ns);
    all.count += measures[i].count;
  }
  qsort(all.latencies_ns, count, sizeof *all.latencies_ns, CompareLatencies);
  double seconds = (double)elapsed_ns / 1e9;
  double rate = (double)count / seconds;
  printf(
      "{\"job\":\"%s\",\"threads\":%d,\"operations\":%zu,\"seconds\":%.6f,"
      "\"opsPerSecond\":%.2f,\"bytesPerSecond\":%.0f,"
      "\"p50Us\":%.2f,\"p99Us\":%.2f,\"maxUs\":%.2f}\n",
      job, threads, count, seconds, rate, rate * (double)operation_bytes,
      all.latencies_ns[count / 2] / 1e3, all.latencies_ns[count - 1 - count / 100] / 1e3,
      all.latencies_ns[count - 1] / 1e3);
  free(all.latencies_ns);
}
