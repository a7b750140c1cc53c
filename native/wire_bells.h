// Requests that a thread of a program makes by itself, without a thread of the shim in between: it
// fills one in memory that the process shares with the daemon, and loads from the bell of that, a
// page where nothing is. The daemon is told of the fault, does what is asked, answers, and fills
// the page, which lets the thread go on; the thread then throws the page away. C, no library. Every
// field is read and written by the compiler's atomics, but for what is filled before it is asked.
//
// A thread that goes on without an answer (the daemon is gone, or something else filled the page)
// asks in another way. What it asked here may still be done.
#ifndef FAUXDAX_WIRE_BELLS_H_
#define FAUXDAX_WIRE_BELLS_H_

#include <stdint.h>

#define WIRE_BELL_COUNT 16u

enum wire_bell_state {
  WIRE_BELL_FREE = 0,
  WIRE_BELL_FILLING = 1,   // by a thread of the process
  WIRE_BELL_ASKED = 2,     // with its number
  WIRE_BELL_ANSWERED = 3,  // by the daemon, with the same number
};

struct wire_bell {
  uint64_t state;  // number << 2 | enum wire_bell_state; the process gives numbers, each once
  uint32_t call;   // enum wire_call; WIRE_SYNC
  uint32_t tid;
  uint64_t arguments[2];  // the call's first ones
  int32_t error;          // the answer: 0 or a positive errno
  uint32_t reserved[7];
};

struct wire_bells {
  struct wire_bell bells[WIRE_BELL_COUNT];
};

#endif  // FAUXDAX_WIRE_BELLS_H_
