// Names of flags as sys.c reads them, joined by `+`. Included by sys.c alone.
#pragma once

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

struct flag {
  const char* name;
  long value;
};

// Looks up names joined by `+`; an unknown one ends the process, so that a test cannot pass by a
// typo.
static long Flags(const char* text, const struct flag* table) {
  long flags = 0;
  char copy[128];
  if (text == NULL) return 0;
  snprintf(copy, sizeof copy, "%s", text);
  for (char* name = strtok(copy, "+"); name != NULL; name = strtok(NULL, "+")) {
    const struct flag* flag = table;
    while (flag->name != NULL && strcmp(flag->name, name) != 0) flag++;
    if (flag->name == NULL) {
      fprintf(stderr, "sys: no flag named %s\n", name);
      exit(2);
    }
    flags |= flag->value;
  }
  return flags;
}

static const struct flag kOpen[] = {{"rd", O_RDONLY},
                                    {"wr", O_WRONLY},
                                    {"rdwr", O_RDWR},
                                    {"creat", O_CREAT},
                                    {"excl", O_EXCL},
                                    {"trunc", O_TRUNC},
                                    {"append", O_APPEND},
                                    {"direct", O_DIRECT},
                                    {"sync", O_SYNC},
                                    {"dsync", O_DSYNC},
                                    {"tmpfile", O_TMPFILE},
                                    {"dir", O_DIRECTORY},
                                    {"nofollow", O_NOFOLLOW},
                                    {"path", O_PATH},
                                    {"nonblock", O_NONBLOCK},
                                    {"noatime", O_NOATIME},
                                    {NULL, 0}};
static const struct flag kFallocate[] = {{"none", 0},
                                         {"keep", FALLOC_FL_KEEP_SIZE},
                                         {"punch", FALLOC_FL_PUNCH_HOLE},
                                         {"zero", FALLOC_FL_ZERO_RANGE},
                                         {"collapse", FALLOC_FL_COLLAPSE_RANGE},
                                         {"insert", FALLOC_FL_INSERT_RANGE},
                                         {NULL, 0}};
static const struct flag kRename[] = {{"none", 0},
                                      {"noreplace", RENAME_NOREPLACE},
                                      {"exchange", RENAME_EXCHANGE},
                                      {"whiteout", RENAME_WHITEOUT},
                                      {NULL, 0}};
static const struct flag kWhence[] = {{"set", SEEK_SET},   {"cur", SEEK_CUR},   {"end", SEEK_END},
                                      {"data", SEEK_DATA}, {"hole", SEEK_HOLE}, {NULL, 0}};
static const struct flag kType[] = {{"fifo", S_IFIFO}, {"sock", S_IFSOCK}, {"chr", S_IFCHR},
                                    {"blk", S_IFBLK},  {"reg", S_IFREG},   {NULL, 0}};
static const struct flag kXattr[] = {
    {"none", 0}, {"create", XATTR_CREATE}, {"replace", XATTR_REPLACE}, {NULL, 0}};
static const struct flag kFlock[] = {
    {"sh", LOCK_SH}, {"ex", LOCK_EX}, {"un", LOCK_UN}, {"nb", LOCK_NB}, {NULL, 0}};
static const struct flag kLock[] = {{"r", F_RDLCK}, {"w", F_WRLCK}, {"u", F_UNLCK}, {NULL, 0}};
static const struct flag kProtect[] = {{"r", PROT_READ}, {"w", PROT_READ | PROT_WRITE}, {NULL, 0}};
static const struct flag kInode[] = {{"none", 0},          {"i", FS_IMMUTABLE_FL},
                                     {"a", FS_APPEND_FL},  {"d", FS_NODUMP_FL},
                                     {"A", FS_NOATIME_FL}, {NULL, 0}};
