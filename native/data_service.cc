#include "data_service.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "check.h"
#include "frame.h"
#include "in_place.h"
#include "queued_writes.h"

namespace fauxdax {

namespace {

// Never touched for writing, so the pages stay the kernel's one zero page.
const uint8_t* MapZeros() {
  void* zeros = mmap(nullptr, kTransferBytesMax, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(zeros != MAP_FAILED, "no memory for zeros");
  return static_cast<const uint8_t*>(zeros);
}

void Count(std::atomic<uint64_t>* operations, std::atomic<uint64_t>* bytes, uint64_t length) {
  operations->fetch_add(1, std::memory_order_relaxed);
  bytes->fetch_add(length, std::memory_order_relaxed);
}

}  // namespace

DataService::DataService(FileTable* files, Region* region, Device* device, bool read_only)
    : files_(files),
      region_(region),
      device_(device),
      read_only_(read_only || region == nullptr || region->read_only()),
      zeros_(MapZeros()) {}

DataService::~DataService() { munmap(const_cast<uint8_t*>(zeros_), kTransferBytesMax); }

bool DataService::Serve(const Request& request, ServingThread thread) {
  std::shared_lock<std::shared_mutex> lock;
  if (thread == ServingThread::kHelper) lock = files_->SharedLock();
  QueuedWrites* const queued = files_->queued();
  if (queued != nullptr && !queued->Store()) {
    CHECK(thread == ServingThread::kHelper, "the script serves nothing between close and open");
    return false;
  }
  const uint32_t opcode = request.header->opcode;
  if (opcode != FUSE_READ && opcode != FUSE_WRITE) return false;

  FileMap* file = files_->Find(request.header->nodeid);
  if (opcode == FUSE_READ) return file != nullptr && Read(request, file, thread);

  if (request.body_bytes < sizeof(fuse_write_in)) return false;
  const auto& in = *reinterpret_cast<const fuse_write_in*>(request.body);
  if (request.body_bytes - sizeof(fuse_write_in) < in.size) return false;
  if ((in.write_flags & FUSE_WRITE_CACHE) && discard_writeback_.load(std::memory_order_relaxed)) {
    const fuse_write_out out = {in.size, 0};
    device_->Answer(request.header->unique, 0, &out, sizeof(out));
    return true;
  }
  return file != nullptr && Write(request, in, file, thread);
}

bool DataService::Read(const Request& request, FileMap* file, ServingThread thread) {
  const uint32_t service = file->service();
  if (!(service & kServeReads) || request.body_bytes < sizeof(fuse_read_in)) return false;
  const auto& in = *reinterpret_cast<const fuse_read_in*>(request.body);
  if (in.size > kTransferBytesMax || in.offset >= kFileBytesMax) return false;
  // Only who reads for a program names it; what is cached, nobody asks for again.
  if ((service & kTellCached) && !(in.read_flags & FUSE_READ_LOCKOWNER)) return false;

  if (!file->gate().EnterShared()) {
    CHECK(thread == ServingThread::kHelper, "the script serves nothing between close and open");
    return false;
  }
  const uint64_t size_bytes = file->size_bytes();
  const uint64_t length =
      in.offset < size_bytes ? std::min<uint64_t>(in.size, size_bytes - in.offset) : 0;
  const uint64_t unique = request.header->unique;
  // Before the answer: whoever saw the read return must find the new atime.
  const bool touches = (service & kReadsTouchAtime) && !(in.flags & O_NOATIME);
  if (touches && file->TouchAtime(files_->clock())) files_->NoteTouched(file);
  // A READ of pages that are read ahead is all or nothing: short would mean end of file. The kernel
  // asks again page by page for what was really wanted.
  if (!AnswerRead(unique, *file, in.offset, length)) device_->AnswerError(unique, EIO);
  file->gate().LeaveShared();
  Count(&counters_.reads, &counters_.read_bytes, length);
  return true;
}

bool DataService::AnswerRead(uint64_t unique, const FileMap& file, uint64_t offset,
                             uint64_t length_bytes) {
  iovec pieces[kAnswerPiecesMax];
  size_t piece_count = 1;
  const bool readable = file.ForEachPiece(
      offset, length_bytes, [&](uint64_t region_offset, uint64_t piece_bytes, bool written) {
        if (written && region_->Poisoned(region_offset, piece_bytes)) return false;
        CHECK(piece_count < kAnswerPiecesMax, "extents are whole pages");
        const uint8_t* bytes = written ? region_->At(region_offset) : zeros_;
        pieces[piece_count++] = {const_cast<uint8_t*>(bytes), piece_bytes};
        return true;
      });
  if (!readable) return false;
  device_->AnswerPieces(unique, pieces, piece_count, length_bytes);
  return true;
}

bool DataService::Write(const Request& request, const fuse_write_in& in, FileMap* file,
                        ServingThread thread) {
  const uint32_t service = file->service();
  if (!(service & kServeWrites) || read_only_) return false;
  if ((in.write_flags & FUSE_WRITE_KILL_SUIDGID) && !(service & kNothingToKill)) return false;
  // No FSYNC follows a direct write: the script makes it durable before it answers.
  if ((in.fh & frame::kHandleDirect) && (in.flags & O_DSYNC)) return false;
  if (in.offset >= kFileBytesMax) return false;

  if (!file->gate().EnterAlone()) {
    CHECK(thread == ServingThread::kHelper, "the script serves nothing between close and open");
    return false;
  }
  const uint8_t* const bytes = request.body + sizeof(fuse_write_in);
  int error = StoreInPlace(region_, *file, in.offset, bytes, in.size);
  if (error == EAGAIN) error = StoreInRoom(region_, file, in.offset, bytes, in.size);
  file->gate().LeaveAlone();
  if (error == EAGAIN) return false;

  // Before the answer: whoever saw the write succeed must find the new mtime. After the bytes are
  // there: whoever looked too early for it to move sees them.
  if (file->TouchMtime(files_->clock())) files_->NoteTouched(file);
  const uint64_t unique = request.header->unique;
  if (error != 0) {
    device_->AnswerError(unique, error);
    return true;
  }
  Count(&counters_.writes, &counters_.write_bytes, in.size);
  const fuse_write_out out = {in.size, 0};
  device_->Answer(unique, 0, &out, sizeof(out));
  return true;
}

}  // namespace fauxdax
