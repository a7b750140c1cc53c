// The two halves of an actor (actor.c): its requests and scripts, and the calls that they make
// (actor_calls.c).
#ifndef FAUXDAX_ACTOR_H_
#define FAUXDAX_ACTOR_H_

#include <stdint.h>

enum {
  kWordsMax = 8,  // in a line
  kLineBytesMax = 1024,
};

struct Call {
  char line[kLineBytesMax];  // words, each ended by a zero byte
  const char* words[kWordsMax];
  int word_count;
  int64_t at_ns;  // not before, from the start
};

// What a call came to, as text.
struct Result {
  char text[kLineBytesMax / 2];
};

// ---- actor.c ----

// Ends the actor: whoever asked made a mistake.
void Stop(const char* why, const char* what);
// The word of a call as a number.
long long Number(const struct Call* call, int word);
// A child runs the script of a thread, and ends.
void Fork(const struct Call* call, struct Result* result);

// ---- actor_calls.c ----

// Makes a call, which may end in SIGBUS where CallsBegin() came before. Any thread.
void Run(const struct Call* call, struct Result* result);
void CallsBegin(void);
// "ok", or the errno of a status below 0.
void SetStatus(struct Result* result, long long status);

#endif  // FAUXDAX_ACTOR_H_
