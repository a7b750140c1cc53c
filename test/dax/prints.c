// Prints a word in each way that libc has, after a store to a line of its own: line 1 and the first
// way, line 2 and the second. stdout is line-buffered, as `fauxdax record` makes it.
//
//   prints [wide]     in a recording, in a folder of the mount
#define _GNU_SOURCE
#include <fcntl.h>
#include <libpmem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <wchar.h>

static char* line;

static void Require(int good, const char* what) {
  if (good) return;
  perror(what);
  exit(1);
}

// The next line is stored to.
static void Store(void) {
  line += 64;
  *(volatile char*)line = 'x';
}

static void Descriptors(void) {
  Store();
  Require(write(1, "write\n", 6) == 6, "write");
  struct iovec part = {"writev\n", 7};
  Store();
  Require(writev(1, &part, 1) == 7, "writev");
  part = (struct iovec){"pwritev2\n", 9};
  Store();
  Require(pwritev2(1, &part, 1, -1, 0) == 9, "pwritev2");
  part = (struct iovec){"vmsplice\n", 9};
  Store();
  Require(vmsplice(1, &part, 1, 0) == 9, "vmsplice");
  int ends[2];
  Require(pipe(ends) == 0 && write(ends[1], "tee\n", 4) == 4, "pipe");
  Store();
  Require(tee(ends[0], 1, 4, 0) == 4, "tee");
  Store();
  Require(splice(ends[0], NULL, 1, NULL, 4, 0) == 4, "splice");
  const int file = open("/dev/shm", O_TMPFILE | O_RDWR, 0600);
  Require(write(file, "sendfile\n", 9) == 9, "file");
  off_t at = 0;
  Store();
  Require(sendfile(1, file, &at, 9) == 9, "sendfile");
}

// Said by a system call, which nobody sees: the stores were looked for when the message was sent.
static void Said(const char* text) { syscall(SYS_write, 1, text, strlen(text)); }

static void Sockets(void) {
  int pair[2];
  Require(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0, "socketpair");
  Store();
  Require(send(pair[0], "x", 1, 0) == 1, "send");
  Said("send\n");
  Store();
  Require(sendto(pair[0], "x", 1, 0, NULL, 0) == 1, "sendto");
  Said("sendto\n");
  struct iovec part = {"x", 1};
  struct mmsghdr messages = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
  Store();
  Require(sendmsg(pair[0], &messages.msg_hdr, 0) == 1, "sendmsg");
  Said("sendmsg\n");
  Store();
  Require(sendmmsg(pair[0], &messages, 1, 0) == 1, "sendmmsg");
  Said("sendmmsg\n");
}

static FILE* Buffered(const char* text) {
  FILE* file = fdopen(dup(1), "w");
  Require(file != NULL && fputs(text, file) >= 0, "fdopen");
  return file;
}

static void Streams(void) {
  Store();
  puts("puts");
  Store();
  fputs("fputs\n", stdout);
  Store();
  fputs_unlocked("fputs_unlocked\n", stdout);
  Store();
  fwrite("fwrite\n", 7, 1, stdout);
  Store();
  fwrite_unlocked("fwrite_unlocked\n", 16, 1, stdout);
  int word;
  memcpy(&word, "put\n", 4);
  Store();
  putw(word, stdout);
  FILE* file = Buffered("fflush\n");
  Store();
  fflush(file);
  file = Buffered("fflush_unlocked\n");
  Store();
  fflush_unlocked(file);
  file = Buffered("fclose\n");
  Store();
  fclose(file);
}

// The byte ends a line, and so has it written.
static void Bytes(void) {
#define BYTE(name, ...)   \
  fputs(#name, stdout);   \
  Store();                \
  name('\n', __VA_ARGS__)
#define BYTE_OF_STDOUT(name) \
  fputs(#name, stdout);      \
  Store();                   \
  name('\n')
  BYTE(fputc, stdout);
  BYTE(putc, stdout);
  BYTE(fputc_unlocked, stdout);
  BYTE(putc_unlocked, stdout);
  BYTE_OF_STDOUT(putchar);
  BYTE_OF_STDOUT(putchar_unlocked);
}

static int ToStdout(FILE* file, const char* format, va_list list) {
  (void)file;
  return vprintf(format, list);
}

static int ToDescriptor(FILE* file, const char* format, va_list list) {
  return vdprintf(fileno(file), format, list);
}

static void List(int (*print)(FILE*, const char*, va_list), const char* format, ...) {
  va_list list;
  va_start(list, format);
  Store();
  print(stdout, format, list);
  va_end(list);
}

static void Formats(const char* nothing) {
  Store();
  printf("printf%s\n", nothing);
  Store();
  fprintf(stdout, "fprintf%s\n", nothing);
  Store();
  dprintf(1, "dprintf%s\n", nothing);
  List(ToStdout, "vprintf%s\n", nothing);
  List(vfprintf, "vfprintf%s\n", nothing);
  List(ToDescriptor, "vdprintf%s\n", nothing);
}

static int WideToStdout(FILE* file, const wchar_t* format, va_list list) {
  (void)file;
  return vwprintf(format, list);
}

static void WideList(int (*print)(FILE*, const wchar_t*, va_list), const wchar_t* format, ...) {
  va_list list;
  va_start(list, format);
  Store();
  print(stdout, format, list);
  va_end(list);
}

static void Wide(const char* nothing) {
#define WIDE_BYTE(name, ...)  \
  fputws(L"" #name, stdout);  \
  Store();                    \
  name(L'\n', __VA_ARGS__)
#define WIDE_BYTE_OF_STDOUT(name) \
  fputws(L"" #name, stdout);      \
  Store();                        \
  name(L'\n')
  WIDE_BYTE(fputwc, stdout);
  WIDE_BYTE(putwc, stdout);
  WIDE_BYTE(fputwc_unlocked, stdout);
  WIDE_BYTE(putwc_unlocked, stdout);
  WIDE_BYTE_OF_STDOUT(putwchar);
  WIDE_BYTE_OF_STDOUT(putwchar_unlocked);
  Store();
  fputws(L"fputws\n", stdout);
  Store();
  fputws_unlocked(L"fputws_unlocked\n", stdout);
  Store();
  wprintf(L"wprintf%s\n", nothing);
  Store();
  fwprintf(stdout, L"fwprintf%s\n", nothing);
  WideList(WideToStdout, L"vwprintf%s\n", nothing);
  WideList(vfwprintf, L"vfwprintf%s\n", nothing);
}

int main(int argc, char** argv) {
  (void)argv;
  const char* nothing = argc > 99 ? "something" : "";
  size_t bytes;
  int is_pmem;
  line = pmem_map_file("f", 8192, PMEM_FILE_CREATE, 0600, &bytes, &is_pmem);
  Require(line != NULL && is_pmem, "map");
  pmem_memset_persist(line, '.', 8192);
  Said("start\n");
  if (argc > 1) {
    Wide(nothing);
    return 0;
  }
  Descriptors();
  Sockets();
  Streams();
  Bytes();
  Formats(nothing);
  return 0;
}
