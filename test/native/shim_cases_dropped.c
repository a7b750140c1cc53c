/* Processes that have given up their root folder, their user, or both, and fork then; one whose
 * children may not do what it takes. */
#include "shim_program.h"

#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

enum { kNobody = 65534 };
static char* shared;
static char* own;
static int file;

// What a process that has been forked can do, and its children down to `depth` after it.
static int Work(size_t depth) {
  bool good = shared[0] == 's' && own[PAGE] == 'P' && own[2 * PAGE] == 's';
  shared[(10 + depth) * PAGE]++;
  own[(10 + depth) * PAGE] = 'o';
  good = good && own[PAGE] == 'P' && own[(10 + depth) * PAGE] == 'o';
  char* more = mmap(NULL, PAGE, RW, MAP_SHARED, file, 20 * PAGE);
  if (more == MAP_FAILED) return 2;
  more[depth]++;
  if (msync(shared, 16 * PAGE, MS_SYNC) != 0) return 3;
  if (!good) return 4;
  if (depth == 0) return 0;
  const int pid = fork();
  if (pid == 0) _exit(Work(depth - 1));
  return ChildStatus(pid);
}

static bool GiveUp(bool root, bool user) {
  if (root && (mkdir("empty", 0755) != 0 && errno != EEXIST)) return false;
  if (root && (chroot("empty") != 0 || chdir("/") != 0)) return false;
  return !user || (setgroups(0, NULL) == 0 && setgid(kNobody) == 0 && setuid(kNobody) == 0);
}

void DroppedCases(void) {
  shared = Map(32, RW, MAP_SHARED, 0);
  own = Map(32, RW, MAP_PRIVATE, 0);
  file = OpenFile(O_RDWR);
  for (size_t i = 0; i < 20; i++) shared[i * PAGE] = (char)(i < 10 ? 's' : 0);
  own[PAGE] = 'P';
  static const struct {
    bool root;
    bool user;
    const char* name;
  } kDrops[] = {{true, false, "chroot, then fork"},
                {false, true, "setuid, then fork"},
                {true, true, "chroot and setuid, then fork"}};
  for (size_t i = 0; i < 3; i++) {
    const int pid = fork();
    if (pid == 0) _exit(GiveUp(kDrops[i].root, kDrops[i].user) ? Work(3) : 1);
    Equal(ChildStatus(pid), 0, kDrops[i].name);
    bool good = true;
    for (size_t depth = 0; depth < 4; depth++) {
      good = good && shared[(10 + depth) * PAGE] == (char)(i + 1);
      good = good && shared[20 * PAGE + depth] == (char)(i + 1);
    }
    Ok(good, "all of them stored to the file");
  }
}

// From here on the thread, and what it forks, cannot make a userfaultfd.
static void DenyUserfaultfd(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  Must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  Must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
}

void UnservedCases(void) {
  shared = Map(8, RW, MAP_SHARED, 0);
  own = Map(8, RW, MAP_PRIVATE, 0);
  shared[0] = 's';
  own[0] = 'P';
  DenyUserfaultfd();
  const int pid = fork();
  if (pid == 0) _exit(Load(shared) == SIGBUS && Store(own + PAGE, 1) == SIGBUS ? 5 : 1);
  Equal(ChildStatus(pid), 5, "all of a child that cannot be served is SIGBUS");
  Ok(shared[0] == 's' && own[0] == 'P' && Store(shared + PAGE, 1) == 0, "its parent goes on");
}
