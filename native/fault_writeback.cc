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
#include <utility>

#include "fault_server.h"

namespace fauxdax {

namespace {

// More than 16 MiB is left to JavaScript: faults wait meanwhile.
constexpr uint64_t kWriteBackPagesMax = 4096;

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
  const uint64_t first = part.file_page / kPagesPerHuge * kPagesPerHuge;
  const uint64_t last = (part.file_page + part.page_count - 1) / kPagesPerHuge * kPagesPerHuge;
  IntervalSet taken;
  const auto take = [&](uint64_t page, uint64_t count) { taken.Add(page, count); };
  caught->dirtied.ForEachIn(part.file_page, part.page_count, take);
  // Entries of 2 MiB are written back whole.
  for (const uint64_t chunk : {first, last}) {
    if (!caught->huge.Contains(chunk, kPagesPerHuge)) continue;
    caught->dirtied.ForEachIn(chunk, kPagesPerHuge, take);
  }
  uint64_t taken_pages = 0;
  taken.ForEach([&](uint64_t, uint64_t count) { taken_pages += count; });
  if (taken_pages == 0) return true;
  if (taken_pages > kWriteBackPagesMax) return false;
  taken.ForEach([&](uint64_t page, uint64_t count) { caught->dirtied.Remove(page, count); });
  caught->groups.End();
  caught->protecting = taken;
  for (const auto& [number, mapping] : mappings_) {
    if (mapping->ino != ino || !mapping->is_shared) continue;
    MemoryChange change = {.kind = MemoryChange::Kind::kProtect,
                           .client = mapping->client->number(),
                           .whole = {},
                           .ranges = {}};
    taken.ForEachIn(mapping->file_page, mapping->page_count, [&](uint64_t page, uint64_t count) {
      for (const MemoryRange& range : ShownMemory(*mapping, page, count)) {
        change.ranges.push_back(range);
      }
    });
    if (!change.ranges.empty()) Append(std::move(change));
  }
  MakeChanges();

  const auto found = caught_.find(ino);
  if (found == caught_.end()) return false;
  Caught& after = found->second;
  const IntervalSet protecting = std::exchange(after.protecting, {});
  const auto lock = files_->SharedLock();
  FileMap* file = files_->Find(ino);
  const bool is_ours = FindSettled(part.mapping) == &after && file != nullptr;
  if (!is_ours || !file->gate().EnterShared()) {
    protecting.ForEach([&](uint64_t page, uint64_t count) { after.dirtied.Add(page, count); });
    return false;
  }
  FlushFile(*file, protecting);
  region_->Fence();
  file->gate().LeaveShared();
  return true;
}

FaultServer::Caught* FaultServer::FindSettled(uint64_t mapping_number) {
  const FaultMapping* mapping = FindMapping(mapping_number);
  if (mapping == nullptr) return nullptr;
  const auto caught = caught_.find(mapping->ino);
  if (caught == caught_.end() || !caught->second.is_settled) return nullptr;
  // A page that a process is just being shown may become storable after it was protected.
  for (const auto& [number, other] : mappings_) {
    if (other->ino == mapping->ino && other->client->any_command()) return nullptr;
  }
  return &caught->second;
}

void FaultServer::FlushFile(const FileMap& file, const IntervalSet& pages) {
  pages.ForEach([&](uint64_t page, uint64_t count) {
    file.ForEachPiece(page << kPageShift, count << kPageShift,
                      [&](uint64_t region_offset, uint64_t length_bytes, bool written) {
                        if (written) region_->Flush(region_offset, length_bytes);
                        return true;
                      });
  });
}

}  // namespace fauxdax
