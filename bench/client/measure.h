// Time of each operation of a job, and the one JSON line a job prints.
//
// Latencies are nanoseconds in 32 bits (4 s at most, asserted). A `measure` belongs to one thread
// while it is filled; the main thread joins and sums them.

#ifndef BENCH_CLIENT_MEASURE_H
#define BENCH_CLIENT_MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/** Ends the client with a reason; every surprise is one, a benchmark has no error to live with. */
#define FAIL(...)                            \
  do {                                       \
    fprintf(stderr, "client: " __VA_ARGS__); \
    fputc('\n', stderr);                     \
    exit(1);                                 \
  } while (0)

struct measure {
  uint32_t* latencies_ns;
  size_t count;
  size_t count_max;
};

/** Makes the root of a mounted filesystem the working directory; ends the client on any other. */
void EnterMount(const char* directory);

struct measure MeasureNew(size_t count_max);

/** Clock for one operation's start and end, nanoseconds, monotonic. */
uint64_t NowNs(void);

/** Records one operation that began at `start_ns` and ends now; returns now. */
uint64_t MeasureAdd(struct measure* measure, uint64_t start_ns);

/** Prints {job, threads, operations, seconds, opsPerSecond, bytesPerSecond, p50Us, p99Us, maxUs}.
 */
void MeasurePrint(const char* job, const struct measure* measures, int threads, uint64_t elapsed_ns,
                  uint64_t operation_bytes);

#endif
