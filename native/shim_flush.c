// Flushes by a process itself (shim_sync.c).
#define _GNU_SOURCE
#include <immintrin.h>

#include "shim.h"
#include "wire_files.h"

enum { kLineBytes = 64 };

__attribute__((target("clwb"))) static void FlushByClwb(const uint8_t* at, const uint8_t* end) {
  for (; at < end; at += kLineBytes) _mm_clwb((void*)at);
}

__attribute__((target("clflushopt"))) static void FlushByClflushopt(const uint8_t* at,
                                                                    const uint8_t* end) {
  for (; at < end; at += kLineBytes) _mm_clflushopt((void*)at);
}

void FlushLines(uint64_t how, const uint8_t* start, uint64_t length) {
  const uint8_t* const end = start + length;
  if (how == WIRE_CLWB) return FlushByClwb(start, end);
  if (how == WIRE_CLFLUSHOPT) return FlushByClflushopt(start, end);
  for (; start < end; start += kLineBytes) _mm_clflush(start);
}

void FlushFence(void) { _mm_sfence(); }
