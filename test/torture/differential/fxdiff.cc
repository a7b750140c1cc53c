// fxdiff: the same seeded random operations on two directories in lock step, and every difference
// that a program could see. Side A is under test; side B, on a filesystem that is trusted, is the
// oracle for errno as well as for bytes.
//
// After each operation: result, errno, returned bytes and the stat of what it touched. Every
// --tree-every operations: both whole trees. Every --remount-every operations all files are closed,
// the --remount command runs, and the trees must be what they were. Exit status 0: equal; 1: a
// difference, with the line that replays it; 2: usage; 3: the run could not go on.
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>

#include "compare.h"
#include "plan.h"
#include "plant.h"
#include "side.h"

namespace fxdiff {
namespace {

constexpr size_t kHistoryCountMax = 40;
constexpr char kWorkName[] = "/fxdiff";

struct Options {
  std::string directory, peer, remount, plant, skip;
  uint64_t seed = 1;
  uint64_t op_count = 100000;
  uint64_t tree_every = 1000;
  uint64_t remount_every = 50000;
  bool keep = false;
  bool statistics = false;
};

struct Past {
  Op op;
  Outcome a, b;
};

[[noreturn]] void Usage(int status) {
  fprintf(status == 0 ? stdout : stderr,
          "usage: fxdiff --dir A --peer B [--seed N] [--ops N] [--tree-every N]\n"
          "              [--remount CMD [--remount-every N]] [--replay SEED:OP] [--skip "
          "times,dir-links]\n"
          "              [--plant KIND:OP] [--keep] [--statistics]\n"
          "Works in A/fxdiff and B/fxdiff, which it empties first.\n"
          "  fxdiff --dir /mnt/fx --peer /var/tmp --seed 7 --ops 1000000\n");
  exit(status);
}

// rm walks trees whose paths are longer than PATH_MAX.
void Remove(const std::string& path) {
  const pid_t child = fork();
  if (child == 0) {
    execlp("rm", "rm", "-rf", "--", path.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  if (child > 0 && waitpid(child, &status, 0) == child && status == 0) return;
  fprintf(stderr, "fxdiff: cannot remove %s\n", path.c_str());
  exit(3);
}

void MakeEmpty(const std::string& path) {
  Remove(path);
  if (mkdir(path.c_str(), 0755) == 0) return;
  fprintf(stderr, "fxdiff: cannot make %s: %s\n", path.c_str(), strerror(errno));
  exit(3);
}

class Run {
 public:
  explicit Run(const Options& options)
      : options_(options),
        plant_(options.plant),
        a_(options.directory + kWorkName),
        b_(options.peer + kWorkName) {
    rules_.times = options.skip.find("times") == std::string::npos;
    rules_.directory_links = options.skip.find("dir-links") == std::string::npos;
    b_.FollowMaps();
  }

  int All() {
    printf("fxdiff: seed %llu, %llu operations, A %s, B %s\n", U(options_.seed),
           U(options_.op_count), a_.Root().c_str(), b_.Root().c_str());
    fflush(stdout);
    MakeEmpty(a_.Root());
    MakeEmpty(b_.Root());
    timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (uint64_t number = 0; number < options_.op_count; number++) {
      std::string difference = Step(number);
      if (difference.empty() && (number + 1) % options_.tree_every == 0) difference = Everything();
      if (difference.empty() && !options_.remount.empty() &&
          (number + 1) % options_.remount_every == 0)
        difference = Remount();
      if (!difference.empty()) return Report(number, difference);
    }
    std::string difference = Everything();
    if (!difference.empty()) return Report(options_.op_count - 1, difference);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = double(end.tv_sec - start.tv_sec) + double(end.tv_nsec - start.tv_nsec) / 1e9;
    uint64_t success_count = 0;
    for (size_t kind = 0; kind < count_.size(); kind++) {
      success_count += success_[kind];
      if (options_.statistics)
        printf("%16s %9llu, %9llu succeeded\n", KindName(Kind(kind)), U(count_[kind]),
               U(success_[kind]));
    }
    printf(
        "fxdiff: seed %llu: %llu operations, %llu succeeded, %llu trees compared, %llu remounts, "
        "no difference (%.0f operations/s)\n",
        U(options_.seed), U(options_.op_count), U(success_count), U(tree_count_), U(remount_count_),
        double(options_.op_count) / seconds);
    if (!options_.keep) CleanUp();
    return 0;
  }

 private:
  static unsigned long long U(uint64_t value) { return value; }

  std::string Step(uint64_t number) {
    Op op = Plan(options_.seed, number, world_);
    Prepare(op);
    Past past;
    past.op = op;
    past.a = plant_.Run(op, world_, a_);
    past.b = b_.Run(op, world_);
    history_.push_back(past);
    if (history_.size() > kHistoryCountMax) history_.pop_front();
    count_[size_t(op.kind)]++;
    if (past.b.error == 0) success_[size_t(op.kind)]++;
    std::string difference = CompareOutcomes(op, a_, past.a, b_, past.b);
    if (!difference.empty()) return difference;
    Follow(op, past.b);
    for (int slot : {op.slot, op.slot2}) {
      if (slot >= 0 && difference.empty()) difference = CompareSlot(op, slot);
    }
    for (int path : {op.path, op.path2}) {
      if (path >= 0 && difference.empty()) difference = ComparePath(path);
    }
    return difference;
  }

  // What the operation needs to know about the file as it is now, which only the peer is asked.
  void Prepare(Op& op) {
    struct stat status;
    if (op.kind == Kind::Seek && fstat(b_.Descriptor(op.slot), &status) == 0)
      world_.slots[size_t(op.slot)].size = status.st_size;
    if (op.kind != Kind::Store || fstat(b_.MapDescriptor(op.map), &status) != 0) return;
    // Bytes behind the end of file in its last page are nobody's: stores stay before it, but for
    // whole pages behind it, which must raise SIGBUS.
    const int64_t at = world_.maps[size_t(op.map)].offset + op.offset;
    const int64_t paged = (status.st_size + kPageBytes - 1) & ~(kPageBytes - 1);
    if (at >= paged)
      op.length = 1;
    else if (at >= status.st_size)
      op.length = 0;
    else if (at + op.length > status.st_size)
      op.length = status.st_size - at;
  }

  void Follow(const Op& op, const Outcome& outcome) {
    const bool done = outcome.error == 0;
    if (op.kind == Kind::Open || op.kind == Kind::Tmpfile) {
      SlotState slot;
      struct stat status;
      if (done && fstat(b_.Descriptor(op.slot), &status) == 0) {
        slot = {true, S_ISREG(status.st_mode), op.flags, status.st_size, status.st_ino};
        if (op.kind == Kind::Tmpfile) slot.flags = O_RDWR;
        if (op.kind == Kind::Tmpfile || (op.flags & O_EXCL))
          world_.loose_times.erase(status.st_ino);
      }
      world_.slots[size_t(op.slot)] = slot;
    } else if (op.kind == Kind::Close) {
      world_.slots[size_t(op.slot)] = SlotState();
    } else if (op.kind == Kind::Map) {
      world_.maps[size_t(op.map)] = {done, (op.flags & PROT_WRITE) != 0, op.offset, op.length,
                                     world_.slots[size_t(op.slot)].inode};
    } else if (op.kind == Kind::Unmap) {
      world_.maps[size_t(op.map)] = MapState();
    } else if (op.kind == Kind::Store && world_.maps[size_t(op.map)].live) {
      world_.loose_times.insert(world_.maps[size_t(op.map)].inode);
    } else if (op.kind == Kind::Futimens && done) {
      const ino_t inode = world_.slots[size_t(op.slot)].inode;
      if (!world_.HasWritableMap(inode)) world_.loose_times.erase(inode);
    }
  }

  std::string CompareSlot(const Op& op, int slot) {
    const int a = a_.Descriptor(slot), b = b_.Descriptor(slot);
    if (b < 0) return "";
    struct stat status_a, status_b;
    if (fstat(a, &status_a) != 0 || fstat(b, &status_b) != 0) return "fstat failed";
    SlotState& state = world_.slots[size_t(slot)];
    state.size = status_b.st_size;
    std::string difference = CompareStats(status_a, status_b, world_, rules_);
    const bool readable = (state.flags & O_ACCMODE) != O_WRONLY && !(state.flags & O_DIRECT);
    if (!difference.empty() || !readable || !state.regular || op.number % 3 != 0) return difference;
    // The bytes around what was touched, and the end of file: cheap enough to look at often.
    const int64_t at = slot == op.slot2 ? op.offset2 : op.offset;
    const int64_t from = std::max<int64_t>(0, at - kPageBytes);
    difference = CompareBytes(a, b, from, std::min<int64_t>(op.length, 65536) + 2 * kPageBytes);
    if (!difference.empty()) return difference;
    return CompareBytes(a, b, std::max<int64_t>(0, state.size - kPageBytes), kPageBytes);
  }

  std::string ComparePath(int path) {
    struct stat a, b = {};
    const int error_a = lstat(a_.Path(path).c_str(), &a) == 0 ? 0 : errno;
    const int error_b = lstat(b_.Path(path).c_str(), &b) == 0 ? 0 : errno;
    world_.kinds[size_t(path)] = error_b == 0 ? b.st_mode & S_IFMT : 0;
    if (error_a != error_b) {
      return std::string("lstat of \"") + Paths()[size_t(path)] +
             "\" A=" + strerrorname_np(error_a) + " B=" + strerrorname_np(error_b);
    }
    return error_a != 0 ? "" : CompareStats(a, b, world_, rules_);
  }

  std::string Everything() {
    tree_count_++;
    const TreeResult tree = CompareTrees(a_, b_, world_, rules_, tree_count_ % 4 == 0);
    std::string difference = tree.difference;
    for (int slot = 0; slot < kSlotCountMax && difference.empty(); slot++) {
      const SlotState& state = world_.slots[size_t(slot)];
      if (!state.open || !state.regular || (state.flags & O_ACCMODE) == O_WRONLY ||
          (state.flags & O_DIRECT))
        continue;
      difference = CompareContents(a_.Descriptor(slot), b_.Descriptor(slot));
      if (!difference.empty())
        difference = "open file in slot " + std::to_string(slot) + ": " + difference;
    }
    if (difference.empty() && tree.overgrown) {
      MakeEmpty(a_.Root());
      MakeEmpty(b_.Root());
    }
    return difference;
  }

  std::string Remount() {
    a_.LetGo();
    b_.LetGo();
    world_.slots.fill(SlotState());
    world_.maps.fill(MapState());
    remount_count_++;
    const int status = system(options_.remount.c_str());
    if (status != 0) {
      fprintf(stderr, "fxdiff: seed %llu: remount command failed with status %d\n",
              U(options_.seed), status);
      exit(3);
    }
    const std::string difference = CompareTrees(a_, b_, world_, rules_, false).difference;
    return difference.empty() ? "" : "after remount: " + difference;
  }

  static std::string Show(const Outcome& outcome) {
    std::string text = std::to_string(outcome.result);
    if (outcome.error != 0) text += std::string(" ") + strerrorname_np(outcome.error);
    if (!outcome.text.empty()) text += " \"" + outcome.text.substr(0, 300) + "\"";
    return text;
  }

  int Report(uint64_t number, const std::string& difference) {
    printf("last operations:\n");
    for (const Past& past : history_) {
      printf("  %s -> A %s", Describe(past.op).c_str(), Show(past.a).c_str());
      if (Show(past.a) != Show(past.b)) printf(" | B %s", Show(past.b).c_str());
      printf("\n");
    }
    printf("fxdiff: DIFFERENCE at seed %llu operation %llu: %s\n", U(options_.seed), U(number),
           difference.c_str());
    printf(
        "both directories are left as they are; replay, and narrow with --tree-every 1:\n"
        "  fxdiff --dir %s --peer %s --replay %llu:%llu --tree-every %llu",
        options_.directory.c_str(), options_.peer.c_str(), U(options_.seed), U(number),
        U(options_.tree_every));
    if (!options_.remount.empty())
      printf(" --remount '%s' --remount-every %llu", options_.remount.c_str(),
             U(options_.remount_every));
    if (!options_.skip.empty()) printf(" --skip %s", options_.skip.c_str());
    if (!options_.plant.empty()) printf(" --plant %s", options_.plant.c_str());
    printf("\n");
    return 1;
  }

  void CleanUp() {
    a_.LetGo();
    b_.LetGo();
    for (const Side* side : {&a_, &b_}) Remove(side->Root());
  }

  const Options options_;
  const Plant plant_;
  Rules rules_;
  Side a_, b_;
  World world_;
  std::deque<Past> history_;
  std::array<uint64_t, size_t(Kind::Count)> count_ = {}, success_ = {};
  uint64_t tree_count_ = 0, remount_count_ = 0;
};

uint64_t Number(const char* text) {
  char* end = nullptr;
  const uint64_t number = strtoull(text, &end, 10);
  if (end == text || *end != 0) Usage(2);
  return number;
}

Options Parse(int count, char** words) {
  enum {
    kDir = 1,
    kPeer,
    kSeed,
    kOps,
    kTree,
    kRemount,
    kRemountEvery,
    kReplay,
    kSkip,
    kPlant,
    kKeep,
    kStatistics,
    kHelp
  };
  static const option kOptions[] = {
      {"dir", 1, nullptr, kDir},
      {"peer", 1, nullptr, kPeer},
      {"seed", 1, nullptr, kSeed},
      {"ops", 1, nullptr, kOps},
      {"tree-every", 1, nullptr, kTree},
      {"remount", 1, nullptr, kRemount},
      {"remount-every", 1, nullptr, kRemountEvery},
      {"replay", 1, nullptr, kReplay},
      {"skip", 1, nullptr, kSkip},
      {"plant", 1, nullptr, kPlant},
      {"keep", 0, nullptr, kKeep},
      {"statistics", 0, nullptr, kStatistics},
      {"help", 0, nullptr, kHelp},
      {nullptr, 0, nullptr, 0},
  };
  Options options;
  for (int option; (option = getopt_long(count, words, "", kOptions, nullptr)) != -1;) {
    switch (option) {
      case kDir:
        options.directory = optarg;
        break;
      case kPeer:
        options.peer = optarg;
        break;
      case kSeed:
        options.seed = Number(optarg);
        break;
      case kOps:
        options.op_count = Number(optarg);
        break;
      case kTree:
        options.tree_every = Number(optarg);
        break;
      case kRemount:
        options.remount = optarg;
        break;
      case kRemountEvery:
        options.remount_every = Number(optarg);
        break;
      case kReplay: {
        unsigned long long seed = 0, number = 0;
        if (sscanf(optarg, "%llu:%llu", &seed, &number) != 2) Usage(2);
        options.seed = seed;
        options.op_count = number + 1;
        options.keep = true;
        break;
      }
      case kSkip:
        options.skip = optarg;
        break;
      case kPlant:
        options.plant = optarg;
        break;
      case kKeep:
        options.keep = true;
        break;
      case kStatistics:
        options.statistics = true;
        break;
      case kHelp:
        Usage(0);
      default:
        Usage(2);
    }
  }
  if (options.directory.empty() || options.peer.empty() || optind != count) Usage(2);
  if (options.op_count == 0 || options.tree_every == 0 || options.remount_every == 0) Usage(2);
  return options;
}

}  // namespace
}  // namespace fxdiff

int main(int count, char** words) {
  fxdiff::Options options = fxdiff::Parse(count, words);
  umask(0);
  fxdiff::CatchBusErrors();
  signal(SIGPIPE, SIG_IGN);  // a fifo without a reader answers EPIPE
  return fxdiff::Run(options).All();
}
