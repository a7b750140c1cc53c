// What every 64-byte line of the tortured files must hold, in memory that all processes share.
//
// A line is eight words. Each word of a line that was written says by which write (its stamp, a
// number no other write has), and carries a check of stamp, place in the line and file: bytes of
// another file, of another place in a line or of nobody are recognised even where no order is
// known. Zero words were never written, or punched.
//
// Whoever loads or stores a line, or reads or writes it through the mount, holds its lock; so the
// shadow knows what it must hold. Punch, zero and changes of the size do not take the locks while
// they work: that is the race under test. They mark their lines as in flux before and unmark them
// after, and in between each word may be what it was, zero, or what was stored meanwhile.
#ifndef FAULTS_SHADOW_H_
#define FAULTS_SHADOW_H_

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  kPage = 4096,
  kLine = 64,
  kWords = 8,
  kPageLines = kPage / kLine,
  kFiles = 2,
  kWorkersMax = 64,
  kRing = 1 << 14,
};

struct line {
  _Atomic uint32_t lock;
  uint8_t mask;     // words that hold the stamp; the others are zero
  bool is_loose;    // any part of mask may be zero instead: the next load says which
  bool is_touched;  // stored to while in flux
  uint8_t flux;     // punches and the like under way
  uint8_t sizing;   // of these, changes of the size: SIGBUS or not
  uint64_t stamp;
};

struct file {
  // Size in lines; written while all lines whose end-of-file side changes are in flux or locked.
  _Atomic uint64_t size_lines;
  // Times that private pages were dropped: truncate, collapse, insert.
  _Atomic uint64_t drops;
  pthread_mutex_t sizing;   // one change of the size at a time
  pthread_rwlock_t places;  // exclusive while lines change their place
};

/** One thing that was done, for the report of a failure. */
struct event {
  uint64_t number;
  uint16_t worker;
  uint16_t file;
  uint32_t count;  // lines
  uint64_t line;
  char what[16];
};

struct shadow {
  uint64_t seed;
  uint64_t file_lines;  // of each file, at most
  _Atomic uint64_t next_stamp;
  _Atomic bool ends;
  _Atomic bool has_failed;
  _Atomic bool has_told;  // all of the report of the failure is written
  _Atomic uint64_t next_event;
  _Atomic int64_t calm;  // operations that are to be calm; below 0 as none
  struct file files[kFiles];
  struct event events[kRing];
  struct {
    _Atomic uint64_t operations;
    _Atomic int doing;  // 1 + index of the operation; 0 before the first, -1 at the end
  } workers[kWorkersMax];
  _Atomic uint64_t counts[64];  // by operation
  struct line lines[];          // files one after the other
};

extern struct shadow* shadow;
extern __thread int worker;

/** Makes the shadow in a memory file and returns its descriptor; other processes attach to that. */
int ShadowMake(uint64_t seed, uint64_t file_lines);
void ShadowAttach(int descriptor);

/** Reports what is wrong with a line, and ends the torture. */
void Failed(int file, uint64_t line, const char* format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

/** Notes what is about to be done. */
void Note(const char* what, int file, uint64_t line, uint64_t count);

void LineLock(int file, uint64_t line);
void LineUnlock(int file, uint64_t line);
struct line* LineOf(int file, uint64_t line);

uint64_t NewStamp(void);
/** The words of a line that was written with this stamp. */
void LineWords(uint64_t* words, int file, uint64_t stamp);

/** Checks what was loaded, with the line's lock held; settles a loose line. `how` is for the
 * report. */
void LineCheck(int file, uint64_t line, const volatile uint64_t* words, const char* how);
/** Checks what was loaded without a lock: only words of this file, or zeroes. */
void LineCheckWild(int file, uint64_t line, const uint64_t* words, const char* how);
/** The line was written whole with this stamp; its lock is held. */
void LineStored(int file, uint64_t line, uint64_t stamp);

/** Lines [from, to) may become zero from now on; `sizes`: the end of file moves over them. */
void FluxBegin(int file, uint64_t from, uint64_t to, bool sizes);
/** They are zero now, but for what was stored meanwhile; `drops`: that is gone too. */
void FluxEnd(int file, uint64_t from, uint64_t to, bool sizes, bool drops);

#endif  // FAULTS_SHADOW_H_
