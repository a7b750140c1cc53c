// What a program prints, in a recording: an acknowledgement comes after what was stored before it.
// Stores are found by comparing, so they are looked for before anything that writes to a stream or
// a descriptor. libc's functions call each other past us, hence each of them is here, but for those
// that print messages to stderr, which is no output of a recording (SPEC.md, Recorded mounts), and
// write and writev (shim_position.c).
// Somebody who prints by a system call of his own has the stores since the last barrier recorded
// after it, which says less: they were not durable either way.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <wchar.h>

#include "shim.h"

#undef fwrite_unlocked  // a macro where the compiler optimizes

// What is printed may be errno.
void OutputLook(void) {
  const int before = errno;
  shim_barrier(NULL, 0, 0);
  errno = before;
}

#define FIND(own, name) \
  if (own == NULL) own = (__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name)

// libc's function, after a look.
#define AFTER_LOOK(result, name, parameters, arguments) \
  SHIM_PUBLIC result name parameters {                  \
    static __typeof__(&name) own;                       \
    FIND(own, name);                                    \
    OutputLook();                                       \
    return own arguments;                               \
  }

// `list_name` with the arguments of a call that has any number of them.
#define WITH_LIST(name, parameters, last, list_name, ...) \
  SHIM_PUBLIC int name parameters {                       \
    va_list list;                                         \
    va_start(list, last);                                 \
    const int count = list_name(__VA_ARGS__, list);       \
    va_end(list);                                         \
    return count;                                         \
  }

// ---- Descriptors ----

// To the end of a pipe, with the offset -1; regular files have stores of their own kind.
AFTER_LOOK(ssize_t, pwritev2, (int fd, const struct iovec* parts, int count, off_t at, int flags),
           (fd, parts, count, at, flags))
AFTER_LOOK(ssize_t, pwritev64v2,
           (int fd, const struct iovec* parts, int count, off64_t at, int flags),
           (fd, parts, count, at, flags))
AFTER_LOOK(ssize_t, vmsplice, (int fd, const struct iovec* parts, size_t count, unsigned flags),
           (fd, parts, count, flags))
AFTER_LOOK(ssize_t, splice,
           (int from, off64_t* from_at, int to, off64_t* to_at, size_t length, unsigned flags),
           (from, from_at, to, to_at, length, flags))
AFTER_LOOK(ssize_t, tee, (int from, int to, size_t length, unsigned flags),
           (from, to, length, flags))
AFTER_LOOK(ssize_t, sendfile, (int to, int from, off_t* at, size_t length), (to, from, at, length))
AFTER_LOOK(ssize_t, sendfile64, (int to, int from, off64_t* at, size_t length),
           (to, from, at, length))
AFTER_LOOK(ssize_t, send, (int fd, const void* bytes, size_t length, int flags),
           (fd, bytes, length, flags))
AFTER_LOOK(ssize_t, sendto,
           (int fd, const void* bytes, size_t length, int flags, __CONST_SOCKADDR_ARG address,
            socklen_t address_length),
           (fd, bytes, length, flags, address, address_length))
AFTER_LOOK(ssize_t, sendmsg, (int fd, const struct msghdr* message, int flags),
           (fd, message, flags))
AFTER_LOOK(int, sendmmsg, (int fd, struct mmsghdr* messages, unsigned count, int flags),
           (fd, messages, count, flags))

// ---- Streams ----

// A full buffer, or a byte that a stream without one writes at once: what is below each single
// byte, also where a program has putc_unlocked inline. Its callers hold the stream's lock, so the
// lock of dlsym is not taken here: a constructor that prints holds the two the other way round.
static __typeof__(&__overflow) own_overflow;

__attribute__((constructor)) static void FindOverflow(void) { FIND(own_overflow, __overflow); }

SHIM_PUBLIC int __overflow(FILE* file, int byte) {
  FIND(own_overflow, __overflow);
  OutputLook();
  return own_overflow(file, byte);
}

SHIM_PUBLIC int fputc_unlocked(int byte, FILE* file) { return __putc_unlocked_body(byte, file); }
SHIM_PUBLIC int putc_unlocked(int byte, FILE* file) { return fputc_unlocked(byte, file); }
SHIM_PUBLIC int putchar_unlocked(int byte) { return fputc_unlocked(byte, stdout); }

SHIM_PUBLIC int fputc(int byte, FILE* file) {
  flockfile(file);
  const int result = fputc_unlocked(byte, file);
  funlockfile(file);
  return result;
}

int _IO_putc(int byte, FILE* file);  // putc, in programs built before glibc 2.28
SHIM_PUBLIC int _IO_putc(int byte, FILE* file) { return fputc(byte, file); }
SHIM_PUBLIC int putc(int byte, FILE* file) { return fputc(byte, file); }
SHIM_PUBLIC int putchar(int byte) { return fputc(byte, stdout); }

AFTER_LOOK(int, puts, (const char* text), (text))
AFTER_LOOK(int, fputs, (const char* text, FILE* file), (text, file))
AFTER_LOOK(int, fputs_unlocked, (const char* text, FILE* file), (text, file))
AFTER_LOOK(int, putw, (int word, FILE* file), (word, file))
AFTER_LOOK(size_t, fwrite, (const void* bytes, size_t size, size_t count, FILE* file),
           (bytes, size, count, file))
AFTER_LOOK(size_t, fwrite_unlocked, (const void* bytes, size_t size, size_t count, FILE* file),
           (bytes, size, count, file))
AFTER_LOOK(int, fflush, (FILE * file), (file))
AFTER_LOOK(int, fflush_unlocked, (FILE * file), (file))
AFTER_LOOK(int, fclose, (FILE * file), (file))

AFTER_LOOK(wint_t, fputwc, (wchar_t one, FILE* file), (one, file))
AFTER_LOOK(wint_t, fputwc_unlocked, (wchar_t one, FILE* file), (one, file))
AFTER_LOOK(wint_t, putwc, (wchar_t one, FILE* file), (one, file))
AFTER_LOOK(wint_t, putwc_unlocked, (wchar_t one, FILE* file), (one, file))
AFTER_LOOK(wint_t, putwchar, (wchar_t one), (one))
AFTER_LOOK(wint_t, putwchar_unlocked, (wchar_t one), (one))
AFTER_LOOK(int, fputws, (const wchar_t* text, FILE* file), (text, file))
AFTER_LOOK(int, fputws_unlocked, (const wchar_t* text, FILE* file), (text, file))

// ---- Formats ----

AFTER_LOOK(int, vfprintf, (FILE * file, const char* format, va_list list), (file, format, list))
AFTER_LOOK(int, vdprintf, (int fd, const char* format, va_list list), (fd, format, list))
AFTER_LOOK(int, vfwprintf, (FILE * file, const wchar_t* format, va_list list), (file, format, list))

SHIM_PUBLIC int vprintf(const char* format, va_list list) { return vfprintf(stdout, format, list); }
SHIM_PUBLIC int vwprintf(const wchar_t* format, va_list list) {
  return vfwprintf(stdout, format, list);
}

WITH_LIST(printf, (const char* format, ...), format, vfprintf, stdout, format)
WITH_LIST(fprintf, (FILE * file, const char* format, ...), format, vfprintf, file, format)
WITH_LIST(dprintf, (int fd, const char* format, ...), format, vdprintf, fd, format)
WITH_LIST(wprintf, (const wchar_t* format, ...), format, vfwprintf, stdout, format)
WITH_LIST(fwprintf, (FILE * file, const wchar_t* format, ...), format, vfwprintf, file, format)

// The same, compiled with _FORTIFY_SOURCE, which checks no more than its own arguments.
int __printf_chk(int flag, const char* format, ...);
int __fprintf_chk(FILE* file, int flag, const char* format, ...);
int __dprintf_chk(int fd, int flag, const char* format, ...);
int __wprintf_chk(int flag, const wchar_t* format, ...);
int __fwprintf_chk(FILE* file, int flag, const wchar_t* format, ...);
int __vprintf_chk(int flag, const char* format, va_list list);
int __vfprintf_chk(FILE* file, int flag, const char* format, va_list list);
int __vdprintf_chk(int fd, int flag, const char* format, va_list list);
int __vwprintf_chk(int flag, const wchar_t* format, va_list list);
int __vfwprintf_chk(FILE* file, int flag, const wchar_t* format, va_list list);

AFTER_LOOK(int, __vfprintf_chk, (FILE * file, int flag, const char* format, va_list list),
           (file, flag, format, list))
AFTER_LOOK(int, __vdprintf_chk, (int fd, int flag, const char* format, va_list list),
           (fd, flag, format, list))
AFTER_LOOK(int, __vfwprintf_chk, (FILE * file, int flag, const wchar_t* format, va_list list),
           (file, flag, format, list))

SHIM_PUBLIC int __vprintf_chk(int flag, const char* format, va_list list) {
  return __vfprintf_chk(stdout, flag, format, list);
}
SHIM_PUBLIC int __vwprintf_chk(int flag, const wchar_t* format, va_list list) {
  return __vfwprintf_chk(stdout, flag, format, list);
}

WITH_LIST(__printf_chk, (int flag, const char* format, ...), format, __vfprintf_chk, stdout, flag,
          format)
WITH_LIST(__fprintf_chk, (FILE * file, int flag, const char* format, ...), format, __vfprintf_chk,
          file, flag, format)
WITH_LIST(__dprintf_chk, (int fd, int flag, const char* format, ...), format, __vdprintf_chk, fd,
          flag, format)
WITH_LIST(__wprintf_chk, (int flag, const wchar_t* format, ...), format, __vfwprintf_chk, stdout,
          flag, format)
WITH_LIST(__fwprintf_chk, (FILE * file, int flag, const wchar_t* format, ...), format,
          __vfwprintf_chk, file, flag, format)
