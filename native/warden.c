// The warden: runs commands so that nothing of them is left behind. A process of its own, started
// by fs/explorer/warden.ts inside the private mount namespace of `fauxdax test`, where it holds
// CAP_SYS_ADMIN. Each request is one shell command in mount and pid namespaces of its own, with a
// directory bound over the path it works in; when its first process ends, or time is up, or the
// client says so, everything in its pid namespace is killed before the answer goes out.
//
// Three processes: the warden; init, pid 1 of the new namespaces, which makes the mounts, starts
// the command and reaps; and the command. The warden dies with its client (PR_SET_PDEATHSIG, and
// the end of its input), init with the warden, and everything else with init. Mounts are of the
// mount namespace and go with it. The IPC namespace is the warden's, and a new one after a command
// that left something in it: making one costs as much as half of all else.
//
// One request at a time on descriptor 0, one answer each on descriptor 1; numbers are
// little-endian. What a client does wrong ends the warden.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  kRequestBytesMax = 1 << 20,
  kEnvironmentMax = 1024,
  kOutputBytesMax = 64 << 10,
  kExecFailedStatus = 127,
  kProcessesMax = 2048,  // of one command, threads counted
};

enum RequestKind { kRun = 1, kStop = 2 };

// What a message begins with; `bytes` follow.
struct RequestHeader {
  uint32_t kind;
  uint32_t bytes;
  uint32_t timeout_ms;  // 0 is none
  uint32_t zero;
};

// The fields of kRun, in their order in its bytes, each ended by a zero byte; then the environment.
struct Request {
  const char* state_dir;    // bound over work_dir; empty: nothing is
  const char* work_dir;     // where the command runs
  const char* hidden_dir;   // a mount that the command does not see; empty: none
  const char* stdout_path;  // empty: kept and sent with the answer, kOutputBytesMax at most
  const char* stderr_path;
  const char* command;
  const char* environment[kEnvironmentMax];  // NAME=VALUE, beside the warden's own
  size_t environment_count;
};

enum AnswerFlags { kTimedOut = 1, kStopped = 2, kNotStarted = 4 };

struct AnswerHeader {
  uint32_t flags;
  int32_t exit_status;  // -1: ended by a signal. kNotStarted: an errno
  int32_t signal;       // 0: none
  uint32_t stdout_bytes;
  uint32_t stderr_bytes;  // kNotStarted: of the sentence that says what failed
  uint32_t zero;
  uint64_t duration_us;
};

// From init to the warden, once.
struct Report {
  int32_t error;  // an errno: the command was not started
  int32_t wait_status;
  char failed[64];
};

struct Output {
  int fd;  // -1: closed, or not kept
  size_t bytes;
  char kept[kOutputBytesMax];
};

static char request_bytes[kRequestBytesMax];
static struct Output outputs[2];

static uint64_t NowUs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

// The end of input is the end of the client, and of us.
static void ReadFully(void* target, size_t bytes) {
  char* at = target;
  while (bytes > 0) {
    const ssize_t count = read(STDIN_FILENO, at, bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) _exit(0);
    at += count;
    bytes -= (size_t)count;
  }
}

static void WriteFully(const void* source, size_t bytes) {
  const char* at = source;
  while (bytes > 0) {
    const ssize_t count = write(STDOUT_FILENO, at, bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) _exit(0);
    at += count;
    bytes -= (size_t)count;
  }
}

static const char* NextField(const char** at, const char* end) {
  const char* field = *at;
  const char* zero = memchr(field, 0, (size_t)(end - field));
  if (zero == NULL) _exit(2);
  *at = zero + 1;
  return field;
}

static void ParseRequest(struct Request* request, size_t bytes) {
  const char* at = request_bytes;
  const char* end = request_bytes + bytes;
  request->state_dir = NextField(&at, end);
  request->work_dir = NextField(&at, end);
  request->hidden_dir = NextField(&at, end);
  request->stdout_path = NextField(&at, end);
  request->stderr_path = NextField(&at, end);
  request->command = NextField(&at, end);
  request->environment_count = 0;
  while (at < end) {
    if (request->environment_count == kEnvironmentMax) _exit(2);
    request->environment[request->environment_count++] = NextField(&at, end);
  }
}

// Init: says why the command was not started, and takes the namespaces with it.
static void Refuse(int report_fd, const char* what) {
  struct Report report = {.error = errno, .failed = ""};
  strncpy(report.failed, what, sizeof(report.failed) - 1);
  if (write(report_fd, &report, sizeof(report)) < 0) _exit(1);
  _exit(1);
}

static void MakeMounts(const struct Request* request, int report_fd) {
  // What the command mounts or unmounts stays its own affair.
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) Refuse(report_fd, "mount --private");
  if (request->state_dir[0] != 0 &&
      mount(request->state_dir, request->work_dir, NULL, MS_BIND, NULL) != 0) {
    Refuse(report_fd, "mount --bind");
  }
  if (request->hidden_dir[0] != 0 && umount2(request->hidden_dir, MNT_DETACH) != 0) {
    Refuse(report_fd, "umount of what is hidden");
  }
  // Where the kernel forbids it (parts of the old /proc are masked, as in containers), the command
  // sees the old one: its own processes are there under other numbers.
  (void)mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

// The command may do what its user may, but not mount: umount -f would end every other state too.
static void DropPrivileges(int report_fd) {
  (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) != 0 && errno != EPERM) {
    Refuse(report_fd, "drop CAP_SYS_ADMIN");
  }
}

// A command that forks without end meets its own limit before the machine's. Only ordinary users
// have RLIMIT_NPROC. From Linux 6.14 on pid_max is the namespace's own; before, it is everybody's.
static void LimitProcesses(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur > kProcessesMax) {
    limit.rlim_cur = limit.rlim_max = kProcessesMax;
    (void)setrlimit(RLIMIT_NPROC, &limit);
  }
  struct utsname kernel;
  int major = 0;
  int minor = 0;
  if (uname(&kernel) != 0 || sscanf(kernel.release, "%d.%d", &major, &minor) != 2) return;
  if (major < 6 || (major == 6 && minor < 14)) return;
  const int fd = open("/proc/sys/kernel/pid_max", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!dprintf(fd, "%d", kProcessesMax);
  close(fd);
}

static void OpenOutput(const char* path, int fd, int report_fd) {
  if (path[0] == 0) return;
  const int opened = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (opened < 0 || dup2(opened, fd) < 0) Refuse(report_fd, path);
  close(opened);
}

static void Exec(const struct Request* request) {
  setsid();
  for (size_t i = 0; i < request->environment_count; i++) {
    if (putenv((char*)request->environment[i]) != 0) _exit(kExecFailedStatus);
  }
  execl("/bin/sh", "sh", "-c", request->command, (char*)NULL);
  _exit(kExecFailedStatus);
}

// Pid 1 of the command's namespaces. `ends` are the write ends of the pipes of kept output.
static void Init(const struct Request* request, int report_fd, const int ends[2]) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // A warden that died before that line has closed the other end.
  struct pollfd warden = {.fd = report_fd, .events = 0};
  if (poll(&warden, 1, 0) != 0) _exit(1);

  const int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_fd < 0) Refuse(report_fd, "/dev/null");
  dup2(null_fd, STDIN_FILENO);
  for (int i = 0; i < 2; i++) {
    if (dup2(ends[i] >= 0 ? ends[i] : null_fd, STDOUT_FILENO + i) < 0) Refuse(report_fd, "dup2");
  }
  OpenOutput(request->stdout_path, STDOUT_FILENO, report_fd);
  OpenOutput(request->stderr_path, STDERR_FILENO, report_fd);
  MakeMounts(request, report_fd);
  // After the bind: the directory as the command sees it.
  if (chdir(request->work_dir) != 0) Refuse(report_fd, "chdir");
  LimitProcesses();
  DropPrivileges(report_fd);

  const pid_t command = fork();
  if (command < 0) Refuse(report_fd, "fork");
  if (command == 0) Exec(request);
  struct Report report = {.error = 0, .failed = ""};
  for (;;) {
    int status = 0;
    const pid_t pid = wait(&status);
    if (pid < 0 && errno != EINTR) _exit(1);
    if (pid != command) continue;
    report.wait_status = status;
    break;
  }
  // Everything else dies with us, at the hands of the kernel.
  if (write(report_fd, &report, sizeof(report)) < 0) _exit(1);
  _exit(0);
}

static void TakeOutput(struct Output* output) {
  char rest[4096];
  const size_t room = sizeof(output->kept) - output->bytes;
  const ssize_t count = room > 0 ? read(output->fd, output->kept + output->bytes, room)
                                 : read(output->fd, rest, sizeof(rest));
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count > 0) {
    if (room > 0) output->bytes += (size_t)count;
    return;
  }
  close(output->fd);
  output->fd = -1;
}

// Waits until init reports, time is up, or the client says stop; keeps output meanwhile.
// Returns the flags of the answer.
static uint32_t Watch(int report_fd, uint64_t deadline_us, struct Report* report) {
  for (;;) {
    int wait_ms = -1;
    if (deadline_us != 0) {
      const uint64_t now_us = NowUs();
      if (now_us >= deadline_us) return kTimedOut;
      wait_ms = (int)((deadline_us - now_us) / 1000) + 1;
    }
    struct pollfd polled[] = {
        {.fd = report_fd, .events = POLLIN},
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = outputs[0].fd, .events = POLLIN},
        {.fd = outputs[1].fd, .events = POLLIN},
    };
    if (poll(polled, 4, wait_ms) < 0) continue;
    for (int i = 0; i < 2; i++) {
      if (polled[2 + i].revents != 0) TakeOutput(&outputs[i]);
    }
    if (polled[1].revents != 0) {
      struct RequestHeader header;
      ReadFully(&header, sizeof(header));
      if (header.kind != kStop || header.bytes != 0) _exit(2);
      return kStopped;
    }
    if (polled[0].revents != 0) {
      // Nothing to read: init was killed.
      if (read(report_fd, report, sizeof(*report)) == sizeof(*report)) return 0;
      report->wait_status = SIGKILL;
      return 0;
    }
  }
}

static void Answer(uint32_t flags, const struct Report* report, uint64_t started_us) {
  struct AnswerHeader answer = {
      .flags = flags,
      .exit_status = -1,
      .stdout_bytes = (uint32_t)outputs[0].bytes,
      .stderr_bytes = (uint32_t)outputs[1].bytes,
      .duration_us = NowUs() - started_us,
  };
  if (report->error != 0) {
    answer.flags |= kNotStarted;
    answer.exit_status = report->error;
    answer.stdout_bytes = 0;
    answer.stderr_bytes = (uint32_t)strlen(report->failed);
  } else if ((flags & (kTimedOut | kStopped)) != 0) {
    answer.signal = SIGKILL;
  } else if (WIFSIGNALED(report->wait_status)) {
    answer.signal = WTERMSIG(report->wait_status);
  } else {
    answer.exit_status = WEXITSTATUS(report->wait_status);
  }
  WriteFully(&answer, sizeof(answer));
  WriteFully(outputs[0].kept, answer.stdout_bytes);
  WriteFully(report->error != 0 ? report->failed : outputs[1].kept, answer.stderr_bytes);
}

static void NotStarted(const char* what, uint64_t started_us) {
  struct Report report = {.error = errno, .failed = ""};
  strncpy(report.failed, what, sizeof(report.failed) - 1);
  Answer(0, &report, started_us);
}

// Whether nothing of System V is in the IPC namespace.
static bool IsIpcEmpty(void) {
  struct shm_info memory;
  struct seminfo semaphores;
  struct msginfo queues;
  return shmctl(0, SHM_INFO, (struct shmid_ds*)&memory) >= 0 && memory.used_ids == 0 &&
         semctl(0, 0, SEM_INFO, &semaphores) >= 0 && semaphores.semusz == 0 &&
         msgctl(0, MSG_INFO, (struct msqid_ds*)&queues) >= 0 && queues.msgpool == 0;
}

static void Run(const struct Request* request, uint32_t timeout_ms) {
  const uint64_t started_us = NowUs();
  static bool has_own_ipc = false;
  if (!has_own_ipc || !IsIpcEmpty()) {
    if (unshare(CLONE_NEWIPC) != 0) return NotStarted("unshare --ipc", started_us);
    has_own_ipc = true;
  }
  const char* paths[] = {request->stdout_path, request->stderr_path};
  int report_ends[2];
  int ends[2] = {-1, -1};
  if (pipe2(report_ends, O_CLOEXEC) != 0) return NotStarted("pipe", started_us);
  for (int i = 0; i < 2; i++) {
    outputs[i].bytes = 0;
    outputs[i].fd = -1;
    if (paths[i][0] != 0) continue;
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC) != 0) _exit(3);
    outputs[i].fd = pipe_ends[0];
    ends[i] = pipe_ends[1];
  }
  const long init = syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, 0L);
  if (init == 0) {
    close(report_ends[0]);
    Init(request, report_ends[1], ends);
  }
  const int clone_error = errno;
  close(report_ends[1]);
  for (int i = 0; i < 2; i++) {
    if (ends[i] >= 0) close(ends[i]);
  }
  struct Report report = {.error = 0, .failed = ""};
  uint32_t flags = 0;
  if (init > 0) {
    const uint64_t deadline_us = timeout_ms == 0 ? 0 : started_us + (uint64_t)timeout_ms * 1000;
    flags = Watch(report_ends[0], deadline_us, &report);
    kill((pid_t)init, SIGKILL);
    // Returns when every process of the namespace is gone, and with it every file they held.
    while (waitpid((pid_t)init, NULL, 0) < 0 && errno == EINTR) continue;
  } else {
    report.error = clone_error;
    strcpy(report.failed, "clone");
  }
  close(report_ends[0]);
  for (int i = 0; i < 2; i++) {
    while (outputs[i].fd >= 0) TakeOutput(&outputs[i]);
  }
  Answer(flags, &report, started_us);
}

int main(void) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) {
    struct RequestHeader header;
    ReadFully(&header, sizeof(header));
    if (header.bytes > sizeof(request_bytes)) return 2;
    ReadFully(request_bytes, header.bytes);
    // A stop that crossed the answer on its way.
    if (header.kind == kStop) continue;
    if (header.kind != kRun) return 2;
    struct Request request;
    ParseRequest(&request, header.bytes);
    Run(&request, header.timeout_ms);
  }
}
