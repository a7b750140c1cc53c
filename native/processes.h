// Who the threads are that ask for something: their process, its parent and its command line, as
// /proc has them, looked at again so that an exec is noticed. Called by one thread at a time.
//
// Reading a command line takes the mmap_lock of its process, which may be held by a thread that
// waits for us (a page fault or an mmap(2) behind a writeback). So a thread of its own reads it,
// and we go on without it after kLookMsMax; a process then goes by its short name, in brackets. The
// other files that are read here take no such lock.
#ifndef FAUXDAX_PROCESSES_H_
#define FAUXDAX_PROCESSES_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

namespace fauxdax {

struct Process {
  uint32_t pid;
  uint32_t parent_pid;
  std::string command;  // arguments joined by blanks
};

class Processes {
 public:
  Processes();
  ~Processes();
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;

  // The process that thread `tid` belongs to; `tid` itself when it is gone. *news is set, and true
  // returned, when that process is new or runs another program than at the last look.
  bool Look(uint32_t tid, int64_t now_ns, uint32_t* pid, Process* news);

 private:
  // Differs after an exec, and between two processes with one number.
  struct Identity {
    uint64_t start_ticks = 0;
    uint64_t code_address = 0;
    uint64_t arguments_address = 0;
    std::string short_name;

    bool operator==(const Identity&) const = default;
  };
  struct Seen {
    uint32_t pid;
    int64_t looked_ns;
    Identity identity;
  };

  // False, and nothing changed, when it cannot be read now, or says nothing.
  bool ReadCommandLine(uint32_t tid, std::string* command);
  void Run();

  std::unordered_map<uint32_t, Seen> threads_;
  std::unordered_map<uint32_t, Identity> processes_;

  std::mutex mutex_;  // of all below
  std::condition_variable wanted_;
  std::condition_variable done_;
  uint32_t asked_tid_ = 0;  // 0: nothing is asked, or it is done
  std::string answer_;
  bool stop_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace fauxdax

#endif  // FAUXDAX_PROCESSES_H_
