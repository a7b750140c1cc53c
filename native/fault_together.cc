// Which pages a caught store dirties together, and 2 MiB that are shown by one entry of the page
// table.
//
// Where protection is lifted every page takes a fault of the kernel at its next store, a tenth of
// one that is told: the kernel makes no entry storable by itself, and has no entry of 2 MiB that is
// protected with messages (one that was there goes, and each of its pages is looked up again). So
// where many stores come to 2 MiB, the process is to map them anew, over what it has: that is one
// such fault for all 512, where the region has a huge page.
#include <utility>

#include "fault_server.h"
#include "monotonic.h"

namespace fauxdax {

namespace {

// The second store to one of so many pages that lie together lets stores to all of them through:
// flushing one that nobody stored to costs a hundredth of a fault. Where 2 MiB are one entry, to
// all of that.
constexpr uint64_t kBlockPages = 16;
// The same in a file that is synced again and again: who stores between two such syncs to more than
// a few pages goes on where it was, and 2 MiB would be too much to flush each time.
constexpr uint64_t kBlockPagesOften = 64;
// So many pages of such 2 MiB, apart, are stored to one by one.
constexpr uint64_t kSparsePagesMax = 8;
// A process that asked for so many huge pages in vain asks for no more.
constexpr uint32_t kSmallMax = 8;
// Huge pages that one process makes at a time: other commands wait for a millisecond for each.
constexpr uint32_t kMakingMax = 4;

}  // namespace

ShownRun FaultServer::StoredTogether(const Caught& caught, const ShownRun& run,
                                     uint64_t file_page) const {
  const ShownRun one = Clip(run, file_page, file_page + 1);
  // Where stores are looked for, few pages are better.
  if (region_->sees_changes()) return one;
  const uint64_t block = file_page / kBlockPages * kBlockPages;
  const bool is_dense = caught.dirtied.Touches(block, kBlockPages);
  const auto block_around = [&](uint64_t block_pages) {
    ShownRun together = one;
    caught.pages.ForEachIn(file_page / block_pages * block_pages, block_pages,
                           [&](uint64_t page, uint64_t page_count) {
                             if (file_page - page >= page_count) return;
                             together = Clip(run, page, page + page_count);
                           });
    return together;
  };
  if (is_dense && caught.is_synced_often()) return block_around(kBlockPagesOften);
  const uint64_t chunk = file_page / kPagesPerHuge * kPagesPerHuge;
  if (caught.huge.Contains(chunk, kPagesPerHuge)) {
    uint64_t dirtied_pages = 0;
    caught.dirtied.ForEachIn(chunk, kPagesPerHuge,
                             [&](uint64_t, uint64_t page_count) { dirtied_pages += page_count; });
    if (!is_dense && dirtied_pages < kSparsePagesMax) return one;
    return Clip(run, chunk, chunk + kPagesPerHuge);
  }
  return is_dense ? block_around(kBlockPages) : one;
}

std::vector<FaultServer::MemoryRange> FaultServer::NoteGroup(Caught* caught,
                                                             const FaultMapping& mapping,
                                                             uint64_t file_page) const {
  std::vector<MemoryRange> storable;
  if (region_->sees_changes()) return storable;
  for (const uint64_t page : caught->groups.Note(file_page)) {
    ShownRun run;
    const bool is_told = caught->pages.Contains(page, 1) && !caught->dirtied.Contains(page, 1) &&
                         mapping.Covers(page, 1) && mapping.shown.Find(page, &run);
    if (!is_told || mapping.client->IsCommanded(mapping, page)) continue;
    caught->groups.Guessed(page);
    caught->dirtied.Add(page, 1);
    storable.push_back({mapping.AddressOf(page), kPageBytes});
  }
  return storable;
}

bool FaultServer::ShowHuge(FaultClient* client, FaultMapping* mapping, const ShownRun& run) {
  const uint64_t address_page = mapping->AddressOf(run.file_page) >> kPageShift;
  if (!mapping->is_shared || run.page_count != kPagesPerHuge) return false;
  if (address_page % kPagesPerHuge != 0 || run.region_page % kPagesPerHuge != 0) return false;
  if (client->small_count >= kSmallMax) return false;
  uint32_t making_count = 0;
  bool is_under_way = false;
  client->ForEachCommand(UINT64_MAX, [&](const wire_command& command, FaultClient::Asker asker) {
    if (asker != FaultClient::Asker::kServer) return;
    if ((command.flags & WIRE_COLLAPSE) != 0) making_count++;
    if (command.address >> kPageShift == address_page) is_under_way = true;
  });
  if (making_count >= kMakingMax || is_under_way) return false;
  const bool is_huge = huge_pages_[run.region_page / kPagesPerHuge];
  const uint32_t flags = WIRE_STORABLE | WIRE_POPULATE | (is_huge ? 0 : WIRE_COLLAPSE);
  if (client->Command(mapping, run, WIRE_REGION, flags, FaultClient::Asker::kServer) == 0) {
    return false;
  }
  commands_++;
  SendCommands(client);
  // Making a huge page takes long: stores go through meanwhile.
  return is_huge;
}

bool FaultServer::NoteDone(FaultClient* client, const wire_done& done) {
  bool is_awaited = done.error != 0;
  client->ForEachCommand(done.number, [&](const wire_command& command, FaultClient::Asker asker) {
    if (asker == FaultClient::Asker::kJavaScript) is_awaited = true;
    if ((command.flags & WIRE_COLLAPSE) == 0 || done.small_count > 0) return;
    client->small_count = 0;
    const uint64_t region_page = command.region_offset >> kPageShift;
    huge_pages_[region_page / kPagesPerHuge] = true;
  });
  if (done.small_count > 0) client->small_count++;
  return is_awaited;
}

IntervalSet FaultServer::TakeDirtied(uint64_t ino) {
  const Turn turn(this);
  const auto found = caught_.find(ino);
  if (found == caught_.end()) return {};
  Caught& caught = found->second;
  Unkeep(ino, &caught);
  caught.groups.End();
  IntervalSet dirtied = std::exchange(caught.dirtied, {});
  // Not flushed yet: whoever takes them does that too.
  caught.protecting.ForEach([&](uint64_t page, uint64_t count) { dirtied.Add(page, count); });
  caught.protecting = {};
  // May become storable after whoever takes them has protected them.
  for (const auto& [number, client] : clients_) {
    client->ForEachBeingStorable(
        ino, [&](uint64_t page, uint64_t count) { caught.dirtied.Add(page, count); });
  }
  if (caught.pages.empty() && caught.dirtied.empty()) caught_.erase(found);
  return dirtied;
}

}  // namespace fauxdax
