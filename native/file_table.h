// The shared files of one session by inode number: a flat hash table, open addressing, linear
// probes.
//
// Only the JavaScript thread adds and removes, so it looks up without a lock; the helper holds
// SharedLock() from its look-up to its last use of the file. Inode 0 is no file.
#ifndef FAUXDAX_FILE_TABLE_H_
#define FAUXDAX_FILE_TABLE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "file_clock.h"
#include "file_map.h"
#include "published_files.h"

namespace fauxdax {

// The times of one file that native service left; kTimeNone for one that it did not.
struct TouchedFile {
  uint64_t ino;
  int64_t atime;
  int64_t mtime;
};

class FileTable {
 public:
  FileTable() : slots_(kSlotsMin) {}

  // The file, or nullptr when it is not shared. JavaScript thread, or inside SharedLock().
  FileMap* Find(uint64_t ino) const {
    for (size_t i = Home(ino);; i = Next(i)) {
      FileMap* file = slots_[i].get();
      if (file == nullptr || file->ino() == ino) return file;
    }
  }

  std::shared_lock<std::shared_mutex> SharedLock() { return std::shared_lock(mutex_); }

  // JavaScript thread. Add() replaces a file that is already there. Both wait for the helper. The
  // pending times of a file that goes stay to be taken.
  void Add(uint64_t ino, uint64_t size_bytes);
  void Remove(uint64_t ino);
  size_t count() const { return count_; }

  // JavaScript thread. Where files can be published from here on, and what is queued for them; both
  // stay until this is called again, with nullptr, when no file is published any more.
  void SetPublished(PublishedFiles* published, QueuedWrites* queued);
  // JavaScript thread. Processes may read the file by themselves until it is removed, when there is
  // room for it.
  void Publish(uint64_t ino);
  // JavaScript thread, or inside SharedLock(). Null when no file is published.
  QueuedWrites* queued() const { return queued_; }

  // Any thread: gives the times of all files, to TypeScript too.
  FileClock* clock() { return &clock_; }

  // Any thread that has the file: its times are to be taken; when a touch says so.
  void NoteTouched(FileMap* file);
  // Whether TakeTouched() has something; a touch whose request was answered is never missed.
  bool touched() const { return any_touched_.load(std::memory_order_acquire); }
  // JavaScript thread. All pending times; they are forgotten here.
  std::vector<TouchedFile> TakeTouched();

 private:
  static constexpr size_t kSlotsMin = 64;  // a power of two

  size_t Home(uint64_t ino) const {
    return ((ino * 0x9E3779B97F4A7C15u) >> 32) & (slots_.size() - 1);
  }
  size_t Next(size_t index) const { return (index + 1) & (slots_.size() - 1); }
  void Insert(std::unique_ptr<FileMap> file);

  std::shared_mutex mutex_;
  std::vector<std::unique_ptr<FileMap>> slots_;  // at most half full
  size_t count_ = 0;
  PublishedFiles* published_ = nullptr;
  QueuedWrites* queued_ = nullptr;
  FileClock clock_;

  std::mutex touched_mutex_;
  std::vector<uint64_t> touched_;
  std::vector<TouchedFile> departed_;
  std::atomic<bool> any_touched_ = false;
};

}  // namespace fauxdax

#endif  // FAUXDAX_FILE_TABLE_H_
