// System calls for tests, one per line of standard input, in the directory given as the first
// argument. Answers one line per call: the result, or the name of the errno. Words are separated by
// spaces; in paths and data %41 is a byte by its number and TEXT*N repeats TEXT N times. Open files
// and mappings are named by one letter each. Several of these processes at once make the cases
// between processes.
//
// Calls are grouped as in the table at the end; each function says its words.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "sys_flags.h"

#define WORDS_MAX 12
#define TEXT_BYTES_MAX (4 << 20)

struct map {
  char* address;
  size_t length;
};

static int files[26];
static struct map maps[26];
static char* words[WORDS_MAX];
static size_t lengths[WORDS_MAX];
static char* reply;

static int* File(int word) { return &files[(words[word][0] - 'A') % 26]; }
static struct map* Map(int word) { return &maps[(words[word][0] - 'A') % 26]; }
static long long Number(int word) {
  return words[word] == NULL ? 0 : strtoll(words[word], NULL, 0);
}
static mode_t Mode(int word) {
  return words[word] == NULL ? 0644 : (mode_t)strtol(words[word], NULL, 8);
}

static void Value(long long result) {
  if (result < 0)
    sprintf(reply, "%s", strerrorname_np(errno));
  else
    sprintf(reply, "%lld", result);
}

// Bytes as text: letters as they are, others as %xx, runs longer than eight as BYTE*COUNT in <>.
static void Bytes(const char* bytes, ssize_t length) {
  if (length < 0) {
    Value(-1);
    return;
  }
  char* out = reply;
  for (ssize_t at = 0; at < length;) {
    char one[8];
    unsigned char byte = (unsigned char)bytes[at];
    ssize_t run = 1;
    while (at + run < length && bytes[at + run] == bytes[at]) run++;
    sprintf(one, byte > 32 && byte < 127 && byte != '%' ? "%c" : "%%%02x", byte);
    if (run > 8)
      out += sprintf(out, "<%s*%zd>", one, run);
    else
      for (ssize_t times = 0; times < run; times++) out += sprintf(out, "%s", one);
    at += run;
  }
  *out = 0;
}

static sigjmp_buf bus_error_return;
static void OnBusError(int signal) { siglongjmp(bus_error_return, signal); }

// open F PATH FLAGS [MODE] · close F · read F COUNT [OFFSET] · write F DATA [OFFSET]
static void DoOpen(void) {
  int opened = open(words[2], (int)Flags(words[3], kOpen) | O_CLOEXEC, Mode(4));
  if (opened >= 0) *File(1) = opened;
  Value(opened < 0 ? -1 : 0);
}
static void DoClose(void) {
  int closed = close(*File(1));
  *File(1) = -1;
  Value(closed);
}
static void DoRead(void) {
  size_t count = (size_t)Number(2);
  char* bytes = aligned_alloc(4096, (count + 4096) & ~(size_t)4095);
  Bytes(bytes,
        words[3] == NULL ? read(*File(1), bytes, count) : pread(*File(1), bytes, count, Number(3)));
  free(bytes);
}
static void DoWrite(void) {
  char* bytes = aligned_alloc(4096, (lengths[2] + 4096) & ~(size_t)4095);
  memcpy(bytes, words[2], lengths[2]);
  Value(words[3] == NULL ? write(*File(1), bytes, lengths[2])
                         : pwrite(*File(1), bytes, lengths[2], Number(3)));
  free(bytes);
}

// seek F OFFSET WHENCE · ftruncate F SIZE · truncate PATH SIZE · fallocate F MODE OFFSET LENGTH
// copy F OFFSET F OFFSET LENGTH · fsync F · fdatasync F
static void DoSeek(void) { Value(lseek(*File(1), Number(2), (int)Flags(words[3], kWhence))); }
static void DoFtruncate(void) { Value(ftruncate(*File(1), Number(2))); }
static void DoTruncate(void) { Value(truncate(words[1], Number(2))); }
static void DoFallocate(void) {
  Value(fallocate(*File(1), (int)Flags(words[2], kFallocate), Number(3), Number(4)));
}
static void DoCopy(void) {
  off_t from = Number(2), to = Number(4);
  Value(copy_file_range(*File(1), &from, *File(3), &to, (size_t)Number(5), 0));
}
static void DoFsync(void) { Value(fsync(*File(1))); }
static void DoFdatasync(void) { Value(fdatasync(*File(1))); }

// mkdir PATH MODE · rmdir PATH · unlink PATH · rename FROM TO [FLAGS] · link FROM TO · linkfd F TO
// symlink TARGET PATH · readlink PATH · mknod PATH TYPE MODE [MAJOR MINOR] · list PATH
static void DoMkdir(void) { Value(mkdir(words[1], words[2] == NULL ? 0755 : Mode(2))); }
static void DoRmdir(void) { Value(rmdir(words[1])); }
static void DoUnlink(void) { Value(unlink(words[1])); }
static void DoRename(void) {
  Value(renameat2(AT_FDCWD, words[1], AT_FDCWD, words[2], (unsigned)Flags(words[3], kRename)));
}
static void DoLink(void) { Value(link(words[1], words[2])); }
static void DoLinkfd(void) {
  char source[32];
  sprintf(source, "/proc/self/fd/%d", *File(1));
  Value(linkat(AT_FDCWD, source, AT_FDCWD, words[2], AT_SYMLINK_FOLLOW));
}
static void DoSymlink(void) { Value(symlink(words[1], words[2])); }
static void DoReadlink(void) {
  char target[4097];
  Bytes(target, readlink(words[1], target, sizeof target));
}
static void DoMknod(void) {
  dev_t device = makedev((unsigned)Number(4), (unsigned)Number(5));
  Value(mknod(words[1], (mode_t)Flags(words[2], kType) | Mode(3), device));
}
static int ByName(const void* a, const void* b) {
  return strcmp(*(char* const*)a, *(char* const*)b);
}
static void DoList(void) {
  DIR* stream = opendir(words[1]);
  if (stream == NULL) {
    Value(-1);
    return;
  }
  static char* names[65536];
  size_t count = 0;
  for (const struct dirent* entry; (entry = readdir(stream)) != NULL && count < 65536;) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      names[count++] = strdup(entry->d_name);
  }
  closedir(stream);
  qsort(names, count, sizeof names[0], ByName);
  char *all = calloc(1, TEXT_BYTES_MAX), *out = all;
  for (size_t index = 0; index < count; index++) {
    out += sprintf(out, "%s%s", index == 0 ? "" : ",", names[index]);
    free(names[index]);
  }
  Bytes(all, out - all);
  free(all);
}

// chmod PATH MODE · chown PATH UID GID · lchown · utimens PATH ATIME MTIME (SEC.NSEC, now, omit)
// stat PATH FIELDS · fstat F FIELDS: letters, see Status · access PATH BITS
static void DoChmod(void) { Value(chmod(words[1], Mode(2))); }
static void DoChown(void) { Value(chown(words[1], (uid_t)Number(2), (gid_t)Number(3))); }
static void DoLchown(void) { Value(lchown(words[1], (uid_t)Number(2), (gid_t)Number(3))); }
static struct timespec Time(int word) {
  struct timespec time = {0, UTIME_NOW};
  if (strcmp(words[word], "now") == 0) return time;
  if (strcmp(words[word], "omit") == 0) return (struct timespec){0, UTIME_OMIT};
  char* fraction = NULL;
  time.tv_sec = strtoll(words[word], &fraction, 10);
  time.tv_nsec = *fraction == '.' ? strtol(fraction + 1, NULL, 10) : 0;
  return time;
}
static void DoUtimens(void) {
  struct timespec times[2] = {Time(2), Time(3)};
  Value(utimensat(AT_FDCWD, words[1], times, AT_SYMLINK_NOFOLLOW));
}
// t type · m mode · n links · u uid · g gid · s size · M mtime · A atime · C ctime · b blocks in
// use (0/1) r device · i inode
static void Status(int result, const struct stat* status, const char* fields) {
  if (result != 0) {
    Value(-1);
    return;
  }
  static const char* const kTypes[] = {"?", "fifo", "chr", "?",   "dir", "?",   "blk",
                                       "?", "reg",  "?",   "lnk", "?",   "sock"};
  char* out = reply;
  for (const char* field = fields; *field != 0; field++) {
    if (field != fields) out += sprintf(out, " ");
    switch (*field) {
      case 't':
        out += sprintf(out, "%s", kTypes[(status->st_mode & S_IFMT) >> 12]);
        break;
      case 'm':
        out += sprintf(out, "%o", status->st_mode & 07777);
        break;
      case 'n':
        out += sprintf(out, "%lu", (unsigned long)status->st_nlink);
        break;
      case 'u':
        out += sprintf(out, "%u", status->st_uid);
        break;
      case 'g':
        out += sprintf(out, "%u", status->st_gid);
        break;
      case 's':
        out += sprintf(out, "%lld", (long long)status->st_size);
        break;
      case 'b':
        out += sprintf(out, "%d", status->st_blocks != 0);
        break;
      case 'i':
        out += sprintf(out, "%llu", (unsigned long long)status->st_ino);
        break;
      case 'r':
        out += sprintf(out, "%u:%u", major(status->st_rdev), minor(status->st_rdev));
        break;
      case 'M':
        out +=
            sprintf(out, "%lld.%09ld", (long long)status->st_mtim.tv_sec, status->st_mtim.tv_nsec);
        break;
      case 'A':
        out +=
            sprintf(out, "%lld.%09ld", (long long)status->st_atim.tv_sec, status->st_atim.tv_nsec);
        break;
      case 'C':
        out +=
            sprintf(out, "%lld.%09ld", (long long)status->st_ctim.tv_sec, status->st_ctim.tv_nsec);
        break;
      default:
        fprintf(stderr, "sys: no stat field %c\n", *field);
        exit(2);
    }
  }
}
static void DoStat(void) {
  struct stat status;
  Status(lstat(words[1], &status), &status, words[2]);
}
static void DoFstat(void) {
  struct stat status;
  Status(fstat(*File(1), &status), &status, words[2]);
}
static void DoAccess(void) { Value(faccessat(AT_FDCWD, words[1], (int)Number(2), AT_EACCESS)); }

// setxattr PATH NAME VALUE [FLAGS] · getxattr PATH NAME [SIZE, 0 asks for the length] · listxattr
// PATH · removexattr PATH NAME
static void DoSetxattr(void) {
  Value(lsetxattr(words[1], words[2], words[3], lengths[3], (int)Flags(words[4], kXattr)));
}
static void DoGetxattr(void) {
  static char value[70000];
  const size_t size = words[3] == NULL ? sizeof value : (size_t)Number(3);
  const ssize_t length = lgetxattr(words[1], words[2], value, size);
  if (size == 0)
    Value(length);
  else
    Bytes(value, length);
}
static void DoListxattr(void) {
  static char list[70000];
  ssize_t length = llistxattr(words[1], list, sizeof list);
  for (ssize_t at = 0; at < length; at++)
    list[at] = list[at] == 0 ? (at + 1 == length ? 0 : ',') : list[at];
  Bytes(list, length > 0 ? length - 1 : length);
}
static void DoRemovexattr(void) { Value(lremovexattr(words[1], words[2])); }

// map M F OFFSET LENGTH PROTECTION · load M OFFSET COUNT · store M OFFSET DATA · msync M · unmap M
static void DoMap(void) {
  size_t length = (size_t)Number(4);
  char* address =
      mmap(NULL, length, (int)Flags(words[5], kProtect), MAP_SHARED, *File(2), Number(3));
  if (address != MAP_FAILED) *Map(1) = (struct map){address, length};
  Value(address == MAP_FAILED ? -1 : 0);
}
static void DoLoad(void) {
  if (sigsetjmp(bus_error_return, 0) != 0)
    strcpy(reply, "SIGBUS");
  else
    Bytes(Map(1)->address + Number(2), (ssize_t)Number(3));
}
static void DoStore(void) {
  if (sigsetjmp(bus_error_return, 0) != 0) {
    strcpy(reply, "SIGBUS");
    return;
  }
  memcpy(Map(1)->address + Number(2), words[3], lengths[3]);
  Value(0);
}
static void DoMsync(void) { Value(msync(Map(1)->address, Map(1)->length, MS_SYNC)); }
static void DoUnmap(void) { Value(munmap(Map(1)->address, Map(1)->length)); }

// flock F OP · lock F TYPE START LENGTH (process locks, F_SETLK) · ofd F TYPE START LENGTH
// (F_OFD_SETLK) getlock F TYPE START LENGTH: the lock in the way, or free · waitlock: F_SETLKW
static void Lock(int command) {
  struct flock lock = {.l_type = (short)Flags(words[2], kLock),
                       .l_whence = SEEK_SET,
                       .l_start = Number(3),
                       .l_len = Number(4)};
  int done = fcntl(*File(1), command, &lock);
  if (command != F_GETLK || done != 0)
    Value(done);
  else if (lock.l_type == F_UNLCK)
    strcpy(reply, "free");
  else
    sprintf(reply, "%s %lld %lld", lock.l_type == F_RDLCK ? "r" : "w", (long long)lock.l_start,
            (long long)lock.l_len);
}
static void DoFlock(void) { Value(flock(*File(1), (int)Flags(words[2], kFlock))); }
static void DoLock(void) { Lock(F_SETLK); }
static void DoWaitlock(void) { Lock(F_SETLKW); }
static void DoOfd(void) { Lock(F_OFD_SETLK); }
static void DoGetlock(void) { Lock(F_GETLK); }

// getflags F · setflags F FLAGS · as UID GID [GID,GID...] · umask MODE · exec PATH [WORD]: its exit
// status statfs PATH: type of the filesystem, hex · free PATH: free blocks · limits PATH: longest
// name
static void DoGetflags(void) {
  int flags = 0, done = ioctl(*File(1), FS_IOC_GETFLAGS, &flags);
  Value(done < 0 ? -1 : 0);
  if (done >= 0)
    snprintf(reply, 64, "%s%s%s%s", flags & FS_IMMUTABLE_FL ? "i" : "",
             flags & FS_APPEND_FL ? "a" : "", flags & FS_NODUMP_FL ? "d" : "",
             flags & FS_NOATIME_FL ? "A" : "");
}
static void DoSetflags(void) {
  // As chattr does: flags that have no letter here stay as they are.
  int flags = 0;
  if (ioctl(*File(1), FS_IOC_GETFLAGS, &flags) != 0) {
    Value(-1);
    return;
  }
  flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL);
  flags |= (int)Flags(words[2], kInode);
  Value(ioctl(*File(1), FS_IOC_SETFLAGS, &flags));
}
static void DoAs(void) {
  gid_t groups[8];
  size_t count = 0;
  for (char* group = words[3] == NULL ? NULL : strtok(words[3], ","); group != NULL && count < 8;
       group = strtok(NULL, ","))
    groups[count++] = (gid_t)atoi(group);
  Value(setgroups(count, groups) || setresgid((gid_t)Number(2), (gid_t)Number(2), 0) ||
                setresuid((uid_t)Number(1), (uid_t)Number(1), 0)
            ? -1
            : 0);
}
static void DoRoot(void) { Value(setresuid(0, 0, 0) || setresgid(0, 0, 0) ? -1 : 0); }
static void DoUmask(void) { Value((umask(Mode(1)), 0)); }
static void DoExec(void) {
  int status = 0;
  pid_t child = fork();
  if (child == 0) {
    execl(words[1], words[1], words[2], NULL);
    dprintf(1, "%s ", strerrorname_np(errno));
    _exit(126);
  }
  waitpid(child, &status, 0);
  sprintf(reply, "%d", WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status));
}
static void DoStatfs(void) {
  struct statfs status;
  if (statfs(words[1], &status) != 0)
    Value(-1);
  else
    sprintf(reply, "%lx", (unsigned long)status.f_type);
}
static void DoFree(void) {
  struct statfs status;
  Value(statfs(words[1], &status) != 0 ? -1 : (long long)status.f_bfree);
}
static void DoLimits(void) {
  struct statfs status;
  Value(statfs(words[1], &status) != 0 ? -1 : (long long)status.f_namelen);
}

static const struct {
  const char* name;
  int word_count;  // at least so many besides the name
  void (*function)(void);
} kCalls[] = {
    {"open", 3, DoOpen},
    {"close", 1, DoClose},
    {"read", 2, DoRead},
    {"write", 2, DoWrite},
    {"seek", 3, DoSeek},
    {"ftruncate", 2, DoFtruncate},
    {"truncate", 2, DoTruncate},
    {"fallocate", 4, DoFallocate},
    {"copy", 5, DoCopy},
    {"fsync", 1, DoFsync},
    {"fdatasync", 1, DoFdatasync},
    {"mkdir", 1, DoMkdir},
    {"rmdir", 1, DoRmdir},
    {"unlink", 1, DoUnlink},
    {"rename", 2, DoRename},
    {"link", 2, DoLink},
    {"linkfd", 2, DoLinkfd},
    {"symlink", 2, DoSymlink},
    {"readlink", 1, DoReadlink},
    {"mknod", 3, DoMknod},
    {"list", 1, DoList},
    {"chmod", 2, DoChmod},
    {"chown", 3, DoChown},
    {"lchown", 3, DoLchown},
    {"utimens", 3, DoUtimens},
    {"stat", 2, DoStat},
    {"fstat", 2, DoFstat},
    {"access", 2, DoAccess},
    {"setxattr", 3, DoSetxattr},
    {"getxattr", 2, DoGetxattr},
    {"listxattr", 1, DoListxattr},
    {"removexattr", 2, DoRemovexattr},
    {"map", 5, DoMap},
    {"load", 3, DoLoad},
    {"store", 3, DoStore},
    {"msync", 1, DoMsync},
    {"unmap", 1, DoUnmap},
    {"flock", 2, DoFlock},
    {"lock", 4, DoLock},
    {"waitlock", 4, DoWaitlock},
    {"ofd", 4, DoOfd},
    {"getlock", 4, DoGetlock},
    {"getflags", 1, DoGetflags},
    {"setflags", 2, DoSetflags},
    {"as", 2, DoAs},
    {"root", 0, DoRoot},
    {"umask", 1, DoUmask},
    {"exec", 1, DoExec},
    {"statfs", 1, DoStatfs},
    {"free", 1, DoFree},
    {"limits", 1, DoLimits},
};

// Decodes %xx and TEXT*N; the result may hold zero bytes, its length is kept beside it.
static char* Decode(const char* text, size_t* length) {
  char* bytes = malloc(TEXT_BYTES_MAX);
  size_t count = 0, repeat = 1;
  for (; *text != 0; text++) {
    if (*text == '*' && text[1] >= '0' && text[1] <= '9') {
      repeat = strtoul(text + 1, NULL, 10);
      break;
    }
    char hex[3] = {text[0], text[0] == '%' ? text[1] : 0, text[0] == '%' ? text[2] : 0};
    if (hex[0] == '%') text += 2;
    bytes[count++] = hex[0] == '%' ? (char)strtol(hex + 1, NULL, 16) : hex[0];
  }
  if (count * repeat >= TEXT_BYTES_MAX) exit(2);
  for (size_t index = count; index < count * repeat; index++) bytes[index] = bytes[index - count];
  *length = count * repeat;
  bytes[*length] = 0;
  return bytes;
}

static void Call(char* line) {
  int count = 0;
  memset(words, 0, sizeof words);
  for (char* word = strtok(line, " "); word != NULL && count < WORDS_MAX; word = strtok(NULL, " "))
    words[count++] = word;
  for (int index = 0; index < count; index++) words[index] = Decode(words[index], &lengths[index]);
  strcpy(reply, "");
  size_t call = 0;
  while (call < sizeof kCalls / sizeof kCalls[0] && strcmp(kCalls[call].name, words[0]) != 0)
    call++;
  if (call == sizeof kCalls / sizeof kCalls[0] || count <= kCalls[call].word_count) {
    fprintf(stderr, "sys: cannot understand: %s (%d words)\n", words[0], count);
    exit(2);
  }
  kCalls[call].function();
  for (int index = 0; index < count; index++) free(words[index]);
  puts(reply);
  fflush(stdout);
}

int main(int count, char** arguments) {
  static char line[65536];
  if (count != 2 || chdir(arguments[1]) != 0) {
    fprintf(stderr, "usage: sys DIR, calls on standard input\n");
    return 2;
  }
  memset(files, -1, sizeof files);
  reply = malloc(4 * TEXT_BYTES_MAX);
  struct sigaction action = {.sa_handler = OnBusError, .sa_flags = SA_NODEFER};
  sigaction(SIGBUS, &action, NULL);
  umask(022);
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = 0;
    if (line[0] != 0) Call(line);
  }
  return 0;
}
