/* A daemon that refuses, is of another version, or ends while it is needed. */
#include "shim_program.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../../native/wire.h"

void RefusedCases(void) {
  const int fd = OpenFile(O_RDWR);
  char* a = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
  Ok(a != MAP_FAILED && Load(a) == 0, "a file that is not DAX is mapped as without the shim");
  errno = 0;
  void* sync = mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
  Ok(sync == MAP_FAILED && errno == EOPNOTSUPP, "with MAP_SYNC it is EOPNOTSUPP");
  Equal(munmap(a, PAGE), 0, "munmap");
  const int pid = fork();
  if (pid == 0) _exit(0);
  Equal(ChildStatus(pid), 0, "fork");
}

// A daemon that does not like the version of the first who comes.
static void OtherVersion(int listener) {
  const int channel = accept(listener, NULL, NULL);
  struct wire_request request;
  const struct wire_reply reply = {.error = EPROTONOSUPPORT};
  if (recv(channel, &request, sizeof(request), 0) != sizeof(request)) _exit(1);
  if (send(channel, &reply, sizeof(reply), 0) != sizeof(reply)) _exit(1);
  _exit(0);
}

void VersionCases(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, getenv(WIRE_ENV_SOCKET), sizeof(address.sun_path) - 1);
  const int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  Must(bind(listener, (struct sockaddr*)&address, sizeof(address)) == 0, "bind");
  Must(listen(listener, 4) == 0, "listen");
  const int pid = fork();
  if (pid == 0) OtherVersion(listener);
  close(listener);
  const int fd = OpenFile(O_RDWR);
  for (int i = 0; i < 2; i++) {
    errno = 0;
    void* none = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
    Ok(none == MAP_FAILED && errno == EPROTO, "a daemon of another version is EPROTO");
  }
  Equal(ChildStatus(pid), 0, "it refused");
}

static char* volatile waiting;
static void* Waiting(void* argument) {
  (void)argument;
  Equal(Load(waiting), SIGBUS, "a thread that waits for a fault gets SIGBUS");
  return NULL;
}

// Standard input says that the daemon is gone.
void OrphanCases(void) {
  char* a = Map(16, RW, MAP_SHARED, 0);
  char* own = Map(16, RW, MAP_PRIVATE, 0);
  const int fd = OpenFile(O_RDWR);
  a[0] = 'x';
  own[PAGE] = 'o';
  waiting = a + 4 * PAGE;
  puts("ready");
  fflush(stdout);
  char line[8];
  Must(fgets(line, sizeof(line), stdin) != NULL, "stdin");
  pthread_t thread;
  Must(pthread_create(&thread, NULL, Waiting, NULL) == 0, "pthread_create");
  pthread_join(thread, NULL);
  Equal(Load(a), SIGBUS, "what was shown is SIGBUS");
  Equal(Store(a + PAGE, 1), SIGBUS, "what was not, too");
  Equal(Load(own + PAGE), SIGBUS, "and private pages");
  errno = 0;
  Ok(msync(a, PAGE, MS_SYNC) == -1 && errno == EIO, "msync is EIO");
  errno = 0;
  Ok(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EIO, "mmap is EIO");
  const int pid = fork();
  if (pid == 0) _exit(Load(a) == SIGBUS ? 5 : 1);
  Equal(ChildStatus(pid), 5, "fork works, and a child has no more");
  Equal(munmap(a, 16 * PAGE), 0, "munmap works");
  Equal(Load(a), SIGSEGV, "and what was unmapped is not there");
}
