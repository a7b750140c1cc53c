// Writeback without JavaScript: msync of a file of which everything but what was stored through its
// mappings is durable already. The order is that of lib/dax/writeback.ts: what was noted is taken →
// protected in every mapping that shows it → flushed → fenced, so that a store is either in the
// flush or noted for the next time. The mutex is not held while memory is protected; what
// JavaScript takes meanwhile has what is not flushed yet in it, and then all of it is left to
// JavaScript.
//
// Who says that a file is settled is JavaScript, after a sync that left nothing dirty and nothing
// of the metadata to be committed; it takes that back before it answers for any change of the
// metadata. Times are not worth a commit here, as in fdatasync(2).
//
// Who syncs again and again, a database, stores to the same few pages in between, and each would
// fault each time. What the fault is for, besides the note, is mtime; and the clock of mtime ticks.
// So in the tick after a caught store moved mtime such pages are flushed and *kept*: they stay
// storable, and noted for the next sync, which flushes them again, stored to or not. When the tick
// is over they are written back. When the file is settled no more (somebody sets times, say), they
// are protected first.
//
// While such pages are all that there is to flush, processes are shown which they are, and flush
// them by themselves (shim_sync.c). So before another store goes through, or anything has to be
// committed, they are shown no more.
#include <utility>
#include <vector>

#include "fault_server.h"
#include "monotonic.h"

namespace fauxdax {

namespace {

// More than 16 MiB is left to JavaScript: faults wait meanwhile.
constexpr uint64_t kWriteBackPagesMax = 4096;
// 4 MiB: what a sync flushes in less time than the faults take that they would cost.
constexpr uint64_t kKeptPagesMax = 1024;
// Of the clock that a kernel with 250 Hz takes the times of files from.
constexpr int64_t kTickNs = 4'000'000;

}  // namespace

bool FaultServer::WriteBackSettled(const std::vector<FaultPart>& parts) {
  // There, who stored and flushed what is JavaScript's to say.
  if (region_->sees_changes()) return false;
  bool any_shared = false;
  for (const FaultPart& part : parts) {
    const FaultMapping* mapping = FindMapping(part.mapping);
    if (mapping == nullptr || !mapping->is_shared) continue;
    any_shared = true;
    if (!WriteBack(part)) return false;
  }
  // Also for what was written, not stored.
  region_->Fence();
  if (any_shared) settled_syncs_++;
  return any_shared;
}

bool FaultServer::WriteBack(const FaultPart& part) {
  Caught* caught = FindSettled(part.mapping);
  if (caught == nullptr) return false;
  const uint64_t ino = FindMapping(part.mapping)->ino;
  const int64_t now_ns = MonotonicNs();
  const bool goes_on = now_ns < caught->synced_ns + kTickNs;
  caught->syncs_in_a_row = goes_on ? caught->syncs_in_a_row + 1 : 0;
  caught->synced_ns = now_ns;
  IntervalSet taken;
  const auto take = [&](uint64_t page, uint64_t count) { taken.Add(page, count); };
  caught->dirtied.ForEachIn(part.file_page, part.page_count, take);
  if (taken.empty()) return true;
  caught->groups.End();
  const bool keeps = caught->is_synced_often() && taken.page_count() <= kKeptPagesMax &&
                     now_ns < caught->touched_ns + kTickNs;
  if (keeps) {
    taken.ForEach([&](uint64_t page, uint64_t count) { caught->kept.Add(page, count); });
    const int64_t end_ns = caught->touched_ns + kTickNs;
    if (kept_until_ns_ == 0 || end_ns < kept_until_ns_) kept_until_ns_ = end_ns;
    if (!FlushPages(ino, taken)) return false;
    ShowKept(ino, caught);
    return true;
  }
  // Entries of 2 MiB are protected whole.
  const uint64_t first = part.file_page / kPagesPerHuge * kPagesPerHuge;
  const uint64_t last = (part.file_page + part.page_count - 1) / kPagesPerHuge * kPagesPerHuge;
  for (const uint64_t chunk : {first, last}) {
    if (!caught->huge.Contains(chunk, kPagesPerHuge)) continue;
    caught->dirtied.ForEachIn(chunk, kPagesPerHuge, take);
  }
  return taken.page_count() <= kWriteBackPagesMax && WriteBackPages(ino, taken);
}

bool FaultServer::WriteBackPages(uint64_t ino, const IntervalSet& taken) {
  Caught& caught = caught_.at(ino);
  HideKept(ino, &caught);
  taken.ForEach([&](uint64_t page, uint64_t count) {
    caught.dirtied.Remove(page, count);
    caught.kept.Remove(page, count);
  });
  caught.protecting = taken;
  AppendProtection(ino, taken);
  MakeChanges();

  const auto found = caught_.find(ino);
  if (found == caught_.end()) return false;
  Caught& after = found->second;
  const IntervalSet protecting = std::exchange(after.protecting, {});
  // What JavaScript took meanwhile it flushes, too.
  if (IsSettled(ino) && FlushPages(ino, protecting)) return true;
  protecting.ForEach([&](uint64_t page, uint64_t count) { after.dirtied.Add(page, count); });
  return false;
}

uint64_t FaultServer::AppendProtection(uint64_t ino, const IntervalSet& pages) {
  uint64_t last = 0;
  for (const auto& [number, mapping] : mappings_) {
    if (mapping->ino != ino || !mapping->is_shared) continue;
    MemoryChange change = {.kind = MemoryChange::Kind::kProtect,
                           .client = mapping->client->number(),
                           .whole = {},
                           .ranges = {}};
    pages.ForEachIn(mapping->file_page, mapping->page_count, [&](uint64_t page, uint64_t count) {
      for (const MemoryRange& range : ShownMemory(*mapping, page, count)) {
        change.ranges.push_back(range);
      }
    });
    if (!change.ranges.empty()) last = Append(std::move(change));
  }
  return last;
}

void FaultServer::EndKeeping() {
  const int64_t now_ns = MonotonicNs();
  kept_until_ns_ = 0;
  std::vector<uint64_t> due;
  for (const auto& [ino, caught] : caught_) {
    if (caught.kept.empty()) continue;
    const int64_t end_ns = caught.touched_ns + kTickNs;
    if (end_ns <= now_ns) {
      due.push_back(ino);
    } else if (kept_until_ns_ == 0 || end_ns < kept_until_ns_) {
      kept_until_ns_ = end_ns;
    }
  }
  for (const uint64_t ino : due) {
    const auto found = caught_.find(ino);
    if (found == caught_.end()) continue;
    const IntervalSet kept = found->second.kept;
    // Syncs by processes are not seen here.
    if (found->second.is_kept_shown) found->second.synced_ns = now_ns;
    if (!kept.empty()) (void)WriteBackPages(ino, kept);
  }
}

void FaultServer::ShowKept(uint64_t ino, Caught* caught) {
  if (caught->is_kept_shown || caught->kept.page_count() != caught->dirtied.page_count()) return;
  const auto lock = files_->SharedLock();
  FileMap* file = files_->Find(ino);
  if (file == nullptr || !file->gate().EnterShared()) return;
  file->ShowKept(caught->kept, ++last_kept_);
  file->gate().LeaveShared();
  caught->is_kept_shown = true;
}

void FaultServer::HideKept(uint64_t ino, Caught* caught) {
  if (!std::exchange(caught->is_kept_shown, false)) return;
  const auto lock = files_->SharedLock();
  FileMap* file = files_->Find(ino);
  if (file != nullptr) file->HideKept();
}

uint64_t FaultServer::Unkeep(uint64_t ino, Caught* caught) {
  caught->is_settled = false;
  HideKept(ino, caught);
  const IntervalSet kept = std::exchange(caught->kept, {});
  // What was kept until just now is storable until the thread has protected it.
  if (kept.empty()) return caught->protecting.empty() ? 0 : last_change_;
  const bool was_idle = changes_.empty();
  const uint64_t number = AppendProtection(ino, kept);
  if (was_idle && number != 0) Kick();
  return number;
}

FaultServer::Caught* FaultServer::FindSettled(uint64_t mapping_number) {
  const FaultMapping* mapping = FindMapping(mapping_number);
  if (mapping == nullptr || !IsSettled(mapping->ino)) return nullptr;
  return &caught_.at(mapping->ino);
}

bool FaultServer::IsSettled(uint64_t ino) {
  const auto caught = caught_.find(ino);
  if (caught == caught_.end() || !caught->second.is_settled) return false;
  // A page that a process is just being shown may become storable after it was protected.
  for (const auto& [number, other] : mappings_) {
    if (other->ino == ino && other->client->any_command()) return false;
  }
  return true;
}

bool FaultServer::FlushPages(uint64_t ino, const IntervalSet& pages) {
  const auto lock = files_->SharedLock();
  FileMap* file = files_->Find(ino);
  if (file == nullptr || !file->gate().EnterShared()) return false;
  pages.ForEach([&](uint64_t page, uint64_t count) {
    file->ForEachPiece(page << kPageShift, count << kPageShift,
                       [&](uint64_t region_offset, uint64_t length_bytes, bool written) {
                         if (written) region_->Flush(region_offset, length_bytes);
                         return true;
                       });
  });
  region_->Fence();
  file->gate().LeaveShared();
  return true;
}

}  // namespace fauxdax
