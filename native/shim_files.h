// Files of the mount as the daemon publishes them (wire_files.h), for calls on them that need no
// kernel: shim_files.c finds a descriptor's file, shim_copy.c copies, shim_read.c reads,
// shim_write.c writes, shim_position.c does both where the descriptor's position is.
//
// Nothing of the program is believed to stay as it is. Which file a descriptor is, and how it was
// opened, the kernel is asked each time, between two looks at the generation: an open inode's
// number is no other file's.
#ifndef FAUXDAX_SHIM_FILES_H_
#define FAUXDAX_SHIM_FILES_H_

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim.h"
#include "wire_files.h"
#include "wire_writes.h"

struct shim_files {
  const struct wire_files* table;
  const uint8_t* region;
  uint64_t region_bytes;
  const uint8_t* zeroes;  // FILES_BYTES_MAX of them
  // The number of this process, in a page that is empty in a child however that was made: only who
  // attached by itself hears of the daemon's end.
  _Atomic uint32_t* owner;
  // Not in a child, however it was made.
  struct wire_counts* counts;
  struct wire_queue* queue;
};

extern struct shim_files shim_files;

#define FILES_BYTES_MAX (UINT64_C(1) << 20)  // in one call
enum { kFilesVectorsMax = 16 };              // of the program, in one call

// Whether `shim_files` is there, until FilesLeave(). False until the process has made enough calls
// that it could have served: this one is noted. Nests, for handlers of signals make calls as well.
bool FilesEnter(int fd);
// The same for a thread that syncs a mapping.
bool FilesEnterToSync(void);
void FilesLeave(void);

// A file in a generation, and how the descriptor was opened.
struct shim_file {
  const struct wire_file* slot;
  uint64_t ino;
  uint64_t generation;
  int flags;  // F_GETFL
};

// The slot of the inode and an even generation in which it is that; false when it is not published,
// or changing right now.
bool FilesFind(struct shim_file* file);
// The file that the descriptor probably is of. False when it is probably none that is published,
// or changing right now: the kernel's.
bool FilesGuess(int fd, struct shim_file* file);
// For a call that goes to the kernel: the descriptor may have been of another file.
void FilesForgetGuess(int fd);
// Asks the kernel. kFileOther: the guess was wrong, and the next one will be better.
enum shim_confirmed { kFileConfirmed, kFileOther, kFileNone };
enum shim_confirmed FilesConfirm(int fd, struct shim_file* file);
// Whether the daemon was there a moment ago, as far as this process has heard. What was copied from
// the region before is of the daemon's time: the next one begins when all have heard.
bool FilesAreServed(void);
// Whether all that was read from the slot, and from pages that it named, is of that generation.
bool FilesIsSame(const struct shim_file* file);

// Whether something was written to the file that is not in its pages yet.
bool FilesHasQueued(const struct shim_file* file);
// The file's place in the table.
static inline uint64_t FilesIndex(const struct shim_file* file) {
  return (uint64_t)(file->slot - &shim_files.table->files[0][0]);
}

static inline uint64_t FilesLoad(const uint64_t* field) {
  return __atomic_load_n(field, __ATOMIC_RELAXED);
}

// The program's vectors, which may not be there, and how long they are together. False when they
// are not for us.
bool FilesTakeVectors(const struct iovec* from, int count, struct iovec* vectors, uint64_t* length);

// shim_read.c: reads without the kernel, all that was asked for or up to the end of *file; false
// when the kernel must do it. Either way the first *dirty bytes of the buffer, but for those that
// were read in the end, may be of who knows which file. `offset` and `length` in bytes.
bool FilesRead(int fd, const struct iovec* to, size_t to_count, uint64_t length, int64_t offset,
               struct shim_file* file, ssize_t* result, uint64_t* dirty);
// Takes back what was copied beyond `result`, up to `dirty`.
void FilesClean(const struct iovec* to, size_t to_count, ssize_t result, uint64_t dirty);

// shim_write.c: writes without the kernel, `length` bytes at the offset *at; false when the kernel
// must do it, and nothing is written. kFilesPosition is where the descriptor's position is, which
// is moved: *at is then what was there, also when nothing could be written.
enum { kFilesPosition = -1 };
bool FilesWrite(int fd, const struct iovec* from, size_t from_count, uint64_t length, int64_t* at);

// Moves the descriptor's position by so many bytes, at once for all who have it; where it is then,
// or a negative errno.
static inline int64_t FilesSeek(int fd, int64_t bytes) {
  return Sys3(SYS_lseek, fd, bytes, SEEK_CUR);
}

// shim_copy.c: to buffers of the program from memory of ours, and the other way. False unless all
// was copied: something is not there.
bool FilesCopyOut(const struct iovec* to, size_t to_count, const struct iovec* from,
                  size_t from_count, uint64_t length);
bool FilesCopyIn(void* to, const struct iovec* from, size_t from_count, uint64_t length);

#endif  // FAUXDAX_SHIM_FILES_H_
