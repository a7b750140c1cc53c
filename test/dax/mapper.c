// A process with mappings for tests of direct mappings: calls on standard input, one a line, in the
// directory given as the first argument; one line of answer each, the result or the name of the
// errno. Files and mappings are named by one letter. A load or store that gets SIGBUS answers
// `SIGBUS` and the offset in the mapping that the kernel named.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 8

struct map {
  char* address;
  size_t length;
};

static int files[26];
static struct map maps[26];
static char* words[WORDS_MAX];
static sigjmp_buf bus_error;
static char* bus_address;

static int* File(int word) { return &files[(words[word][0] - 'A') % 26]; }
static struct map* Map(int word) { return &maps[(words[word][0] - 'A') % 26]; }
static long long Number(int word) { return strtoll(words[word], NULL, 0); }

static void Answer(long long value) {
  if (value < 0)
    printf("%s\n", strerrorname_np(errno));
  else
    printf("%lld\n", value);
}

static void OnBusError(int signal, siginfo_t* info, void* context) {
  (void)signal;
  (void)context;
  bus_address = info->si_addr;
  siglongjmp(bus_error, 1);
}

// Bytes as text, runs of more than three of the same byte as <x*N>, zeroes as `.`.
static void Bytes(const char* bytes, long long count) {
  for (long long at = 0; at < count;) {
    long long end = at + 1;
    while (end < count && bytes[end] == bytes[at]) end++;
    const char shown = bytes[at] == 0 ? '.' : bytes[at];
    if (end - at > 3)
      printf("<%c*%lld>", shown, end - at);
    else
      for (long long i = at; i < end; i++) putchar(shown);
    at = end;
  }
  putchar('\n');
}

static int OpenFlags(const char* text) {
  int flags = strstr(text, "rw") != NULL ? O_RDWR : O_RDONLY;
  if (strstr(text, "creat") != NULL) flags |= O_CREAT;
  if (strstr(text, "trunc") != NULL) flags |= O_TRUNC;
  if (strstr(text, "dsync") != NULL) flags |= O_DSYNC;
  if (strstr(text, "append") != NULL) flags |= O_APPEND;
  return flags;
}

static void DoMap(void) {
  const char* kind = words[5];
  int flags = MAP_SHARED;
  if (strcmp(kind, "private") == 0) flags = MAP_PRIVATE;
  if (strcmp(kind, "sync") == 0) flags = MAP_SHARED_VALIDATE | MAP_SYNC;
  const int protection = PROT_READ | (strcmp(kind, "read") == 0 ? 0 : PROT_WRITE);
  const size_t length = (size_t)Number(4);
  char* address = mmap(NULL, length, protection, flags, *File(2), Number(3));
  if (address != MAP_FAILED) *Map(1) = (struct map){address, length};
  Answer(address == MAP_FAILED ? -1 : 0);
}

// mapover N F OFFSET LENGTH M AT: a shared mapping in the place of a part of another.
static void DoMapOver(void) {
  const size_t length = (size_t)Number(4);
  char* at = Map(5)->address + Number(6);
  const int how = MAP_SHARED | MAP_FIXED;
  char* address = mmap(at, length, PROT_READ | PROT_WRITE, how, *File(2), Number(3));
  if (address != MAP_FAILED) *Map(1) = (struct map){address, length};
  Answer(address == MAP_FAILED ? -1 : 0);
}

static void Touch(void) {
  const char* call = words[0];
  struct map* map = Map(1);
  char* at = map->address + Number(2);
  if (sigsetjmp(bus_error, 1) != 0) {
    printf("SIGBUS %lld\n", (long long)(bus_address - map->address));
    return;
  }
  if (strcmp(call, "load") == 0) {
    static char copy[1 << 16];
    const size_t count = (size_t)Number(3);
    memcpy(copy, at, count);
    Bytes(copy, (long long)count);
    return;
  }
  if (strcmp(call, "fill") == 0)
    memset(at, words[3][0], (size_t)Number(4));
  else
    memcpy(at, words[3], strlen(words[3]));
  printf("0\n");
}

static void* MapOver(void* argument) {
  const struct map* map = argument;
  mmap(map->address, map->length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  return NULL;
}

// cover M: a thread maps something else over it; the answer does not wait for that.
static void DoCover(void) {
  pthread_t thread;
  errno = pthread_create(&thread, NULL, MapOver, Map(1));
  if (errno == 0) pthread_detach(thread);
  Answer(errno == 0 ? 0 : -1);
}

static void* Shift(void* file) {
  fallocate((int)(intptr_t)file, FALLOC_FL_COLLAPSE_RANGE, 0, 4096);
  return NULL;
}

// shift F: a thread takes its first page out of it; the answer does not wait for that.
static void DoShift(void) {
  pthread_t thread;
  errno = pthread_create(&thread, NULL, Shift, (void*)(intptr_t)*File(1));
  if (errno == 0) pthread_detach(thread);
  Answer(errno == 0 ? 0 : -1);
}

static pthread_t tenant;

static void OnNothingThere(int signal, siginfo_t* info, void* context) {
  (void)signal;
  (void)context;
  char* page = (char*)((uintptr_t)info->si_addr & ~(uintptr_t)4095);
  const int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  mmap(page, 4096, PROT_READ | PROT_WRITE, how, -1, 0);
}

static void* MoveIn(void* at) {
  volatile char* byte = at;
  while (*byte != 0) continue;
  *byte = 'n';
  return NULL;
}

// await M: a thread loads from it, which is not zero, until it is gone; its handler of SIGSEGV maps
// memory in its place, and it stores `n` there. The answer does not wait for that.
static void DoAwait(void) {
  const struct sigaction action = {.sa_sigaction = OnNothingThere, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  errno = pthread_create(&tenant, NULL, MoveIn, Map(1)->address);
  Answer(errno == 0 ? 0 : -1);
}

static void Run(void);

// fork CALL...: a child makes the call and ends.
static void DoFork(void) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    memmove(words, words + 1, sizeof(words) - sizeof(words[0]));
    Run();
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  if (child < 0) Answer(-1);
  waitpid(child, &status, 0);
  if (status != 0) printf("child status %d\n", status);
}

// huge M: how many KiB of it are mapped by entries of 2 MiB.
static void DoHuge(void) {
  const struct map* map = Map(1);
  FILE* areas = fopen("/proc/self/smaps", "re");
  char line[512];
  unsigned long start = 0, first, last;
  long long found = 0, kib;
  while (areas != NULL && fgets(line, sizeof(line), areas) != NULL) {
    if (sscanf(line, "%lx-%lx ", &first, &last) == 2) start = first;
    const char* address = (const char*)start;
    if (address < map->address || address >= map->address + map->length) continue;
    if (sscanf(line, "ShmemPmdMapped: %lld", &kib) == 1) found += kib;
  }
  if (areas != NULL) fclose(areas);
  Answer(found);
}

// collapse: whether the kernel makes a huge page of shared memory now.
static void DoCollapse(void) {
  const size_t huge = 2 << 20;
  const int file = memfd_create("huge", MFD_CLOEXEC);
  char* at = MAP_FAILED;
  if (file >= 0 && ftruncate(file, (off_t)huge * 2) == 0)
    at = mmap(NULL, huge * 2, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (at == MAP_FAILED) return Answer(-1);
  char* aligned = (char*)(((uintptr_t)at + huge - 1) & ~(huge - 1));
  // Aligned in the file too: that is mapped over what is there.
  mmap(aligned, huge, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
  memset(aligned, 'h', huge);
  Answer(madvise(aligned, huge, 25 /* MADV_COLLAPSE */));
  munmap(at, huge * 2);
  munmap(aligned, huge);
  close(file);
}

static void DoRead(void) {
  static char bytes[1 << 16];
  const ssize_t count = pread(*File(1), bytes, (size_t)Number(2), Number(3));
  if (count < 0)
    Answer(count);
  else
    Bytes(bytes, count);
}

static void Run(void) {
  const char* call = words[0];
  if (strcmp(call, "open") == 0) {
    *File(1) = open(words[2], OpenFlags(words[3]), 0644);
    Answer(*File(1) < 0 ? -1 : 0);
  } else if (strcmp(call, "close") == 0) {
    Answer(close(*File(1)));
  } else if (strcmp(call, "map") == 0) {
    DoMap();
  } else if (strcmp(call, "mapover") == 0) {
    DoMapOver();
  } else if (strcmp(call, "load") == 0 || strcmp(call, "store") == 0 || strcmp(call, "fill") == 0) {
    Touch();
  } else if (strcmp(call, "msync") == 0) {
    Answer(msync(Map(1)->address + Number(2), (size_t)Number(3), MS_SYNC));
  } else if (strcmp(call, "unmap") == 0) {
    Answer(munmap(Map(1)->address + Number(2), (size_t)Number(3)));
  } else if (strcmp(call, "cover") == 0) {
    DoCover();
  } else if (strcmp(call, "shift") == 0) {
    DoShift();
  } else if (strcmp(call, "await") == 0) {
    DoAwait();
  } else if (strcmp(call, "awaited") == 0) {
    errno = pthread_join(tenant, NULL);
    Answer(errno == 0 ? 0 : -1);
  } else if (strcmp(call, "read") == 0) {
    DoRead();
  } else if (strcmp(call, "write") == 0) {
    Answer(pwrite(*File(1), words[2], strlen(words[2]), Number(3)));
  } else if (strcmp(call, "writemap") == 0) {
    // writemap F M OFFSET LENGTH AT: write(2) out of a mapping.
    Answer(pwrite(*File(1), Map(2)->address + Number(3), (size_t)Number(4), Number(5)));
  } else if (strcmp(call, "truncate") == 0) {
    Answer(ftruncate(*File(1), Number(2)));
  } else if (strcmp(call, "fallocate") == 0) {
    Answer(fallocate(*File(1), (int)Number(2), Number(3), Number(4)));
  } else if (strcmp(call, "copy") == 0) {
    // copy F G FROM TO LENGTH: copy_file_range(2).
    off64_t from = Number(3), to = Number(4);
    Answer(copy_file_range(*File(1), &from, *File(2), &to, (size_t)Number(5), 0));
  } else if (strcmp(call, "limit") == 0) {
    // limit: no more address space than there is.
    const struct rlimit none = {1 << 20, 1 << 20};
    Answer(setrlimit(RLIMIT_AS, &none));
  } else if (strcmp(call, "seek") == 0) {
    const int hole = strcmp(words[2], "data") == 0 ? SEEK_DATA : SEEK_HOLE;
    Answer(lseek(*File(1), Number(3), strcmp(words[2], "end") == 0 ? SEEK_END : hole));
  } else if (strcmp(call, "fsync") == 0) {
    Answer(fsync(*File(1)));
  } else if (strcmp(call, "huge") == 0) {
    DoHuge();
  } else if (strcmp(call, "collapse") == 0) {
    DoCollapse();
  } else if (strcmp(call, "nohuge") == 0) {
    Answer(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
  } else if (strcmp(call, "chroot") == 0) {
    Answer(chroot(words[1]));
  } else if (strcmp(call, "user") == 0) {
    Answer(setresuid((uid_t)Number(1), (uid_t)Number(1), 0));
  } else if (strcmp(call, "unlink") == 0) {
    Answer(unlink(words[1]));
  } else if (strcmp(call, "fork") == 0) {
    DoFork();
  } else {
    fprintf(stderr, "mapper: no call %s\n", call);
    exit(2);
  }
}

int main(int argc, char** argv) {
  static char line[1 << 16];
  if (argc != 2 || chdir(argv[1]) != 0) return 2;
  struct sigaction action = {.sa_sigaction = OnBusError, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGBUS, &action, NULL);
  while (fgets(line, sizeof line, stdin) != NULL) {
    int count = 0;
    for (char* word = strtok(line, " \n"); word != NULL && count < WORDS_MAX - 1;
         word = strtok(NULL, " \n"))
      words[count++] = word;
    words[count] = NULL;
    if (count == 0) continue;
    Run();
    fflush(stdout);
  }
  return 0;
}
