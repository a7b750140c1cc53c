// What a daemon says when a signal ends it: its log gets a line of the form that its other lines
// have (lib/log.ts), with what it was, and a line with the native frames of the thread. Then it
// dies as it would have: the same signal, a core where those are allowed.
//
// Everything in the handler is safe there: no allocation, no lock of ours, one write(2) a line.
// What was known is written before the frames are looked for, which a broken stack may not survive.
#ifndef FAUXDAX_LAST_WORDS_H_
#define FAUXDAX_LAST_WORDS_H_

#include <cstddef>
#include <memory>

namespace fauxdax {

// From here on, on descriptor 2, for the whole process. Of the signals that end a process, those
// that nobody handles by now; SIGSEGV and the like also after somebody who does: V8 mends faults of
// WebAssembly, and what it does not mend is ours. On the JavaScript thread; more calls change
// nothing.
void SayLastWords();

// A stack for the handler, as long as this lives: a thread that ran out of its own has none to say
// it on. On the thread that it is for.
class SignalStack {
 public:
  SignalStack();
  ~SignalStack();
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  const std::unique_ptr<std::byte[]> bytes_;
};

}  // namespace fauxdax

#endif  // FAUXDAX_LAST_WORDS_H_
