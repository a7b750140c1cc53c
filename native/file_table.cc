#include "file_table.h"

#include <utility>

#include "check.h"

namespace fauxdax {

void FileTable::Add(uint64_t ino, uint64_t size_bytes) {
  CHECK(ino != 0, "inode 0 is no file");
  Remove(ino);
  auto file = std::make_unique<FileMap>(ino, size_bytes);
  std::unique_lock lock(mutex_);
  if ((count_ + 1) * 2 > slots_.size()) {
    std::vector<std::unique_ptr<FileMap>> old(slots_.size() * 2);
    old.swap(slots_);
    for (auto& slot : old) {
      if (slot) Insert(std::move(slot));
    }
  }
  Insert(std::move(file));
  count_++;
}

void FileTable::Remove(uint64_t ino) {
  if (Find(ino) == nullptr) return;
  std::unique_lock lock(mutex_);
  size_t hole = Home(ino);
  while (slots_[hole]->ino() != ino) hole = Next(hole);
  // Stores what is queued, which leaves a time.
  slots_[hole]->ShowIn(nullptr, nullptr);
  TouchedFile touched = {ino, kTimeNone, kTimeNone};
  slots_[hole]->TakeTimes(&touched.atime, &touched.mtime);
  if (touched.atime != kTimeNone || touched.mtime != kTimeNone) {
    std::lock_guard touched_lock(touched_mutex_);
    departed_.push_back(touched);
    any_touched_.store(true, std::memory_order_release);
  }
  slots_[hole].reset();
  count_--;
  // Close the gap: a later file of the same run moves into the hole unless that lies before its
  // home.
  for (size_t i = Next(hole); slots_[i]; i = Next(i)) {
    const size_t mask = slots_.size() - 1;
    const size_t from_home = (i - Home(slots_[i]->ino())) & mask;
    if (from_home >= ((i - hole) & mask)) {
      slots_[hole] = std::move(slots_[i]);
      hole = i;
    }
  }
}

void FileTable::SetPublished(PublishedFiles* published, QueuedWrites* queued) {
  std::unique_lock lock(mutex_);
  for (const auto& file : slots_) {
    if (file) file->ShowIn(nullptr, nullptr);
  }
  published_ = published;
  queued_ = queued;
}

void FileTable::Publish(uint64_t ino) {
  FileMap* const file = Find(ino);
  if (file == nullptr || published_ == nullptr) return;
  CHECK(!file->is_shown(), "a file is published once");
  wire_file* const slot = published_->FreeSlot(ino);
  file->ShowIn(slot, slot == nullptr ? nullptr : queued_);
}

void FileTable::Insert(std::unique_ptr<FileMap> file) {
  size_t i = Home(file->ino());
  while (slots_[i]) i = Next(i);
  slots_[i] = std::move(file);
}

void FileTable::NoteTouched(FileMap* file) {
  std::lock_guard lock(touched_mutex_);
  if (!file->List()) return;
  touched_.push_back(file->ino());
  any_touched_.store(true, std::memory_order_release);
}

std::vector<TouchedFile> FileTable::TakeTouched() {
  std::vector<uint64_t> inos;
  std::vector<TouchedFile> taken;
  {
    std::lock_guard lock(touched_mutex_);
    any_touched_.store(false, std::memory_order_relaxed);
    inos.swap(touched_);
    taken.swap(departed_);
  }
  for (uint64_t ino : inos) {
    FileMap* file = Find(ino);
    if (file == nullptr) continue;
    // Before the times are read: a touch in between is listed again, never lost.
    file->Unlist();
    TouchedFile touched = {ino, kTimeNone, kTimeNone};
    file->TakeTimes(&touched.atime, &touched.mtime);
    if (touched.atime != kTimeNone || touched.mtime != kTimeNone) taken.push_back(touched);
  }
  return taken;
}

}  // namespace fauxdax
