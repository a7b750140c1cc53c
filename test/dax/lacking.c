/*
 * Preloaded into a command: a kernel without userfaultfd (LACKING=all), or with an older one that
 * cannot protect pages that nobody has touched (LACKING=feature).
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#define WP_UNPOPULATED (UINT64_C(1) << 13)

static int IsLacking(const char* what) {
  const char* wanted = getenv("LACKING");
  return wanted != NULL && strcmp(wanted, what) == 0;
}

static long Raw(long number, const long* words) {
  register long r10 __asm__("r10") = words[3];
  register long r8 __asm__("r8") = words[4];
  register long r9 __asm__("r9") = words[5];
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(words[0]), "S"(words[1]), "d"(words[2]), "r"(r10), "r"(r8),
                     "r"(r9)
                   : "rcx", "r11", "memory");
  if (result >= 0 || result < -4095) return result;
  errno = (int)-result;
  return -1;
}

long syscall(long number, ...) {
  long words[6];
  va_list rest;
  va_start(rest, number);
  for (int i = 0; i < 6; i++) words[i] = va_arg(rest, long);
  va_end(rest);
  if (number != SYS_userfaultfd || !IsLacking("all")) return Raw(number, words);
  errno = ENOSYS;
  return -1;
}

int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  struct uffdio_api* api = va_arg(rest, void*);
  va_end(rest);
  const long words[6] = {fd, (long)request, (long)api};
  const int result = (int)Raw(SYS_ioctl, words);
  if (request == UFFDIO_API && IsLacking("feature")) api->features &= ~WP_UNPOPULATED;
  return result;
}
