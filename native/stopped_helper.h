// Lets the helper of a stopped process (SIGSTOP, Ctrl-Z) run while its other threads stay stopped:
// what the process shows has to be taken back for others to go on. A tracer of a stopped thread may
// do so; it is a process that shares our memory, since who is traced is the tracer's child to wait
// for. It ends with the stop, with the helper, or with us, and changes nothing else.
#ifndef FAUXDAX_STOPPED_HELPER_H_
#define FAUXDAX_STOPPED_HELPER_H_

#include <sys/types.h>

#include <cstddef>
#include <memory>

namespace fauxdax {

class StoppedHelper {
 public:
  StoppedHelper() = default;
  ~StoppedHelper();
  StoppedHelper(const StoppedHelper&) = delete;
  StoppedHelper& operator=(const StoppedHelper&) = delete;

  // The thread is to run until its process is continued; cheap when it does already. Where it may
  // not be traced (a debugger has it, or the system says no), nothing happens.
  void Run(pid_t tid);

 private:
  // Whether the tracer still exists; one that has ended is forgotten.
  bool IsTracing();

  std::unique_ptr<std::byte[]> stack_;
  pid_t tracer_ = 0;
};

}  // namespace fauxdax

#endif  // FAUXDAX_STOPPED_HELPER_H_
