#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "canary.h"
#include "check.h"

namespace fauxdax {

namespace {

// A change that somebody sees holds locks for at most this much at a time; a record holds it whole.
constexpr uint64_t kSeenPieceBytes = uint64_t{1} << 20;
constexpr uint64_t kSeenPiecePages = kSeenPieceBytes >> kPageShift;
static_assert(kSeenPieceBytes + 64 <= TraceFile::kRecordBytesMax);

// Makes the host's blocks exist. Filesystems that cannot say so (EOPNOTSUPP) are taken as they are.
int AllocateHostBlocks(int fd, uint64_t length_bytes) {
  for (;;) {
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(length_bytes)) == 0) return 0;
    if (errno == EINTR) continue;
    return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
  }
}

int CheckFile(int fd, uint64_t length_bytes, bool read_only) {
  struct stat status;
  if (fstat(fd, &status) != 0) return errno;
  if (S_ISCHR(status.st_mode)) return 0;  // a DAX device: mmap(2) knows its size
  if (!S_ISREG(status.st_mode)) return EINVAL;
  if (static_cast<uint64_t>(status.st_size) < length_bytes) return EINVAL;
  return read_only ? 0 : AllocateHostBlocks(fd, length_bytes);
}

// MAP_SYNC first: on a DAX device or a DAX-mounted file flushed lines then survive a real power
// cut.
int Map(int fd, uint64_t length_bytes, bool read_only, uint8_t** base, bool* synchronous) {
  const int protection = read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  void* mapped = mmap(nullptr, length_bytes, protection, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
  *synchronous = mapped != MAP_FAILED;
  if (mapped == MAP_FAILED) mapped = mmap(nullptr, length_bytes, protection, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return errno;
  *base = static_cast<uint8_t*>(mapped);
  return 0;
}

}  // namespace

int Region::Open(const char* path, uint64_t page_count, bool read_only,
                 std::unique_ptr<Region>* out) {
  CHECK(page_count > 0 && page_count <= kRegionPagesMax, "the page count is in range");
  const uint64_t length_bytes = page_count * kPageBytes;
  const int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
  if (fd < 0) return errno;
  uint8_t* base = nullptr;
  bool synchronous = false;
  int error = CheckFile(fd, length_bytes, read_only);
  if (error == 0) error = Map(fd, length_bytes, read_only, &base, &synchronous);
  close(fd);  // the mapping keeps the file
  if (error != 0) return error;
  out->reset(new Region(path, base, page_count, read_only, synchronous));
  return 0;
}

Region::Region(std::string path, uint8_t* base, uint64_t page_count, bool read_only,
               bool synchronous)
    : path_(std::move(path)),
      base_(base),
      page_count_(page_count),
      read_only_(read_only),
      synchronous_(synchronous),
      poison_(page_count),
      watch_(base) {}

Region::~Region() {
  if (recorder_) recorder_->SweepWith(nullptr, nullptr);
  CHECK(munmap(base_, size_bytes()) == 0, "the mapping is ours to unmap");
}

void Region::CheckRange(uint64_t offset, uint64_t length_bytes) const {
  CHECK(offset <= size_bytes() && length_bytes <= size_bytes() - offset,
        "the range is inside the region");
}

std::unique_lock<std::mutex> Region::RecordedOrder() const {
  return recorder_ ? recorder_->Order() : std::unique_lock<std::mutex>();
}

template <typename Write>
void Region::Change(uint64_t offset, uint64_t length_bytes, const uint8_t* bytes, After after,
                    Write write) {
  CHECK(!read_only_, "a read-only region is never stored to");
  if (!seen_.load(std::memory_order_acquire)) [[likely]] {
    write(offset, length_bytes);
  } else {
    ChangeSeen(offset, length_bytes, bytes, after, write);
  }
}

template <typename Write>
void Region::ChangeSeen(uint64_t offset, uint64_t length_bytes, const uint8_t* bytes, After after,
                        Write write) {
  while (length_bytes > 0) {
    const uint64_t piece_bytes = std::min(length_bytes, kSeenPieceBytes);
    const std::unique_lock order = RecordedOrder();
    {
      const std::lock_guard lock(seen_mutex_);
      const bool tracks = tracks_undecided();
      FindStoresTo(offset, piece_bytes);
      if (tracks) undecided_->BeforeStore(offset, piece_bytes);
      write(offset, piece_bytes);
      if (tracks && after == After::kFlushed) undecided_->AfterFlush(offset, piece_bytes);
      watch_.Know(offset, piece_bytes);
    }
    if (recorder_ && bytes == nullptr) recorder_->Zero(offset, piece_bytes);
    if (recorder_ && bytes != nullptr) {
      recorder_->Store(offset, bytes, piece_bytes, after == After::kFlushed);
      bytes += piece_bytes;
    }
    offset += piece_bytes;
    length_bytes -= piece_bytes;
  }
}

int Region::Read(uint64_t offset, void* target, uint64_t length_bytes) const {
  CheckRange(offset, length_bytes);
  if (Poisoned(offset, length_bytes)) return EIO;
  std::memcpy(target, base_ + offset, length_bytes);
  return 0;
}

int Region::Store(uint64_t offset, const void* source, uint64_t length_bytes) {
  CheckRange(offset, length_bytes);
  if (Poisoned(offset, length_bytes)) return EIO;
  const auto* bytes = static_cast<const uint8_t*>(source);
  Change(offset, length_bytes, bytes, After::kStored, [&](uint64_t at, uint64_t piece_bytes) {
    std::memcpy(base_ + at, bytes + (at - offset), piece_bytes);
  });
  return 0;
}

int Region::StoreFlushed(uint64_t offset, const void* source, uint64_t length_bytes) {
  CheckRange(offset, length_bytes);
  const bool heals = Poisoned(offset, length_bytes);
  if (heals && poison_.TouchesInPart(offset, length_bytes)) return EIO;
  const auto* bytes = static_cast<const uint8_t*>(source);
  Change(offset, length_bytes, bytes, After::kFlushed, [&](uint64_t at, uint64_t piece_bytes) {
    persist_.CopyFlushed(base_ + at, bytes + (at - offset), piece_bytes);
  });
  // After the bytes are there: a reader meets the error or the new bytes, never the old ones.
  if (heals) poison_.ClearCovered(offset, length_bytes);
  return 0;
}

int Region::ZeroFlushed(uint64_t offset, uint64_t length_bytes) {
  CheckRange(offset, length_bytes);
  if (Poisoned(offset, length_bytes)) return EIO;
  Change(offset, length_bytes, nullptr, After::kFlushed,
         [&](uint64_t at, uint64_t piece_bytes) { persist_.ZeroFlushed(base_ + at, piece_bytes); });
  return 0;
}

int Region::CopyFlushed(uint64_t from_offset, uint64_t to_offset, uint64_t length_bytes) {
  CheckRange(from_offset, length_bytes);
  CheckRange(to_offset, length_bytes);
  if (Poisoned(from_offset, length_bytes)) return EIO;
  const bool heals = Poisoned(to_offset, length_bytes);
  if (heals && poison_.TouchesInPart(to_offset, length_bytes)) return EIO;
  if (from_offset + length_bytes <= to_offset || to_offset + length_bytes <= from_offset) {
    const uint8_t* from = base_ + from_offset;
    Change(to_offset, length_bytes, from, After::kFlushed, [&](uint64_t at, uint64_t piece_bytes) {
      persist_.CopyFlushed(base_ + at, from + (at - to_offset), piece_bytes);
    });
  } else {
    MoveFlushed(from_offset, to_offset, length_bytes);
  }
  if (heals) poison_.ClearCovered(to_offset, length_bytes);
  return 0;
}

// Overlapping ranges: piece by piece, from the end when moving up, so that no source byte is lost.
void Region::MoveFlushed(uint64_t from_offset, uint64_t to_offset, uint64_t length_bytes) {
  const bool upwards = to_offset > from_offset;
  for (uint64_t done = 0; done < length_bytes;) {
    const uint64_t piece_bytes = std::min(length_bytes - done, kSeenPieceBytes);
    const uint64_t start = to_offset + (upwards ? length_bytes - done - piece_bytes : done);
    // Recorded from where it went: where it came from may be gone.
    const uint8_t* moved = base_ + start;
    Change(start, piece_bytes, moved, After::kFlushed, [&](uint64_t at, uint64_t bytes) {
      std::memmove(base_ + at, base_ + from_offset + (at - to_offset), bytes);
      persist_.Flush(base_ + at, bytes);
    });
    done += piece_bytes;
  }
}

void Region::Flush(uint64_t offset, uint64_t length_bytes, uint32_t thread) {
  CheckRange(offset, length_bytes);
  if (!seen_.load(std::memory_order_acquire)) [[likely]] {
    persist_.Flush(base_ + offset, length_bytes);
    return;
  }
  const std::unique_lock order = RecordedOrder();
  {
    const std::lock_guard lock(seen_mutex_);
    FindStoresTo(offset, length_bytes);
    persist_.Flush(base_ + offset, length_bytes);
    if (tracks_undecided()) undecided_->AfterFlush(offset, length_bytes, thread);
  }
  if (recorder_) recorder_->Flush(offset, length_bytes, thread);
}

void Region::Fence(uint32_t thread) {
  if (!seen_.load(std::memory_order_acquire)) [[likely]] {
    Persist::Fence();
    return;
  }
  const std::unique_lock order = RecordedOrder();
  Persist::Fence();
  if (tracks_undecided()) {
    const std::lock_guard lock(seen_mutex_);
    undecided_->Fence(thread);
  }
  if (recorder_) recorder_->Fence(thread);
}

void Region::WatchPages(uint64_t page, uint64_t page_count) {
  CheckRange(page << kPageShift, page_count << kPageShift);
  if (!sees_changes()) return;
  const std::lock_guard lock(seen_mutex_);
  watch_.Add(page, page_count);
}

void Region::Sweep() {
  if (recorder_) {
    // What programs printed came before what is found now.
    recorder_->Look();
  } else {
    SweepPages(0, page_count_, false);
  }
}

void Region::SweepPages(uint64_t page, uint64_t page_count, bool forget) {
  CheckRange(page << kPageShift, page_count << kPageShift);
  if (!sees_changes()) return;
  const std::unique_lock order = RecordedOrder();
  const std::lock_guard lock(seen_mutex_);
  FindStores(page, page_count);
  if (forget) watch_.Forget(page, page_count);
}

void Region::FindStores(uint64_t page, uint64_t page_count) {
  watch_.Sweep(
      page, page_count,
      [&](uint64_t at, uint64_t lines, const uint8_t* before, const uint8_t* after) {
        if (tracks_undecided()) undecided_->StoreFound(at, lines, before);
        if (!recorder_) return;
        // The bytes are read: who printed before storing them has printed. Who prints after it has
        // stores looked for first, which waits for us.
        recorder_->TakeOutputs();
        // Each line is a store of its own: nobody knows in which order they were made.
        for (; lines != 0; lines &= lines - 1) {
          const uint64_t line_offset = static_cast<uint64_t>(std::countr_zero(lines)) * kLineBytes;
          recorder_->StoreFound((at << kPageShift) + line_offset, after + line_offset, kLineBytes);
        }
      });
}

void Region::FindStoresTo(uint64_t offset, uint64_t length_bytes) {
  if (length_bytes == 0) return;
  const uint64_t page = offset >> kPageShift;
  FindStores(page, ((offset + length_bytes - 1) >> kPageShift) + 1 - page);
}

void Region::FillCanary(uint64_t page, uint64_t page_count, uint64_t owner_ino) {
  CHECK(page <= page_count_ && page_count <= page_count_ - page, "the pages are in the region");
  CHECK(!read_only_, "a read-only region is never stored to");
  const uint64_t end = page + page_count;
  while (page < end) {
    const uint64_t piece_end = std::min(end, page + kSeenPiecePages);
    // A record names pages that follow one another; poisoned ones keep their poison.
    uint64_t run_end = page;
    while (run_end < piece_end && !Poisoned(run_end << kPageShift, kPageBytes)) ++run_end;
    if (run_end > page) FillCanaryPages(page, run_end - page, owner_ino);
    page = std::max(run_end, page + 1);
  }
  Persist::Fence();
}

void Region::FillCanaryPages(uint64_t page, uint64_t page_count, uint64_t owner_ino) {
  alignas(kLineBytes) uint8_t canary[kPageBytes];
  const std::unique_lock order = RecordedOrder();
  for (uint64_t next = page; next < page + page_count; ++next) {
    FillCanaryPage(canary, next, owner_ino);
    uint8_t* target = base_ + (next << kPageShift);
    const std::lock_guard lock(seen_mutex_);
    persist_.CopyFlushed(target, canary, kPageBytes);
    if (tracks_undecided()) undecided_->Settle(next, 1);
    watch_.Know(next << kPageShift, kPageBytes);
  }
  if (recorder_) recorder_->Canary(page, page_count, owner_ino);
}

void Region::Poison(uint64_t page) { poison_.Set(page); }

void Region::Heal(uint64_t page) { poison_.Clear(page); }

void Region::TrackUndecided() {
  CHECK(!read_only_, "a read-only region has nothing undecided");
  const std::lock_guard lock(seen_mutex_);
  if (undecided_) return;
  Persist::Fence();
  undecided_ = std::make_unique<Undecided>(base_, page_count_, persist_);
  tracking_.store(true, std::memory_order_release);
  seen_.store(true, std::memory_order_release);
}

void Region::Record(std::shared_ptr<Recorder> recorder) {
  CHECK(recorder_ == nullptr && recorder != nullptr, "a region is recorded once");
  recorder_ = std::move(recorder);
  const auto sweep = [](void* region) {
    auto* self = static_cast<Region*>(region);
    const std::lock_guard lock(self->seen_mutex_);
    self->FindStores(0, self->page_count_);
  };
  recorder_->SweepWith(sweep, this);
  seen_.store(true, std::memory_order_release);
}

uint64_t Region::UndecidedLineCount() const {
  const std::lock_guard lock(seen_mutex_);
  return undecided_ ? undecided_->line_count() : 0;
}

UndecidedCounters Region::undecided_counters() const {
  const std::lock_guard lock(seen_mutex_);
  return undecided_ ? undecided_->counters() : UndecidedCounters{};
}

CrashCount Region::Crash(const Keep& keep) {
  const std::lock_guard lock(seen_mutex_);
  CHECK(undecided_ != nullptr, "a crash needs TrackUndecided() first");
  FindStores(0, page_count_);
  const CrashCount count = undecided_->Crash(keep);
  watch_.KnowAll();
  Persist::Fence();
  return count;
}

int Region::SyncHost() { return msync(base_, size_bytes(), MS_SYNC) == 0 ? 0 : errno; }

}  // namespace fauxdax
