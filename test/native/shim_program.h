/* What the cases of shim_program.c share: "ok NAME" and "not ok NAME" lines, and memory accesses
 * whose SIGBUS and SIGSEGV the program itself catches. */
#ifndef SHIM_PROGRAM_H_
#define SHIM_PROGRAM_H_

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define HUGE_PAGE (2ul << 20)
#define RW (PROT_READ | PROT_WRITE)

extern const char* file_path;   // on the mount: 1024 pages, holes
extern const char* other_path;  // 16 pages of 'o' elsewhere

void Ok(bool good, const char* name);
void Equal(long seen, long wanted, const char* name);
void Must(bool good, const char* what);  // ends the program otherwise

int OpenFile(int flags);
char* Map(size_t pages, int prot, int flags, size_t first_page);

// The signal that the access ends in, or 0; the address it was about in `fault_address`.
int Load(const volatile char* at);
int Store(volatile char* at, char value);
extern char* volatile fault_address;

// Status of the program's call in a child: exit status, or 128 + signal.
int ChildStatus(int pid);

void MapCases(void);
void ChangeCases(void);
void RemapCases(void);
void PrivateCases(void);
void MovingCases(void);
void DroppedCases(void);
void UnservedCases(void);
void ForkCases(void);
void ThreadCases(void);
void ErrorCases(void);
void KernelCases(void);
void RefusedCases(void);
void VersionCases(void);
void OrphanCases(void);

#endif
