/* A client of the fault server that speaks native/wire.h by itself: it obeys lines of standard
 * input and answers each with one line. Pages count 4 KiB, from the start of its one mapping.
 *
 *   fault_client SOCKET
 *
 *   hello                        helper channel and thread   -> hello ERROR MODE
 *   child                        hello of a child without rights, by CHILD -> child ERROR PID
 *   map INO OFFSET PAGES FLAGS   memory, and MAP of it       -> map ERROR
 *   again SHIFT                  MAP, that many pages on     -> again ERROR
 *   unmap PAGE PAGES             munmap and UNMAP            -> unmap ERROR
 *   forget PAGE PAGES            only UNMAP                  -> forget ERROR
 *   hold PAGE PAGES              HOLD                         -> hold ERROR
 *   anew PAGE PAGES              only memory of its own there, of zeroes
 *   sync PAGE PAGES | flush BYTE BYTES FLAGS | fallocate INO MODE OFFSET LENGTH
 *   bells | bells-over           memory for them, or over the mapping -> bells ERROR
 *   ring BELL STATE CALL PAGE PAGES  in a thread of its own  -> ring BELL STATE ERROR
 *   touch BELL                   the same, asking nothing   -> touch BELL
 *   number BELL NUMBER           what is asked there is another request -> number
 *   load PAGE | store PAGE NUMBER    in a thread of its own  -> load PAGE NUMBER, bus PAGE
 *   stores PAGES NUMBER          one page after the other    -> stores MICROSECONDS
 *   commits COUNT NUMBER [PAGES] stores to pages 3 and 40 and a sync, of all or the first PAGES,
 *                                again and again             -> commits
 *   kept INO                     what a sync is to flush     -> kept NUMBER [PAGE REGION PAGES]...
 *   bursts COUNT NUMBER          the same to 8 pages each from 64, 192 and 320 on -> bursts
 *   silent                       the helper says "disobeyed" and waits, until
 *   obey
 *   small                        it gets no huge pages from now on
 *   lie ERROR COLLISIONS         what it says of commands from now on -> lie
 *   raw HOW                      one wrong packet            -> raw ERROR, or raw end
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "wire.h"
#include "wire_bells.h"
#include "wire_files.h"

#define PAGE 4096ul
#define HUGE (2ul << 20)
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif

static const char* socket_path;
static int uffd = -1, helper_channel = -1, channel = -1, region_fd = -1, empty_fd = -1;
static uint64_t mapping_ino, mapping_offset;
static char* base;
static size_t pages;
static unsigned map_flags;
static atomic_int silent;
static char* bells;
static struct wire_bells* requests;
static atomic_int small;
static int lie_error;
static unsigned lie_collisions;

static void require(int good, const char* what) {
  if (good) return;
  perror(what);
  exit(1);
}

static int Connect(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, socket_path, sizeof(address.sun_path) - 1);
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  require(connect(fd, (struct sockaddr*)&address, sizeof(address)) == 0, "connect");
  return fd;
}

static int Send(int fd, const void* packet, size_t length, const int* fds, int count) {
  char control[CMSG_SPACE(4 * sizeof(int))] = {0};
  struct iovec vector = {(void*)packet, length};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
  }
  return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)length;
}

/* 0 at the end of the connection. `fds`: three at most. */
static int Receive(int fd, struct wire_reply* reply, int* fds) {
  char control[CMSG_SPACE(3 * sizeof(int))];
  struct iovec vector = {reply, sizeof(*reply)};
  struct msghdr message = {.msg_iov = &vector,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof(control)};
  if (recvmsg(fd, &message, 0) != sizeof(*reply)) return 0;
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != NULL && fds != NULL) {
    memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
  }
  return 1;
}

static struct wire_request Request(unsigned call, unsigned flags, uint64_t a, uint64_t b,
                                   uint64_t c, uint64_t d) {
  struct wire_request request = {.magic = WIRE_MAGIC,
                                 .version = WIRE_VERSION,
                                 .call = call,
                                 .flags = flags,
                                 .tid = (uint32_t)gettid(),
                                 .arguments = {a, b, c, d}};
  return request;
}

/* -1 at the end of the connection. */
static int Ask(int fd, struct wire_request request) {
  struct wire_reply reply;
  if (!Send(fd, &request, sizeof(request), NULL, 0) || !Receive(fd, &reply, NULL)) return -1;
  return reply.error;
}

/* The descriptor of a reply. */
static int Take(int fd, unsigned call) {
  const struct wire_request request = Request(call, 0, 0, 0, 0, 0);
  struct wire_reply reply;
  int fds[3] = {-1, -1, -1};
  require(Send(fd, &request, sizeof(request), NULL, 0) && Receive(fd, &reply, fds), "take");
  return fds[0];
}

static void Register(void* at, size_t length, int mode) {
  struct uffdio_register asked = {{(uintptr_t)at, length}, mode, 0};
  require(ioctl(uffd, UFFDIO_REGISTER, &asked) == 0, "register");
}

static void Protect(void* at, size_t length) {
  struct uffdio_writeprotect asked = {{(uintptr_t)at, length}, UFFDIO_WRITEPROTECT_MODE_WP};
  require(ioctl(uffd, UFFDIO_WRITEPROTECT, &asked) == 0, "protect");
}

static char* Staging(size_t length) {
  char* at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
  require(at != MAP_FAILED, "staging");
  return at;
}

static void Obey(const struct wire_command* command) {
  char* at = (char*)command->address;
  const size_t length = command->length;
  const int all = PROT_READ | PROT_WRITE;
  if (command->kind == WIRE_BUS) {
    require(mmap(at, length, all, MAP_SHARED | MAP_FIXED, empty_fd, 0) == at, "bus");
    return;
  }
  const int how = map_flags & WIRE_MAP_SHARED ? MAP_SHARED : MAP_PRIVATE;
  const off_t offset = (off_t)command->region_offset;
  if (command->kind == WIRE_REGION && (command->flags & WIRE_STORABLE)) {
    require(mmap(at, length, all, how | MAP_FIXED, region_fd, offset) == at, "region");
    Register(at, length, UFFDIO_REGISTER_MODE_WP);
    return;
  }
  char* staging = Staging(length);
  if (command->kind == WIRE_REGION) {
    require(mmap(staging, length, all, how | MAP_FIXED, region_fd, offset) == staging, "region");
    Register(staging, length, UFFDIO_REGISTER_MODE_WP);
    if (how == MAP_SHARED) Protect(staging, length);
  } else {
    Register(staging, length, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
    if (command->kind == WIRE_ZERO) {
      struct uffdio_zeropage zero = {
          {(uintptr_t)staging, length}, UFFDIO_ZEROPAGE_MODE_DONTWAKE, 0};
      require(ioctl(uffd, UFFDIO_ZEROPAGE, &zero) == 0, "zero");
      Protect(staging, length);
    }
  }
  require(mremap(staging, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, at) == at, "mremap");
}

static _Atomic uint32_t helper_tid;
static _Atomic int hello_error; /* EINPROGRESS until there is an answer */

static void* Helper(void* unused) {
  (void)unused;
  helper_tid = (uint32_t)gettid();
  while (hello_error == EINPROGRESS) usleep(1000);
  if (hello_error != 0) return NULL;
  struct wire_command commands[WIRE_COMMANDS_MAX];
  for (;;) {
    const ssize_t length = recv(helper_channel, commands, sizeof(commands), 0);
    if (length <= 0) return NULL;
    if (silent) printf("disobeyed\n");
    while (silent) usleep(1000);
    const size_t count = (size_t)length / sizeof(commands[0]);
    struct wire_done done = {.number = commands[count - 1].number,
                             .error = lie_error,
                             .collisions = lie_collisions};
    for (size_t i = 0; i < count; i++) {
      Obey(&commands[i]);
      if (small && (commands[i].flags & WIRE_COLLAPSE)) done.small_count++;
    }
    if (send(helper_channel, &done, sizeof(done), MSG_NOSIGNAL) < 0) return NULL;
  }
}

static int MakeUffd(void) {
  const int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  struct uffdio_api api = {UFFD_API,
                           UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
                               UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_EVENT_REMAP |
                               UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_EXACT_ADDRESS |
                               UFFD_FEATURE_THREAD_ID,
                           0};
  require(fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0, "userfaultfd");
  return fd;
}

static void Hello(void) {
  uffd = MakeUffd();
  helper_channel = Connect();
  struct wire_request request = Request(WIRE_HELLO, 0, 0, 0, 0, 0);
  struct wire_reply reply = {0};
  int fds[3] = {-1, -1, -1};
  pthread_t thread;
  helper_tid = 0;
  hello_error = EINPROGRESS;
  require(pthread_create(&thread, NULL, Helper, NULL) == 0, "thread");
  while (helper_tid == 0) usleep(1000);
  request.tid = helper_tid;
  // A refusal may be there, and the connection closed, before this is sent.
  (void)Send(helper_channel, &request, sizeof(request), &uffd, 1);
  if (!Receive(helper_channel, &reply, fds)) reply.error = -1;
  region_fd = fds[0];
  empty_fd = fds[1];
  channel = fds[2];
  hello_error = reply.error;
  printf("hello %d %d\n", reply.error, (int)reply.values[0]);
}

static void Map(void) {
  char* room = Staging(pages * PAGE + HUGE);
  base = (char*)(((uintptr_t)room + HUGE - 1) & ~(HUGE - 1));
  printf("map %d\n", Ask(channel, Request(WIRE_MAP, map_flags, (uintptr_t)base, pages * PAGE,
                                          mapping_ino, mapping_offset)));
}

static __thread sigjmp_buf back;

static void OnBus(int number) {
  (void)number;
  siglongjmp(back, 1);
}

struct access {
  size_t page;
  long value; /* to be stored; -1 loads */
};

static void* Access(void* argument) {
  const struct access access = *(struct access*)argument;
  free(argument);
  volatile int* at = (volatile int*)(base + access.page * PAGE);
  if (sigsetjmp(back, 1) != 0) {
    printf("bus %zu\n", access.page);
  } else if (access.value < 0) {
    printf("load %zu %d\n", access.page, *at);
  } else {
    *at = (int)access.value;
    printf("store %zu %ld\n", access.page, access.value);
  }
  return NULL;
}

static void InThread(size_t page, long value) {
  struct access* access = malloc(sizeof(*access));
  *access = (struct access){page, value};
  pthread_t thread;
  require(pthread_create(&thread, NULL, Access, access) == 0, "thread");
  pthread_detach(thread);
}

static void Bells(int over) {
  char* at = over ? base : Staging(WIRE_BELL_COUNT * PAGE);
  struct wire_request request = Request(WIRE_BELLS, 0, (uintptr_t)at, 0, 0, 0);
  struct wire_reply reply = {.error = -1};
  int fds[2] = {-1, -1};
  require(Send(channel, &request, sizeof(request), NULL, 0) && Receive(channel, &reply, fds), "bells");
  if (reply.error == 0) {
    bells = at;
    requests = mmap(NULL, sizeof(*requests), PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    require(requests != MAP_FAILED, "requests");
  }
  printf("bells %d\n", reply.error);
}

struct ring {
  unsigned long bell, state, call, page, pages;
};

static void* Touch(void* argument) {
  const size_t bell = (size_t)argument;
  (void)*(volatile char*)(bells + bell * PAGE);
  printf("touch %zu\n", bell);
  return NULL;
}

static void* Ring(void* argument) {
  const struct ring ring = *(struct ring*)argument;
  free(argument);
  struct wire_bell* bell = &requests->bells[ring.bell];
  char* page = bells + ring.bell * PAGE;
  /* Before, not after: another thread may still be about to look at what let it go on. */
  madvise(page, PAGE, MADV_DONTNEED);
  bell->call = (uint32_t)ring.call;
  bell->tid = (uint32_t)gettid();
  bell->arguments[0] = (uintptr_t)base + ring.page * PAGE;
  bell->arguments[1] = ring.pages * PAGE;
  bell->error = 0;
  __atomic_store_n(&bell->state, 1 << 2 | ring.state, __ATOMIC_SEQ_CST);
  (void)*(volatile char*)page;
  const unsigned long state = __atomic_load_n(&bell->state, __ATOMIC_SEQ_CST);
  printf("ring %lu %lu %d\n", ring.bell, state & 3, bell->error);
  return NULL;
}

static void RingInThread(const char* line) {
  struct ring* ring = malloc(sizeof(*ring));
  require(sscanf(line, "%*s %lu %lu %lu %lu %lu", &ring->bell, &ring->state, &ring->call,
                 &ring->page, &ring->pages) == 5,
          "ring");
  pthread_t thread;
  require(pthread_create(&thread, NULL, Ring, ring) == 0, "thread");
  pthread_detach(thread);
}

static double Now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static void Stores(size_t count, int value) {
  const double start = Now();
  for (size_t page = 0; page < count; page++) *(volatile int*)(base + page * PAGE) = value;
  printf("stores %.2f\n", (Now() - start) / (double)count);
}

static void Commits(size_t count, int value, size_t synced) {
  const struct wire_request sync = Request(WIRE_SYNC, 0, (uintptr_t)base, synced * PAGE, 0, 0);
  for (size_t i = 0; i < count; i++) {
    *(volatile int*)(base + 3 * PAGE) = value;
    *(volatile int*)(base + 40 * PAGE) = value;
    require(Ask(channel, sync) == 0, "sync");
  }
  printf("commits\n");
}

static void Bursts(size_t count, int value) {
  const struct wire_request sync = Request(WIRE_SYNC, 0, (uintptr_t)base, pages * PAGE, 0, 0);
  for (size_t i = 0; i < count; i++) {
    for (size_t block = 64; block < 64 * 6; block += 128) {
      for (size_t page = 0; page < 8; page++) *(volatile int*)(base + (block + page) * PAGE) = value;
    }
    require(Ask(channel, sync) == 0, "sync");
  }
  printf("bursts\n");
}

static void Kept(uint64_t ino) {
  static const struct wire_files* table;
  if (table == NULL) {
    table = mmap(NULL, sizeof(*table), PROT_READ, MAP_SHARED, Take(channel, WIRE_FILES), 0);
    require(table != MAP_FAILED, "table");
  }
  const struct wire_file* file = table->files[WireFileSet(ino)];
  while (file->ino != ino) file++;
  const uint64_t number = __atomic_load_n(&file->kept.number, __ATOMIC_ACQUIRE);
  printf("kept %lu", number);
  for (size_t i = 0; number != 0 && i < file->kept.run_count; i++) {
    const struct wire_extent* run = &file->kept.runs[i];
    printf(" %lu %lu %lu", run->file_page, run->region_page, run->page_count);
  }
  printf("\n");
}

/* One packet that no shim sends, on a channel of its own; `joined-` on one that joined. */
static void Raw(const char* how) {
  struct wire_request packet[2] = {Request(WIRE_HELLO, 0, 0, 0, 0, 0)};
  size_t length = sizeof(packet[0]);
  int fds[4] = {-1, -1, -1, -1};
  int count = 1;
  const int is_joined = strncmp(how, "joined-", 7) == 0;
  const int fd = is_joined ? Take(channel, WIRE_CHANNEL) : Connect();
  if (is_joined) {
    packet[0] = Request(WIRE_UNMAP, 0, (uintptr_t)base, PAGE, 0, 0);
    count = 0;
    how += 7;
  } else if (strcmp(how, "no-uffd") == 0) {
    count = 0;
  } else {
    fds[0] = MakeUffd();
  }
  if (strcmp(how, "magic") == 0) packet[0].magic++;
  if (strcmp(how, "version") == 0) packet[0].version++;
  if (strcmp(how, "call") == 0) packet[0].call = 99;
  if (strcmp(how, "flags") == 0) packet[0].flags = 1;
  if (strcmp(how, "short") == 0) length -= 8;
  if (strcmp(how, "long") == 0) length += 8;
  if (strcmp(how, "file") == 0) fds[0] = open("/dev/null", O_RDWR);
  if (strcmp(how, "event") == 0) fds[0] = (int)syscall(SYS_eventfd2, 0, 0);
  if (strcmp(how, "new") == 0) fds[0] = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  if (strcmp(how, "many") == 0) {
    for (count = 0; count < 4; count++) fds[count] = MakeUffd();
  }
  if (strcmp(how, "descriptor") == 0) {
    fds[0] = MakeUffd();
    count = 1;
  }
  struct wire_reply reply;
  (void)Send(fd, packet, length, fds, count);
  if (Receive(fd, &reply, NULL)) {
    printf("raw %d\n", reply.error);
  } else {
    printf("raw end\n");
  }
  close(fd);
  for (int i = 0; i < 4; i++) {
    if (fds[i] >= 0) close(fds[i]);
  }
}

/* It lives until its standard input, ours, ends. */
static void Child(void) {
  const int fd = Take(channel, WIRE_CHILD);
  const struct wire_request request = Request(WIRE_HELLO, 0, 0, 0, 0, 0);
  fflush(stdout);
  const pid_t pid = fork();
  if (pid != 0) {
    close(fd);
    return;
  }
  const int its_uffd = MakeUffd();
  require(setresuid(65534, 65534, 65534) == 0, "setuid");
  struct wire_reply reply = {.error = -1};
  (void)Send(fd, &request, sizeof(request), &its_uffd, 1);
  if (!Receive(fd, &reply, NULL)) reply.error = -1;
  printf("child %d %d\n", reply.error, (int)getpid());
  while (getchar() != EOF) continue;
  exit(0);
}

int main(int argc, char** argv) {
  require(argc == 2, "usage: fault_client SOCKET");
  socket_path = argv[1];
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct sigaction action = {.sa_handler = OnBus, .sa_flags = SA_NODEFER};
  sigaction(SIGBUS, &action, NULL);
  char line[256];
  while (fgets(line, sizeof(line), stdin) != NULL) {
    char word[32] = "", how[32] = "";
    unsigned long a = 0, b = 0, c = 0, d = 0;
    sscanf(line, "%31s %lu %lu %lu %lu", word, &a, &b, &c, &d);
    sscanf(line, "%*s %31s", how);
    const uintptr_t at = (uintptr_t)base + a * PAGE;
    if (strcmp(word, "hello") == 0) Hello();
    if (strcmp(word, "map") == 0) {
      mapping_ino = a;
      mapping_offset = b;
      pages = c;
      map_flags = (unsigned)d;
      Map();
    }
    if (strcmp(word, "again") == 0) {
      printf("again %d\n", Ask(channel, Request(WIRE_MAP, map_flags, at, pages * PAGE, mapping_ino,
                                                mapping_offset)));
    }
    if (strcmp(word, "unmap") == 0) {
      munmap((void*)at, b * PAGE);
      printf("unmap %d\n", Ask(channel, Request(WIRE_UNMAP, 0, at, b * PAGE, 0, 0)));
    }
    if (strcmp(word, "forget") == 0) {
      printf("forget %d\n", Ask(channel, Request(WIRE_UNMAP, 0, at, b * PAGE, 0, 0)));
    }
    if (strcmp(word, "hold") == 0) {
      printf("hold %d\n", Ask(channel, Request(WIRE_HOLD, 0, at, b * PAGE, 0, 0)));
    }
    if (strcmp(word, "anew") == 0) {
      void* anew = mmap((void*)at, b * PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
      require(anew == (void*)at, "anew");
      printf("anew\n");
    }
    if (strcmp(word, "sync") == 0) {
      printf("sync %d\n", Ask(channel, Request(WIRE_SYNC, 0, at, b * PAGE, 0, 0)));
    }
    if (strcmp(word, "bells") == 0) Bells(0);
    if (strcmp(word, "bells-over") == 0) Bells(1);
    if (strcmp(word, "ring") == 0) RingInThread(line);
    if (strcmp(word, "touch") == 0) {
      pthread_t thread;
      require(pthread_create(&thread, NULL, Touch, (void*)a) == 0, "thread");
      pthread_detach(thread);
    }
    if (strcmp(word, "number") == 0) {
      __atomic_store_n(&requests->bells[a].state, b << 2 | WIRE_BELL_ASKED, __ATOMIC_SEQ_CST);
      printf("number\n");
    }
    if (strcmp(word, "flush") == 0) {
      printf("flush %d\n",
             Ask(channel, Request(WIRE_FLUSH, (unsigned)c, (uintptr_t)base + a, b, 0, 0)));
    }
    if (strcmp(word, "fallocate") == 0) {
      printf("fallocate %d\n", Ask(channel, Request(WIRE_FALLOCATE, 0, a, b, c, d)));
    }
    if (strcmp(word, "load") == 0) InThread(a, -1);
    if (strcmp(word, "store") == 0) InThread(a, (long)b);
    if (strcmp(word, "stores") == 0) Stores(a, (int)b);
    if (strcmp(word, "commits") == 0) Commits(a, (int)b, c > 0 ? c : pages);
    if (strcmp(word, "kept") == 0) Kept(a);
    if (strcmp(word, "bursts") == 0) Bursts(a, (int)b);
    if (strcmp(word, "silent") == 0) {
      silent = 1;
      printf("silent\n");
    }
    if (strcmp(word, "obey") == 0) {
      silent = 0;
      printf("obey\n");
    }
    if (strcmp(word, "small") == 0) {
      small = 1;
      printf("small\n");
    }
    if (strcmp(word, "lie") == 0) {
      sscanf(line, "%*s %d %u", &lie_error, &lie_collisions);
      printf("lie\n");
    }
    if (strcmp(word, "raw") == 0) Raw(how);
    if (strcmp(word, "child") == 0) Child();
  }
  return 0;
}
