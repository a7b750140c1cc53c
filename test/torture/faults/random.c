#include "random.h"

static __thread uint64_t random_state;

void SeedRandom(uint64_t seed) { random_state = seed; }

uint64_t Random(uint64_t bound) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (random_state >> 11) % bound;
}
