// Operations as system calls. A call's result and errno go into the Outcome as they are, but for
// those few values that two correct filesystems may choose differently; each of these says why.
#include "side.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace fxdiff {
namespace {

constexpr int64_t kBufferBytes = 1 << 20;
sigjmp_buf bus_error_return;

void OnBusError(int) { siglongjmp(bus_error_return, 1); }

Outcome Result(int64_t result) {
  Outcome outcome;
  outcome.result = result;
  outcome.error = result < 0 ? errno : 0;
  return outcome;
}

Outcome ReadResult(int64_t result) {
  Outcome outcome = Result(result);
  outcome.byte_count = result > 0 ? result : 0;
  return outcome;
}

Outcome ListDirectory(const std::string& path) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return Result(-1);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(directory)) {
    names.push_back(std::string(entry->d_name) + "/" + std::to_string(entry->d_type));
  }
  Outcome outcome = Result(errno == 0 ? 0 : -1);
  closedir(directory);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) outcome.text += name + "\n";
  return outcome;
}

Outcome ListAttributes(const std::string& path) {
  char list[65536];
  ssize_t length = llistxattr(path.c_str(), list, sizeof list);
  if (length < 0) return Result(-1);
  std::vector<std::string> names;
  for (ssize_t at = 0; at < length; at += ssize_t(strlen(list + at)) + 1)
    names.push_back(list + at);
  std::sort(names.begin(), names.end());
  Outcome outcome = Result(length);
  for (const std::string& name : names) outcome.text += name + "\n";
  return outcome;
}

}  // namespace

void CatchBusErrors() {
  struct sigaction action = {};
  action.sa_handler = OnBusError;
  action.sa_flags = SA_NODEFER;
  if (sigaction(SIGBUS, &action, nullptr) != 0) abort();
}

Side::Side(std::string root) : root_(std::move(root)) {
  descriptors_.fill(-1);
  void* memory = nullptr;
  if (posix_memalign(&memory, kPageBytes, kBufferBytes) != 0) abort();
  buffer_ = static_cast<uint8_t*>(memory);
}

Side::~Side() {
  LetGo();
  free(buffer_);
}

void Side::LetGo() {
  for (int map = 0; map < kMapCountMax; map++) Unmap(map);
  for (int& descriptor : descriptors_) {
    if (descriptor >= 0) close(descriptor);
    descriptor = -1;
  }
}

void Side::Unmap(int map) {
  Mapping& mapping = maps_[size_t(map)];
  if (mapping.address != nullptr) munmap(mapping.address, size_t(mapping.length));
  if (mapping.descriptor >= 0) close(mapping.descriptor);
  mapping = Mapping();
}

Outcome Side::Run(const Op& op, const World& world) {
  switch (op.kind) {
    case Kind::Map:
    case Kind::Unmap:
    case Kind::Load:
    case Kind::Store:
    case Kind::Msync:
      return RunMapped(op, world);
    case Kind::Rename:
    case Kind::Link:
    case Kind::LinkSlot:
    case Kind::Unlink:
    case Kind::Mkdir:
    case Kind::Rmdir:
    case Kind::Symlink:
    case Kind::Readlink:
    case Kind::Mkfifo:
    case Kind::List:
      return RunName(op);
    case Kind::Chmod:
    case Kind::Fchmod:
    case Kind::Chown:
    case Kind::Utimens:
    case Kind::Futimens:
    case Kind::SetXattr:
    case Kind::GetXattr:
    case Kind::ListXattr:
    case Kind::RemoveXattr:
      return RunAttribute(op, world);
    default:
      return RunData(op, world);
  }
}

Outcome Side::RunData(const Op& op, const World& world) {
  int& descriptor = descriptors_[size_t(op.slot < 0 ? 0 : op.slot)];
  iovec parts[2] = {{buffer_, size_t(op.length / 3)},
                    {buffer_ + op.length / 3, size_t(op.length - op.length / 3)}};
  size_t length = size_t(op.length);
  switch (op.kind) {
    case Kind::Open:
    case Kind::Tmpfile: {
      if (descriptor >= 0) close(descriptor);
      int flags =
          op.kind == Kind::Open ? op.flags : O_TMPFILE | O_RDWR | O_CLOEXEC | (op.flags & O_EXCL);
      descriptor = open(Path(op.path).c_str(), flags, op.mode);
      return Result(descriptor < 0 ? -1 : 0);
    }
    case Kind::Close: {
      int closed = close(descriptor);
      descriptor = -1;
      return Result(closed);
    }
    case Kind::Read:
      return ReadResult(read(descriptor, buffer_, length));
    case Kind::Pread:
      return ReadResult(pread(descriptor, buffer_, length, op.offset));
    case Kind::Readv:
      return ReadResult(readv(descriptor, parts, 2));
    case Kind::Write:
      Fill(buffer_, op.length, op.data);
      return Result(write(descriptor, buffer_, length));
    case Kind::Pwrite: {
      Fill(buffer_, op.length, op.data);
      iovec whole = {buffer_, length};
      return Result(pwritev2(descriptor, &whole, 1, op.offset, op.durable ? RWF_DSYNC : 0));
    }
    case Kind::Writev:
      Fill(buffer_, op.length, op.data);
      return Result(writev(descriptor, parts, 2));
    case Kind::Seek: {
      int64_t place = lseek(descriptor, op.offset, op.flags);
      if (op.flags != SEEK_DATA && op.flags != SEEK_HOLE) return Result(place);
      Outcome outcome = Result(place < 0 ? -1 : 0);
      // Where data ends is the filesystem's choice, so long as no data is called a hole; the tree
      // comparison checks that. The position goes back to one that both sides share.
      if (outcome.error == ENXIO && op.offset < world.slots[size_t(op.slot)].size)
        outcome = Outcome();
      lseek(descriptor, op.offset, SEEK_SET);
      return outcome;
    }
    case Kind::Truncate:
      return Result(truncate(Path(op.path).c_str(), op.offset));
    case Kind::Ftruncate:
      return Result(ftruncate(descriptor, op.offset));
    case Kind::Fallocate:
      return Result(fallocate(descriptor, op.flags, op.offset, op.length));
    case Kind::CopyRange: {
      off_t from = op.offset, to = op.offset2;
      return Result(
          copy_file_range(descriptor, &from, descriptors_[size_t(op.slot2)], &to, length, 0));
    }
    case Kind::Fsync:
      return Result(fsync(descriptor));
    case Kind::Fdatasync:
      return Result(fdatasync(descriptor));
    case Kind::DropCache: {
      // Written out and dropped: what is read next comes from the filesystem, not from the page
      // cache.
      Outcome outcome = Result(fdatasync(descriptor));
      posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
      return outcome;
    }
    default:
      abort();
  }
}

Outcome Side::RunMapped(const Op& op, const World& world) {
  Mapping& mapping = maps_[size_t(op.map)];
  if (op.kind == Kind::Map) {
    Unmap(op.map);
    int descriptor = descriptors_[size_t(op.slot)];
    void* address = mmap(nullptr, size_t(op.length), op.flags, MAP_SHARED, descriptor, op.offset);
    if (address == MAP_FAILED) return Result(-1);
    mapping = {static_cast<uint8_t*>(address), op.length, follow_maps_ ? dup(descriptor) : -1};
    return Outcome();
  }
  if (mapping.address == nullptr) return Outcome();
  const MapState& state = world.maps[size_t(op.map)];
  Outcome outcome;
  if (op.kind == Kind::Unmap) {
    Unmap(op.map);
  } else if (op.kind == Kind::Msync) {
    outcome = Result(msync(mapping.address, size_t(mapping.length), op.flags));
  } else if (sigsetjmp(bus_error_return, 0) != 0) {
    outcome.text = "SIGBUS";
  } else if (op.kind == Kind::Load) {
    memcpy(buffer_, mapping.address + op.offset, size_t(op.length));
    outcome.byte_count = op.length;
  } else if (state.writable) {
    Fill(buffer_, op.length, op.data);
    memcpy(mapping.address + op.offset, buffer_, size_t(op.length));
  }
  return outcome;
}

Outcome Side::RunName(const Op& op) {
  const std::string from = op.path >= 0 ? Path(op.path) : "";
  const std::string to = op.path2 >= 0 ? Path(op.path2) : "";
  switch (op.kind) {
    case Kind::Rename:
      return Result(renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), unsigned(op.flags)));
    case Kind::Link:
      return Result(link(from.c_str(), to.c_str()));
    case Kind::LinkSlot: {
      std::string source = "/proc/self/fd/" + std::to_string(descriptors_[size_t(op.slot)]);
      return Result(linkat(AT_FDCWD, source.c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW));
    }
    case Kind::Unlink:
      return Result(unlink(from.c_str()));
    case Kind::Mkdir:
      return Result(mkdir(from.c_str(), op.mode));
    case Kind::Rmdir:
      return Result(rmdir(from.c_str()));
    case Kind::Symlink:
      return Result(symlink(Paths()[size_t(op.path2)].c_str(), from.c_str()));
    case Kind::Readlink:
      return ReadResult(readlink(from.c_str(), reinterpret_cast<char*>(buffer_), 4096));
    case Kind::Mkfifo:
      return Result(mkfifo(from.c_str(), op.mode));
    case Kind::List:
      return ListDirectory(from);
    default:
      abort();
  }
}

Outcome Side::RunAttribute(const Op& op, const World& world) {
  const std::string path = Path(op.path);
  const char* name = XattrNames()[size_t(op.xattr)];
  const int descriptor = descriptors_[size_t(op.slot)];
  switch (op.kind) {
    case Kind::Chmod:
      return Result(chmod(path.c_str(), op.mode));
    case Kind::Fchmod:
      return Result(fchmod(descriptor, op.mode));
    case Kind::Chown:
      return Result(lchown(path.c_str(), op.uid, op.gid));
    case Kind::Utimens:
      return Result(utimensat(AT_FDCWD, path.c_str(), op.times, AT_SYMLINK_NOFOLLOW));
    case Kind::Futimens:
      // Pages stored to through a mapping may take their mtime at writeback: let that happen
      // before.
      if (world.loose_times.count(world.slots[size_t(op.slot)].inode) != 0) fsync(descriptor);
      return Result(futimens(descriptor, op.times));
    case Kind::SetXattr:
      Fill(buffer_, op.length, op.data);
      return Result(lsetxattr(path.c_str(), name, buffer_, size_t(op.length), op.flags));
    case Kind::GetXattr:
      return ReadResult(lgetxattr(path.c_str(), name, buffer_, op.length == 0 ? 0 : 4096));
    case Kind::ListXattr:
      return ListAttributes(path);
    case Kind::RemoveXattr:
      return Result(lremovexattr(path.c_str(), name));
    default:
      abort();
  }
}

}  // namespace fxdiff
