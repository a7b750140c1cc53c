// What the environment says about the mount, and what every other file of the shim needs.
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct shim_settings shim_settings;

enum { kUnknown, kOff, kOn };
static _Atomic uint32_t environment_state = kUnknown;

// The environment of a program may be anything: what does not read as ours switches the shim off.
static bool ReadEnvironment(struct shim_settings* settings) {
  const char* path = getenv(WIRE_ENV_SOCKET);
  const char* device = getenv(WIRE_ENV_DEVICE);
  const char* flags = getenv(WIRE_ENV_FLAGS);
  if (path == NULL || device == NULL) return false;
  const size_t length = strlen(path);
  if (path[0] != '/' || length >= sizeof(settings->socket_path)) return false;
  memcpy(settings->socket_path, path, length + 1);
  for (const char* at = device; *at != 0; at++) {
    if (*at < '0' || *at > '9') return false;
    settings->device = settings->device * 10 + (uint64_t)(*at - '0');
  }
  for (const char* at = flags; at != NULL && *at >= '0' && *at <= '9'; at++) {
    settings->flags = settings->flags * 10 + (uint32_t)(*at - '0');
  }
  // It preloads libraries of its own before ours.
  const char* preloaded = getenv("LD_PRELOAD");
  settings->is_valgrind = preloaded != NULL && strstr(preloaded, "/vgpreload_core") != NULL;
  return true;
}

// A program cannot outlive the `fauxdax run` that started it: who kills that means the program. Its
// own children go on.
static void EndWithParent(void) {
  const char* text = getenv(WIRE_ENV_PARENT);
  long parent = 0;
  for (const char* at = text; at != NULL && *at >= '0' && *at <= '9' && parent < INT32_MAX; at++) {
    parent = parent * 10 + (*at - '0');
  }
  if (parent == 0 || Sys3(SYS_getppid, 0, 0, 0) != parent) return;
  Sys3(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0);
  if (Sys3(SYS_getppid, 0, 0, 0) != parent) raise(SIGKILL);
}

// Before main, and before most other constructors; mmap may be called earlier still.
__attribute__((constructor)) static void Prepare(void) {
  if (atomic_load(&environment_state) != kUnknown) return;
  const bool is_on = ReadEnvironment(&shim_settings);
  atomic_store(&environment_state, is_on ? kOn : kOff);
  if (!is_on) return;
  ThreadsPrepare();
  ForkPrepare();
  EndWithParent();
}

bool ShimIsOn(void) {
  if (atomic_load_explicit(&environment_state, memory_order_acquire) == kUnknown) Prepare();
  return atomic_load_explicit(&environment_state, memory_order_acquire) == kOn;
}

bool ShimIsOurs(int fd, uint64_t* ino) {
  struct stat status;
  if (!ShimIsOn() || Sys3(SYS_fstat, fd, (long)&status, 0) != 0) return false;
  *ino = status.st_ino;
  return status.st_dev == shim_settings.device && S_ISREG(status.st_mode);
}

// Our own threads do not have the program's stderr open: daemons close it to let others go on. It
// is borrowed from the program's first thread for the moment.
void ShimSay(const char* const words[], size_t count) {
  char line[1024];
  size_t length = 0;
  for (size_t i = 0; i < count; i++) {
    for (const char* at = words[i]; *at != 0 && length < sizeof(line) - 1; at++) {
      line[length++] = *at;
    }
  }
  line[length++] = '\n';
  if (!ThreadIsOurs()) {
    Sys3(SYS_write, STDERR_FILENO, (long)line, (long)length);
    return;
  }
  const long process = Sys3(SYS_pidfd_open, Sys3(SYS_getpid, 0, 0, 0), 0, 0);
  if (process < 0) return;
  const long fd = Sys3(SYS_pidfd_getfd, process, STDERR_FILENO, 0);
  SysClose(process);
  if (fd < 0) return;
  Sys3(SYS_write, fd, (long)line, (long)length);
  SysClose(fd);
}

long ShimResult(long result) {
  if (!IsError(result)) return result;
  errno = (int)-result;
  return -1;
}
