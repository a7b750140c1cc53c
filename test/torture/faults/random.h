// Numbers drawn from a seed, for each thread its own.
#ifndef FAULTS_RANDOM_H_
#define FAULTS_RANDOM_H_

#include <stdint.h>

void SeedRandom(uint64_t seed);

/** Below `bound`, which is at least 1. */
uint64_t Random(uint64_t bound);

#endif  // FAULTS_RANDOM_H_
