// What a program prints, in a recording: an acknowledgement comes after what was stored before it.
// Stores are found by comparing, so each of the ways to print that libc has has them looked for
// first. Somebody who prints by a system call of his own has the stores since the last barrier
// recorded after it, which says less: they were not durable either way.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/uio.h>

#include "shim.h"

// Stores so far are recorded.
static void Look(void) { shim_barrier(NULL, 0, 0); }

#define NEXT(name)                                                              \
  static __typeof__(&name) own;                                                 \
  if (own == NULL) own = (__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name); \
  Look()

SHIM_PUBLIC ssize_t write(int fd, const void* bytes, size_t length) {
  NEXT(write);
  return own(fd, bytes, length);
}

SHIM_PUBLIC ssize_t writev(int fd, const struct iovec* parts, int count) {
  NEXT(writev);
  return own(fd, parts, count);
}

SHIM_PUBLIC int puts(const char* text) {
  NEXT(puts);
  return own(text);
}

SHIM_PUBLIC int fputs(const char* text, FILE* file) {
  NEXT(fputs);
  return own(text, file);
}

SHIM_PUBLIC int putchar(int byte) {
  NEXT(putchar);
  return own(byte);
}

SHIM_PUBLIC size_t fwrite(const void* bytes, size_t size, size_t count, FILE* file) {
  NEXT(fwrite);
  return own(bytes, size, count, file);
}

SHIM_PUBLIC int fflush(FILE* file) {
  NEXT(fflush);
  return own(file);
}

SHIM_PUBLIC int vfprintf(FILE* file, const char* format, va_list arguments) {
  NEXT(vfprintf);
  return own(file, format, arguments);
}

SHIM_PUBLIC int vprintf(const char* format, va_list arguments) {
  return vfprintf(stdout, format, arguments);
}

SHIM_PUBLIC int printf(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int count = vfprintf(stdout, format, arguments);
  va_end(arguments);
  return count;
}

SHIM_PUBLIC int fprintf(FILE* file, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int count = vfprintf(file, format, arguments);
  va_end(arguments);
  return count;
}

// The same, compiled with _FORTIFY_SOURCE, which checks no more than its own arguments.
int __printf_chk(int flag, const char* format, ...);
int __fprintf_chk(FILE* file, int flag, const char* format, ...);
int __vfprintf_chk(FILE* file, int flag, const char* format, va_list arguments);

SHIM_PUBLIC int __vfprintf_chk(FILE* file, int flag, const char* format, va_list arguments) {
  NEXT(__vfprintf_chk);
  return own(file, flag, format, arguments);
}

SHIM_PUBLIC int __printf_chk(int flag, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int count = __vfprintf_chk(stdout, flag, format, arguments);
  va_end(arguments);
  return count;
}

SHIM_PUBLIC int __fprintf_chk(FILE* file, int flag, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int count = __vfprintf_chk(file, flag, format, arguments);
  va_end(arguments);
  return count;
}
