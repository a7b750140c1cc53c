/* A program that is run with the shim preloaded, over a file of 1024 pages that are holes.
 *
 *   shim_program GROUP PATH OTHER
 */
#include "shim_program.h"

const char* file_path;
const char* other_path;
char* volatile fault_address;
static sigjmp_buf jump;
static volatile sig_atomic_t is_armed;

void Ok(bool good, const char* name) {
  printf("%s %s\n", good ? "ok" : "not ok", name);
  fflush(stdout);
}

void Equal(long seen, long wanted, const char* name) {
  Ok(seen == wanted, name);
  if (seen != wanted) printf("# %ld instead of %ld\n", seen, wanted);
  fflush(stdout);
}

void Must(bool good, const char* what) {
  if (good) return;
  printf("not ok %s: %s\n", what, strerror(errno));
  fflush(stdout);
  _exit(1);
}

int OpenFile(int flags) {
  const int fd = open(file_path, flags);
  Must(fd >= 0, "open");
  return fd;
}

char* Map(size_t pages, int prot, int flags, size_t first_page) {
  const int fd = OpenFile(O_RDWR);
  char* bytes = mmap(NULL, pages * PAGE, prot, flags, fd, (off_t)(first_page * PAGE));
  Must(bytes != MAP_FAILED, "mmap");
  close(fd);
  return bytes;
}

static void Caught(int signal, siginfo_t* info, void* context) {
  (void)context;
  if (!is_armed) _exit(128 + signal);
  fault_address = info->si_addr;
  siglongjmp(jump, signal);
}

int Load(const volatile char* at) {
  const int signal = sigsetjmp(jump, 1);
  if (signal == 0) {
    is_armed = 1;
    (void)*at;
  }
  is_armed = 0;
  return signal;
}

int Store(volatile char* at, char value) {
  const int signal = sigsetjmp(jump, 1);
  if (signal == 0) {
    is_armed = 1;
    *at = value;
  }
  is_armed = 0;
  return signal;
}

int ChildStatus(int pid) {
  int status = 0;
  Must(waitpid(pid, &status, 0) == pid, "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char** argv) {
  Must(argc == 4, "usage");
  file_path = argv[2];
  other_path = argv[3];
  struct sigaction action = {.sa_sigaction = Caught, .sa_flags = SA_SIGINFO};
  sigaction(SIGBUS, &action, NULL);
  sigaction(SIGSEGV, &action, NULL);
  static const struct {
    const char* name;
    void (*run)(void);
  } kGroups[] = {
      {"map", MapCases},         {"change", ChangeCases},   {"remap", RemapCases},
      {"private", PrivateCases}, {"moving", MovingCases},   {"dropped", DroppedCases},
      {"fork", ForkCases},       {"threads", ThreadCases},  {"errors", ErrorCases},
      {"kernel", KernelCases},   {"refused", RefusedCases}, {"version", VersionCases},
      {"orphan", OrphanCases},   {"unserved", UnservedCases},
  };
  for (size_t i = 0; i < sizeof(kGroups) / sizeof(kGroups[0]); i++) {
    if (strcmp(kGroups[i].name, argv[1]) == 0) {
      kGroups[i].run();
      puts("end");
      return 0;
    }
  }
  Must(false, "group");
}
