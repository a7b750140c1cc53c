// Times are compared by kind: a time that utimens set must be the same on both sides, a time taken
// from the clock must be one from the clock on both sides. Sizes and blocks of directories are the
// filesystem's own affair and are left out.
#include "compare.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

namespace fxdiff {
namespace {

constexpr int64_t kChunkBytes = 256 * 1024;
constexpr int64_t kWholeFileBytesMax = 1 << 20;
constexpr size_t kPathBytesMax = 3000;
constexpr int kEntryCountMax = 250;

struct Chunks {
  uint8_t* a;
  uint8_t* b;
};

Chunks& Scratch() {
  static Chunks chunks = {static_cast<uint8_t*>(aligned_alloc(4096, kChunkBytes)),
                          static_cast<uint8_t*>(aligned_alloc(4096, kChunkBytes))};
  return chunks;
}

std::string Field(const char* name, int64_t a, int64_t b) {
  if (a == b) return "";
  return std::string(name) + " A=" + std::to_string(a) + " B=" + std::to_string(b) + "; ";
}

std::string FirstDifference(const uint8_t* a, const uint8_t* b, int64_t length, int64_t offset) {
  if (memcmp(a, b, size_t(length)) == 0) return "";
  int64_t first = 0;
  while (a[first] == b[first]) first++;
  int64_t last = length - 1;
  while (a[last] == b[last]) last--;
  char text[160];
  snprintf(text, sizeof text, "bytes differ in [%lld, %lld]: first A=%02x B=%02x",
           static_cast<long long>(offset + first), static_cast<long long>(offset + last), a[first],
           b[first]);
  return text;
}

std::string TimeText(const timespec& time) {
  if (time.tv_sec >= kExplicitSecondsMax) return "clock";
  return std::to_string(time.tv_sec) + "+" + std::to_string(time.tv_nsec);
}

// pread that may be answered in parts, as read(2) allows.
int64_t ReadAll(int descriptor, uint8_t* bytes, int64_t length, int64_t offset) {
  int64_t done = 0;
  while (done < length) {
    ssize_t count = pread(descriptor, bytes + done, size_t(length - done), offset + done);
    if (count < 0) return -errno;
    if (count == 0) break;
    done += count;
  }
  return done;
}

// Every hole that `descriptor` reports reads as zero, and the walk ends at the size.
std::string CheckHoles(int descriptor, int64_t size) {
  // A filesystem in user space is not told of stores through a mapping before they are written out,
  // and the kernel asks it for holes without writing them out first: so this does.
  if (fdatasync(descriptor) != 0) return "fdatasync: " + std::string(strerror(errno));
  static const std::vector<uint8_t> zeros(kChunkBytes, 0);
  int64_t place = 0;
  for (int steps = 0; place < size; steps++) {
    if (steps > 100000) return "SEEK_DATA walk does not end";
    int64_t data = lseek(descriptor, place, SEEK_DATA);
    if (data < 0 && errno != ENXIO) return "SEEK_DATA: " + std::string(strerror(errno));
    if (data < 0) data = size;
    if (data < place) return "SEEK_DATA went backwards at " + std::to_string(place);
    // A hole may be terabytes: its first and last chunk are looked at.
    for (int64_t from : {place, std::max(place, data - kChunkBytes)}) {
      int64_t count = ReadAll(descriptor, Scratch().a, std::min(kChunkBytes, data - from), from);
      if (count < 0) return "reading a hole: " + std::string(strerror(int(-count)));
      if (memcmp(Scratch().a, zeros.data(), size_t(count)) != 0)
        return "data reported as hole near " + std::to_string(from);
    }
    if (data == size) return "";
    place = lseek(descriptor, data, SEEK_HOLE);
    if (place <= data || place > size)
      return "SEEK_HOLE at " + std::to_string(data) + " gives " + std::to_string(place);
  }
  return "";
}

// Compares where `walker` has data; with both as walkers in turn nothing that either shows is left
// out.
std::string CompareWhereData(int walker, int a, int b, int64_t size) {
  int64_t place = 0;
  for (int steps = 0; place < size && steps < 10000; steps++) {
    int64_t data = lseek(walker, place, SEEK_DATA);
    if (data < 0) return "";
    int64_t hole = lseek(walker, data, SEEK_HOLE);
    std::string difference = CompareBytes(a, b, data, hole - data);
    if (!difference.empty()) return difference;
    place = hole;
  }
  return "";
}

std::vector<std::string> Names(const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return {"cannot open: " + std::string(strerror(errno))};
  while (const dirent* entry = readdir(directory)) names.push_back(entry->d_name);
  closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

std::string Attributes(const std::string& path) {
  char list[65536];
  ssize_t length = llistxattr(path.c_str(), list, sizeof list);
  if (length < 0) return std::string("list: ") + strerror(errno);
  std::map<std::string, std::string> values;
  for (ssize_t at = 0; at < length; at += ssize_t(strlen(list + at)) + 1) {
    char value[65536];
    ssize_t count = lgetxattr(path.c_str(), list + at, value, sizeof value);
    values[list + at] = count < 0 ? "(unreadable)" : std::string(value, size_t(count));
  }
  std::string text;
  for (const auto& [name, value] : values) text += name + "=" + value + "\n";
  return text;
}

class TreeWalk {
 public:
  TreeWalk(const Side& a, const Side& b, const World& world, const Rules& rules, bool cold)
      : a_(a), b_(b), world_(world), rules_(rules), cold_(cold) {}

  bool Overgrown() const { return overgrown_; }

  std::string Directory(const std::string& relative) {
    if (relative.size() > kPathBytesMax) {
      overgrown_ = true;
      return "";
    }
    const std::vector<std::string> names = Names(a_.Root() + relative);
    const std::vector<std::string> names_b = Names(b_.Root() + relative);
    if (names != names_b) return relative + "/: " + NamesOnOneSide(names, names_b);
    for (const std::string& name : names) {
      if (name == "." || name == "..") continue;
      std::string difference = Entry(relative + "/" + name);
      if (!difference.empty()) return difference;
    }
    return "";
  }

 private:
  static std::string NamesOnOneSide(const std::vector<std::string>& a,
                                    const std::vector<std::string>& b) {
    std::string text = "names differ:";
    for (const std::string& name : a) {
      if (!std::binary_search(b.begin(), b.end(), name)) text += " only in A: " + name;
    }
    for (const std::string& name : b) {
      if (!std::binary_search(a.begin(), a.end(), name)) text += " only in B: " + name;
    }
    return text;
  }

  std::string Entry(const std::string& relative) {
    overgrown_ = overgrown_ || ++entry_count_ > kEntryCountMax;
    const std::string path_a = a_.Root() + relative, path_b = b_.Root() + relative;
    struct stat a, b;
    if (lstat(path_a.c_str(), &a) != 0) return relative + ": lstat on A: " + strerror(errno);
    if (lstat(path_b.c_str(), &b) != 0) return relative + ": lstat on B: " + strerror(errno);
    std::string difference = CompareStats(a, b, world_, rules_);
    if (!difference.empty()) return relative + ": " + difference;
    auto known = inodes_.emplace(b.st_ino, a.st_ino);
    if (known.first->second != a.st_ino)
      return relative + ": hard links of one file are two files on A";
    if (Attributes(path_a) != Attributes(path_b))
      return relative + ": attributes A={" + Attributes(path_a) + "} B={" + Attributes(path_b) +
             "}";
    if (S_ISDIR(a.st_mode)) return Directory(relative);
    if (!known.second) return "";
    if (S_ISLNK(a.st_mode)) return Link(relative, path_a, path_b);
    if (S_ISREG(a.st_mode)) return File(relative, path_a, path_b);
    return "";
  }

  std::string Link(const std::string& relative, const std::string& path_a,
                   const std::string& path_b) {
    char a[4097] = {}, b[4097] = {};
    ssize_t length_a = readlink(path_a.c_str(), a, 4096),
            length_b = readlink(path_b.c_str(), b, 4096);
    if (length_a == length_b && memcmp(a, b, sizeof a) == 0) return "";
    return relative + ": link A=" + a + " B=" + b;
  }

  std::string File(const std::string& relative, const std::string& path_a,
                   const std::string& path_b) {
    int a = open(path_a.c_str(), O_RDONLY | O_CLOEXEC),
        b = open(path_b.c_str(), O_RDONLY | O_CLOEXEC);
    std::string difference;
    if (a < 0 || b < 0) difference = "cannot open: " + std::string(strerror(errno));
    if (difference.empty() && cold_) {
      if (fdatasync(a) != 0) difference = "fdatasync on A: " + std::string(strerror(errno));
      posix_fadvise(a, 0, 0, POSIX_FADV_DONTNEED);
    }
    if (difference.empty()) difference = CompareContents(a, b);
    if (a >= 0) close(a);
    if (b >= 0) close(b);
    return difference.empty() ? "" : relative + ": " + difference;
  }

  const Side& a_;
  const Side& b_;
  const World& world_;
  const Rules& rules_;
  const bool cold_;
  std::map<ino_t, ino_t> inodes_;
  int entry_count_ = 0;
  bool overgrown_ = false;
};

}  // namespace

std::string CompareOutcomes(const Op& op, Side& a, const Outcome& from_a, Side& b,
                            const Outcome& from_b) {
  std::string text;
  if (from_a.error != from_b.error) {
    text = std::string("errno A=") + strerrorname_np(from_a.error) +
           " B=" + strerrorname_np(from_b.error) + "; ";
  }
  text += Field("result", from_a.result, from_b.result);
  if (from_a.text != from_b.text) text += "text A={" + from_a.text + "} B={" + from_b.text + "}; ";
  if (!text.empty()) return text;
  return FirstDifference(a.Buffer(), b.Buffer(), from_a.byte_count, op.offset);
}

std::string CompareStats(const struct stat& a, const struct stat& b, const World& world,
                         const Rules& rules) {
  std::string text = Field("mode", a.st_mode, b.st_mode) + Field("uid", a.st_uid, b.st_uid) +
                     Field("gid", a.st_gid, b.st_gid);
  if (!S_ISDIR(b.st_mode) || rules.directory_links)
    text += Field("nlink", int64_t(a.st_nlink), int64_t(b.st_nlink));
  if (!S_ISDIR(b.st_mode)) text += Field("size", a.st_size, b.st_size);
  // The kernel writes to a fifo without telling a filesystem in user space, so its mtime is not
  // compared.
  if (rules.times && !S_ISFIFO(b.st_mode) && world.loose_times.count(b.st_ino) == 0 &&
      TimeText(a.st_mtim) != TimeText(b.st_mtim))
    text += "mtime A=" + TimeText(a.st_mtim) + " B=" + TimeText(b.st_mtim);
  return text;
}

std::string CompareBytes(int descriptor_a, int descriptor_b, int64_t offset, int64_t length) {
  Chunks& chunks = Scratch();
  for (int64_t done = 0; done < length;) {
    int64_t count = std::min(kChunkBytes, length - done);
    int64_t count_a = ReadAll(descriptor_a, chunks.a, count, offset + done);
    int64_t count_b = ReadAll(descriptor_b, chunks.b, count, offset + done);
    if (count_a != count_b)
      return "pread at " + std::to_string(offset + done) + " " + Field("count", count_a, count_b);
    if (count_a <= 0) return "";
    std::string difference = FirstDifference(chunks.a, chunks.b, count_a, offset + done);
    if (!difference.empty()) return difference;
    done += count_a;
  }
  return "";
}

std::string CompareContents(int descriptor_a, int descriptor_b) {
  struct stat a, b;
  if (fstat(descriptor_a, &a) != 0 || fstat(descriptor_b, &b) != 0) return "fstat failed";
  if (a.st_size != b.st_size) return Field("size", a.st_size, b.st_size);
  // Walking data and holes moves the file position, which belongs to the run.
  const off_t place_a = lseek(descriptor_a, 0, SEEK_CUR),
              place_b = lseek(descriptor_b, 0, SEEK_CUR);
  std::string difference;
  if (a.st_size <= kWholeFileBytesMax) {
    difference = CompareBytes(descriptor_a, descriptor_b, 0, a.st_size);
  } else {
    difference = CompareWhereData(descriptor_a, descriptor_a, descriptor_b, a.st_size);
    if (difference.empty())
      difference = CompareWhereData(descriptor_b, descriptor_a, descriptor_b, a.st_size);
  }
  if (difference.empty()) difference = CheckHoles(descriptor_a, a.st_size);
  lseek(descriptor_a, place_a, SEEK_SET);
  lseek(descriptor_b, place_b, SEEK_SET);
  return difference;
}

TreeResult CompareTrees(const Side& a, const Side& b, const World& world, const Rules& rules,
                        bool cold) {
  TreeWalk walk(a, b, world, rules, cold);
  TreeResult result;
  result.difference = walk.Directory("");
  result.overgrown = walk.Overgrown();
  return result;
}

}  // namespace fxdiff
