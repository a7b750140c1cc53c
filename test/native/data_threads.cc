// The JavaScript thread's part and the helper's part of native service at once, under the thread
// sanitizer: both read and write two files through a DataService, while the first also changes
// maps, sizes, service and the set of files; a third reads what is published of them. Then one map
// against a plain array of pages, for long.
//
//   data_threads REGION_FILE
#include <fcntl.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "data_service.h"
#include "file_table.h"

namespace {

using namespace fauxdax;

constexpr uint64_t kRegionPages = 64;
constexpr uint64_t kFilePages = 30;
constexpr int kRounds = 20000;

// A READ or WRITE of a random piece of file 1 or 2, or of no file.
class RandomRequest {
 public:
  explicit RandomRequest(uint32_t seed) : random_(seed) {}

  Request Next() {
    const uint64_t offset = random_() % (kFilePages * kPageBytes);
    const uint32_t size = random_() % (3 * kPageBytes);
    const bool write = random_() % 2 == 0;
    fuse_in_header header = {};
    header.opcode = write ? FUSE_WRITE : FUSE_READ;
    header.unique = 2;
    header.nodeid = 1 + random_() % 3;
    uint8_t* body = buffer_.data() + sizeof(header);
    size_t body_bytes = 0;
    if (write) {
      fuse_write_in in = {};
      in.offset = offset;
      in.size = size;
      std::memcpy(body, &in, sizeof(in));
      std::memset(body + sizeof(in), static_cast<int>(random_()), size);
      body_bytes = sizeof(in) + size;
    } else {
      fuse_read_in in = {};
      in.offset = offset;
      in.size = size;
      std::memcpy(body, &in, sizeof(in));
      body_bytes = sizeof(in);
    }
    header.len = static_cast<uint32_t>(sizeof(header) + body_bytes);
    std::memcpy(buffer_.data(), &header, sizeof(header));
    return buffer_.Parse(header.len);
  }

 private:
  std::mt19937 random_;
  RequestBuffer buffer_;
};

void ShareBoth(FileTable* files) {
  for (uint64_t ino = 1; ino <= 2; ino++) {
    files->Add(ino, kFilePages * kPageBytes);
    FileMap* file = files->Find(ino);
    file->Splice(0, kFilePages, {{0, 1 + (ino - 1) * kFilePages, kFilePages, true}});
    file->SetService(kServeReads | kServeWrites | kReadsTouchAtime);
    files->Publish(ino);
  }
}

// What TypeScript does between two requests.
void ChangeSomething(FileTable* files, int round) {
  FileMap* file = files->Find(1 + round % 2);
  const uint64_t first_page = 1 + (file->ino() - 1) * kFilePages;
  const uint64_t page = static_cast<uint64_t>(round) % kFilePages;
  switch (round % 7) {
    case 0:
      file->Splice(page, page + 1, {});
      break;
    case 1:
      file->gate().Close();
      file->Splice(0, kFilePages, {{0, first_page, kFilePages, true}});
      file->SetSize(kFilePages * kPageBytes - page);
      file->gate().Open();
      break;
    case 2:
      file->Splice(page, page + 1, {{page, first_page + page, 1, false}});
      break;
    case 3:
      files->TakeTouched();
      break;
    case 4:
      if (round % 70 == 4) ShareBoth(files);
      break;
    case 5:
      for (uint64_t ino = 100; ino < 140; ino++) files->Add(ino + round % 500, 0);
      break;
    default:
      for (uint64_t ino = 100; ino < 140; ino++) files->Remove(ino + round % 500);
  }
}

uint64_t Load(const uint64_t& field) { return __atomic_load_n(&field, __ATOMIC_ACQUIRE); }

// As a process reads: what lies between two looks at one even generation belongs together. False
// when there was nothing to see.
bool ReadPublished(const wire_file& file) {
  const uint64_t generation = Load(file.generation);
  const uint64_t ino = Load(file.ino);
  const uint64_t count = Load(file.extent_count);
  if (generation % 2 != 0 || (ino != 1 && ino != 2) || count > WIRE_FILE_EXTENTS_MAX) return false;
  bool is_right = true;
  for (uint64_t i = 0; i < count; i++) {
    const wire_extent& extent = file.extents[i];
    is_right &= Load(extent.region_page) == Load(extent.file_page) + 1 + (ino - 1) * kFilePages;
    is_right &= Load(extent.file_page) + Load(extent.page_count) <= kFilePages;
  }
  if (Load(file.generation) != generation) return false;
  CHECK(is_right, "a published map is the file's");
  return true;
}

void ServeTogether(Region* region) {
  Device device(open("/dev/null", O_WRONLY));
  std::unique_ptr<PublishedFiles> published;
  CHECK(PublishedFiles::Make(&published) == 0, "the table is made");
  FileTable files;
  files.SetPublished(published.get(), nullptr);
  const wire_file* const slot = published->FreeSlot(1);
  DataService data(&files, region, &device, false);
  ShareBoth(&files);
  std::atomic<bool> stop{false};
  std::thread helper([&] {
    RandomRequest requests(1);
    while (!stop) data.Serve(requests.Next(), ServingThread::kHelper);
  });
  uint64_t seen = 0;
  std::thread reader([&] {
    while (!stop) seen += ReadPublished(*slot);
  });
  RandomRequest requests(2);
  for (int round = 0; round < kRounds; round++) {
    data.Serve(requests.Next(), ServingThread::kScript);
    ChangeSomething(&files, round);
  }
  stop = true;
  helper.join();
  reader.join();
  files.SetPublished(nullptr, nullptr);
  CHECK(seen > 0 && Load(slot->ino) == 0, "a file is shown until it is not");
  CHECK(device.broken() == 0, "every answer was sent");
  CHECK(data.counters().reads > 100 && data.counters().writes > 100, "both were served");
}

// One thread touches a file while another takes the times of all that were touched.
void TakeWhatIsTouched() {
  FileTable files;
  files.Add(1, 0);
  FileMap* const file = files.Find(1);
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  std::thread toucher([&] {
    for (int round = 1; round <= kRounds; round++) {
      while (begun != round) std::this_thread::yield();
      for (int touch = 0; touch < 5; touch++) {
        if (file->TouchMtimeFinely(files.clock())) files.NoteTouched(file);
      }
      ended = round;
    }
  });
  for (int round = 1; round <= kRounds; round++) {
    begun = round;
    while (ended != round) files.TakeTouched();
    files.TakeTouched();
    int64_t atime, mtime;
    file->TakeTimes(&atime, &mtime);
    CHECK(mtime == kTimeNone, "what was touched was there to be taken");
  }
  toucher.join();
}

// Every page of the map as ForEachPiece() tells it: the region page + 1, or 0 when not written.
std::vector<uint64_t> Pages(const FileMap& file) {
  std::vector<uint64_t> pages;
  file.ForEachPiece(0, kFilePages * kPageBytes, [&](uint64_t offset, uint64_t bytes, bool written) {
    CHECK(bytes % kPageBytes == 0 && bytes > 0, "pieces are whole pages here");
    for (uint64_t i = 0; i < bytes >> kPageShift; i++) {
      pages.push_back(written ? (offset >> kPageShift) + i + 1 : 0);
    }
    return true;
  });
  return pages;
}

void SpliceLikeAnArray() {
  std::mt19937 random(7);
  FileMap file(1, kFilePages * kPageBytes);
  std::vector<uint64_t> model(kFilePages, 0);
  for (int round = 0; round < kRounds; round++) {
    const uint64_t start = random() % kFilePages;
    const uint64_t end = start + 1 + random() % (kFilePages - start);
    std::vector<MapExtent> extents;
    for (uint64_t page = start; page < end;) {
      const uint64_t count = std::min<uint64_t>(1 + random() % 5, end - page);
      const uint64_t region_page = random() % 3 == 0 ? random() % 1000 : page + 5;
      const uint32_t state = random() % 3;
      if (state < 2) extents.push_back({page, region_page, count, state == 1});
      for (uint64_t i = 0; i < count; i++) model[page + i] = state == 1 ? region_page + i + 1 : 0;
      page += count;
    }
    file.Splice(start, end, extents);
    CHECK(Pages(file) == model, "a map is what was spliced into it");
    CHECK(file.extent_count() <= kFilePages, "extents are apart");
  }
  // Appending page by page keeps one extent: neighbours merge.
  file.Splice(0, kFilePages, {});
  for (uint64_t page = 0; page < kFilePages; page++) {
    file.Splice(page, page + 1, {{page, page + 9, 1, true}});
    CHECK(file.extent_count() == 1, "what continues an extent is merged into it");
  }
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: data_threads REGION_FILE");
  std::unique_ptr<Region> region;
  CHECK(Region::Open(argv[1], kRegionPages, false, &region) == 0, "the region opens");
  ServeTogether(region.get());
  TakeWhatIsTouched();
  SpliceLikeAnArray();
  std::puts("done");
  return 0;
}
