// Lengths of x86-64 instructions: enough of the instruction set to walk through what compilers and
// assemblers make for Linux programs.
#ifndef FAUXDAX_SHIM_DECODE_H_
#define FAUXDAX_SHIM_DECODE_H_

#include <stddef.h>
#include <stdint.h>

// Bytes of the instruction at `at`, of which `available` bytes may be read; 0 when it is none that
// is known here.
size_t DecodeLength(const uint8_t* at, size_t available);

#endif  // FAUXDAX_SHIM_DECODE_H_
