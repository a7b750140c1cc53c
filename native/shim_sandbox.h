// Whether this program has taken system calls away from itself.
#ifndef FAUXDAX_SHIM_SANDBOX_H_
#define FAUXDAX_SHIM_SANDBOX_H_

#include <stdbool.h>

// From any thread. Of a filter that was there when the program started it knows nothing.
bool SandboxIsEntered(void);
// For a system call that the program is about to make by number; its first argument.
void SandboxNote(long number, long first);

#endif  // FAUXDAX_SHIM_SANDBOX_H_
