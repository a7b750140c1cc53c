// Queued writes as a process makes them, and as the daemon stores them: order, changes of the map
// in between, processes that end or lie; then writers against changes, for long.
//
//   queued_writes REGION_FILE
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "file_table.h"
#include "queued_writes.h"

namespace {

using namespace fauxdax;

constexpr uint64_t kRegionPages = 64;
constexpr uint64_t kFilePages = 8;
constexpr uint64_t kIno = 1;
constexpr int kRounds = 1000;

template <typename Shared>
Shared* MapFd(int fd) {
  void* mapped = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(mapped != MAP_FAILED, "a process maps what it is given");
  return static_cast<Shared*>(mapped);
}

// The daemon's parts, and one file of kFilePages written pages.
struct Daemon {
  explicit Daemon(Region* region) {
    CHECK(PublishedFiles::Make(&published) == 0, "the table is made");
    CHECK(QueuedWrites::Make(&files, published.get(), region, &queued) == 0, "counts are made");
    files.SetPublished(published.get(), queued.get());
    slot = published->FreeSlot(kIno);
    files.Add(kIno, kFilePages * kPageBytes);
    file()->Splice(0, kFilePages, {{0, 1, kFilePages, true}});
    file()->SetService(kServiceBits);
    files.Publish(kIno);
    counts = MapFd<wire_counts>(queued->counts_fd());
  }
  ~Daemon() {
    files.SetPublished(nullptr, nullptr);
    munmap(counts, sizeof(*counts));
  }

  FileMap* file() { return files.Find(kIno); }
  uint64_t index() const { return slot - &published->table().files[0][0]; }
  uint64_t changes() const { return __atomic_load_n(&slot->changes, __ATOMIC_SEQ_CST); }

  FileTable files;
  std::unique_ptr<PublishedFiles> published;
  std::unique_ptr<QueuedWrites> queued;
  wire_file* slot;
  wire_counts* counts;
};

// A process with a queue; it fills one place after the other.
class Process {
 public:
  Process(Daemon* daemon, uint64_t client) : daemon_(daemon) {
    int fd;
    CHECK(daemon->queued->AddQueue(client, &fd) == 0, "a process gets a queue");
    queue_ = MapFd<wire_queue>(fd);
    close(fd);
  }
  ~Process() { munmap(queue_, sizeof(*queue_)); }

  // As far as counting it; the place.
  uint32_t Begin(uint64_t changes, uint64_t offset) {
    const uint32_t place = next_++ % WIRE_QUEUE_WRITES;
    CHECK(State(place) == WIRE_WRITE_FREE, "the place is free");
    queue_->writes[place] = {
        WIRE_WRITE_FILLING, daemon_->index(), kIno, changes, offset, sizeof(uint64_t), 1000, 0};
    __atomic_fetch_add(&daemon_->counts->queued[daemon_->index()], 1, __ATOMIC_SEQ_CST);
    return place;
  }
  // Up to the last look at `changes`; the place.
  uint32_t Commit(uint64_t changes, uint64_t offset, uint64_t word, uint64_t skip = 0) {
    const uint32_t place = Begin(changes, offset);
    wire_write* const write = &queue_->writes[place];
    std::memcpy(queue_->bytes[place], &word, sizeof(word));
    const uint64_t sequence =
        skip + __atomic_fetch_add(&daemon_->counts->sequence, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&write->state, sequence << 2 | WIRE_WRITE_COMMITTED, __ATOMIC_SEQ_CST);
    __atomic_store_n(&daemon_->counts->pending, 1, __ATOMIC_SEQ_CST);
    return place;
  }
  // Whether the write is taken back.
  bool Cancel(uint32_t place) {
    uint64_t state = __atomic_load_n(&queue_->writes[place].state, __ATOMIC_SEQ_CST);
    if ((state & 3) != WIRE_WRITE_COMMITTED) return false;
    return __atomic_compare_exchange_n(&queue_->writes[place].state, &state, WIRE_WRITE_FREE, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  }
  uint64_t State(uint32_t place) const {
    return __atomic_load_n(&queue_->writes[place].state, __ATOMIC_SEQ_CST) & 3;
  }
  bool IsOver() const { return __atomic_load_n(&queue_->is_over, __ATOMIC_SEQ_CST) != 0; }
  wire_write* write(uint32_t place) { return &queue_->writes[place]; }

 private:
  Daemon* const daemon_;
  wire_queue* queue_;
  uint32_t next_ = 0;
};

uint64_t WordAt(const Region& region, uint64_t offset) {
  uint64_t word;
  std::memcpy(&word, region.At(kPageBytes + offset), sizeof(word));
  return word;
}

void StoredInOrder(Region* region) {
  Daemon daemon(region);
  Process one(&daemon, 1);
  Process other(&daemon, 2);
  const uint64_t changes = daemon.changes();
  other.Commit(changes, 64, 10);
  one.Commit(changes, 64, 11);
  other.Commit(changes, 72, 12);
  CHECK(daemon.slot->settled + 3 == daemon.counts->queued[daemon.index()], "readers are told");
  CHECK(daemon.queued->Store(), "no gate is closed");
  CHECK(WordAt(*region, 64) == 11 && WordAt(*region, 72) == 12, "the later of two stays");
  CHECK(daemon.slot->settled == daemon.counts->queued[daemon.index()], "nothing is left");
  const std::vector<TouchedFile> touched = daemon.files.TakeTouched();
  CHECK(touched.size() == 1 && touched[0].mtime == 1000, "the time is that of the write");
  // A number that was taken after the daemon began to look waits for the next time.
  const uint32_t late = one.Commit(changes, 64, 13, 5);
  CHECK(daemon.queued->Store() && WordAt(*region, 64) == 11, "what is later waits");
  CHECK(one.State(late) == WIRE_WRITE_COMMITTED && daemon.counts->pending == 1, "and is kept");
}

void ChangesComeBetween(Region* region) {
  Daemon daemon(region);
  Process process(&daemon, 1);
  const uint64_t changes = daemon.changes();
  process.Commit(changes, 0, 20);
  daemon.file()->gate().Close();
  CHECK(WordAt(*region, 0) == 20, "what came before the change is stored before it");
  const uint32_t late = process.Commit(changes, 0, 21);
  CHECK(!daemon.queued->Store(), "a closed gate is said");
  daemon.file()->gate().Open();
  CHECK(daemon.queued->Store() && WordAt(*region, 0) == 20, "an older look counts no more");
  CHECK(process.Cancel(late), "and its write is taken back");
  daemon.file()->SetSize(kPageBytes);
  process.Commit(daemon.changes(), kPageBytes, 22);
  process.Commit(daemon.changes(), UINT64_MAX - 3, 23);
  process.write(process.Commit(daemon.changes(), 8, 24))->slot++;
  process.write(process.Commit(daemon.changes(), 16, 25))->ino++;
  process.write(process.Commit(daemon.changes(), 24, 26))->length = UINT64_MAX;
  const uint64_t before = WordAt(*region, kPageBytes);
  CHECK(daemon.queued->Store(), "no gate is closed");
  CHECK(WordAt(*region, kPageBytes) == before, "nothing is stored beyond the end");
  CHECK(WordAt(*region, 8) == 0 && WordAt(*region, 16) == 0, "nor to what is not the file's");
  CHECK(WordAt(*region, 24) == 0, "nor more than a place holds");
  process.Commit(daemon.changes(), 32, 27);
  daemon.files.Remove(kIno);
  CHECK(WordAt(*region, 32) == 27, "a file that goes has all that was written");
  CHECK(daemon.files.TakeTouched().size() == 1, "and its time");
}

// Whole pages behind the last extent, inside the size.
void RoomsAreFilled(Region* region) {
  constexpr uint64_t kRoomPage = 32;  // of the region
  Daemon daemon(region);
  Process process(&daemon, 1);
  const auto commit = [&](uint64_t page, uint64_t word) {
    const uint32_t place = process.Commit(daemon.changes(), page * kPageBytes, word);
    process.write(place)->length = kPageBytes;
    return place;
  };
  const auto word_at = [&](uint64_t page) {
    return WordAt(*region, (kRoomPage - 1 + page) * kPageBytes);
  };
  const std::vector<uint8_t> junk(8 * kPageBytes, 0xaa);
  CHECK(region->StoreFlushed(kRoomPage << kPageShift, junk.data(), junk.size()) == 0, "stored");
  daemon.file()->SetSize((kFilePages + 6) * kPageBytes);
  daemon.file()->OfferRoom({kFilePages, kRoomPage, 5, true});
  CHECK(daemon.slot->room_page == kFilePages && daemon.slot->room_end_page == kFilePages + 5,
        "processes are told");
  commit(kFilePages, 50);
  CHECK(daemon.queued->Store() && word_at(0) == 50, "the first page is stored");
  CHECK(daemon.slot->room_page == kFilePages + 1, "and the file's");
  commit(kFilePages + 2, 52);
  CHECK(daemon.queued->Store() && word_at(2) == 52, "a later page is stored");
  CHECK(word_at(1) == 0, "what lies before it is zeroes");
  commit(kFilePages + 1, 51);
  CHECK(daemon.queued->Store() && word_at(1) == 51, "until it is written");
  process.write(commit(kFilePages + 3, 53))->length = kPageBytes - 1;
  process.write(commit(kFilePages + 3, 53))->offset += 1;
  commit(kFilePages + 5, 55);
  process.write(commit(kFilePages + 4, 54))->length = 2 * kPageBytes;
  CHECK(daemon.queued->Store() && daemon.slot->room_page == kFilePages + 3,
        "parts of pages are not, nor what the room does not have");
  commit(kFilePages + 3, 53);
  CHECK(daemon.file()->EndRoom() == 4 && word_at(3) == 53, "what came before the end is stored");
  CHECK(daemon.slot->room_end_page == 0, "processes are told of the end");
  CHECK(daemon.file()->extent_count() == 2, "it is the file's, in one piece");
  daemon.file()->OfferRoom({kFilePages + 4, kRoomPage + 4, 4, true});
  process.write(commit(kFilePages + 4, 54))->length = 2 * kPageBytes;
  CHECK(daemon.queued->Store() && word_at(4) == 54, "up to the end of the file");
  commit(kFilePages + 6, 56);
  CHECK(daemon.queued->Store() && word_at(6) != 56, "and not behind it");
  CHECK(daemon.file()->EndRoom() == 2, "the rest is left");
}

void EndedProcess(Region* region) {
  Daemon daemon(region);
  Process process(&daemon, 1);
  process.Commit(daemon.changes(), 128, 30);
  CHECK(!process.IsOver(), "its queue is looked at");
  daemon.queued->RemoveQueue(1);
  CHECK(process.IsOver(), "a process that goes on is told");
  CHECK(daemon.queued->Store() && WordAt(*region, 128) == 30, "what it wrote is stored");
  const uint32_t place = process.Commit(daemon.changes(), 128, 31);
  CHECK(daemon.queued->Store() && WordAt(*region, 128) == 30, "nobody looks any more");
  CHECK(process.Cancel(place), "it takes back what nobody will store");
  Process again(&daemon, 1);
}

// Readers do not wait for ever for what a process had counted when it was killed.
void KilledProcess(Region* region) {
  Daemon daemon(region);
  Process other(&daemon, 2);
  const auto is_settled = [&daemon] {
    return daemon.slot->settled == daemon.counts->queued[daemon.index()];
  };
  {
    Process process(&daemon, 1);
    const uint64_t changes = daemon.changes();
    process.Begin(changes, 128);
    process.Commit(changes - 1, 128, 40);  // and had to take this back
    process.write(process.Begin(changes, 128))->slot = UINT64_MAX;
    CHECK(daemon.queued->Store() && !is_settled(), "it may go on");
    const uint32_t late = other.Begin(changes, 136);
    other.Commit(changes, 144, 41);
    daemon.queued->RemoveQueue(1);
    CHECK(daemon.queued->Store() && is_settled(), "it does not");
    CHECK(WordAt(*region, 144) == 41, "what others wrote is stored");
    CHECK(daemon.changes() != changes, "and who has begun looks again");
    (void)other.Cancel(late);
  }
  Process process(&daemon, 3);
  process.Begin(daemon.changes(), 128);
  daemon.file()->gate().Close();
  process.Begin(daemon.changes(), 128);
  daemon.queued->RemoveQueue(3);
  (void)daemon.queued->Store();
  CHECK(!is_settled(), "not while its map changes");
  daemon.file()->gate().Open();
  CHECK(daemon.queued->Store() && is_settled(), "but afterwards");
}

// A write whose last look saw no change is in the region whatever the map did afterwards.
void WritersAgainstChanges(Region* region) {
  Daemon daemon(region);
  std::atomic<bool> stop{false};
  std::atomic<int> lost{0};
  std::vector<std::thread> writers;
  for (uint64_t client = 1; client <= 2; client++) {
    writers.emplace_back([&daemon, &stop, &lost, region, client] {
      Process process(&daemon, client);
      const uint64_t offset = client * 512;
      for (uint64_t i = 1; !stop; i++) {
        const uint64_t changes = daemon.changes();
        const uint32_t place = process.Commit(changes, offset, i);
        if (daemon.changes() != changes && process.Cancel(place)) continue;
        const auto lock = daemon.files.SharedLock();
        while (process.State(place) != WIRE_WRITE_FREE) (void)daemon.queued->Store();
        if (WordAt(*region, offset) != i) lost++;
      }
    });
  }
  for (int round = 0; round < kRounds; round++) {
    daemon.file()->Splice(7, 8, {{7, 8, 1, round % 2 == 0}});
    (void)daemon.queued->Store();
    std::this_thread::yield();
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  CHECK(lost == 0 && daemon.queued->stored() > 100, "no write is lost");
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: queued_writes REGION_FILE");
  std::unique_ptr<Region> region;
  CHECK(Region::Open(argv[1], kRegionPages, false, &region) == 0, "the region opens");
  StoredInOrder(region.get());
  ChangesComeBetween(region.get());
  RoomsAreFilled(region.get());
  EndedProcess(region.get());
  KilledProcess(region.get());
  WritersAgainstChanges(region.get());
  std::puts("done");
  return 0;
}
