// What the groups of the probe share. A group is a list of probes; each probe runs in a process of
// its own, in a directory of the filesystem under test, and prints rows: behaviour, what real DAX
// (xfs) shows, what was seen. A probe that dies or hangs is a row too, and the others still run.
#ifndef PROBE_H_
#define PROBE_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { kPage = 4096, kHuge = 2 << 20 };

struct probe {
  const char* name;
  void (*run)(void);
};

extern const struct probe kMappingProbes[];
extern const struct probe kSpaceProbes[];
extern const struct probe kChangeProbes[];
extern const struct probe kLifeProbes[];
extern const struct probe kSyncProbes[];
extern const struct probe kCrashProbes[];

/** A row. `expected` has alternatives separated by " or ". */
void Row(const char* behaviour, const char* expected, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
/** A line of the list that cannot be asked here, with the reason. */
void NotHere(const char* behaviour, const char* reason);
/** Ends the probe: a step that has to work did not. */
void Fail(const char* format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/** Name of errno, or "OK" for 0 and more. */
const char* Result(long result);

/** Opens, with O_CREAT; ends the probe on failure. */
int Open(const char* path, int flags);
/** A new file of `size` bytes, a hole. */
int NewHole(const char* path, off_t size);
/** A new file, written with `byte` and fsynced. */
int NewWritten(const char* path, off_t size, int byte);
/** mmap(2) of the file from 0 on; ends the probe on failure. */
char* Map(int file, size_t length, int protection, int flags);
/** Shared, readable and writable. */
char* MapShared(int file, size_t length);

/** Extents as `[3,4)W [8,16)U`, "none" when there are none. Of four static buffers. */
const char* Extents(int file);
/** Length of the bytes' runs: `a*4096 0*4096`; up to a few runs. Of four static buffers. */
const char* Runs(const char* bytes, size_t length);
const char* FileRuns(const char* path);

/** What a load (or, with `stores`, a store of `byte`) does: "OK", or "SIGBUS BUS_ADRERR", and
 * " other address" when si_addr is not where the access was. */
const char* Touch(volatile char* address, bool stores, int byte);

/** Runs `work` in a forked process and waits; its exit status. */
int InChild(int (*work)(void*), void* argument);
/** Runs a shell command without the shim; its output up to the first newline. */
const char* Shell(const char* format, ...) __attribute__((format(printf, 1, 2)));

/** Command that cuts the power of the mount; NULL when none was given. */
extern const char* crash_command;
/** The directory under test, absolute: also the working directory of each probe is inside it. */
extern const char* directory;

#endif  // PROBE_H_
