// The passthrough daemon: every request is the same system call on a directory below.
//
// Inodes are those of nodes.h; open files and directories are descriptors of their own. Nothing
// here needs a lock. O_DIRECT of the client is not passed on: the buffers of libfuse are not
// aligned for it. Clients are expected to be root.
//
//   passthrough DIRECTORY DIRECTORY_BELOW [THREADS]

#include "nodes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
  kPathBytesMax = 64,  // "/proc/self/fd/N"
};

struct directory {
  DIR* stream;
  struct dirent* pending;  // read, but did not fit in the last reply
  off_t offset;            // telldir position after the last entry given out
};

static struct directory* DirectoryOf(struct fuse_file_info* file) {
  return (struct directory*)(uintptr_t)file->fh;
}

static void Reply(fuse_req_t request, int result) {
  fuse_reply_err(request, result < 0 ? errno : 0);
}

static char* ProcPath(fuse_ino_t inode, char path[kPathBytesMax]) {
  snprintf(path, kPathBytesMax, "/proc/self/fd/%d", DescriptorOf(inode));
  return path;
}

/** Answers with the entry `name`; `result` is that of the call that should have made it. */
static void ReplyEntry(fuse_req_t request, int result, fuse_ino_t parent, const char* name) {
  struct fuse_entry_param entry;
  int error = result < 0 ? errno : TakeEntry(parent, name, &entry);
  if (error != 0) {
    fuse_reply_err(request, error);
  } else {
    fuse_reply_entry(request, &entry);
  }
}

static void Init(void* user, struct fuse_conn_info* connection) {
  (void)user;
  NegotiatePeer(connection);
  connection->want |= connection->capable & FUSE_CAP_PARALLEL_DIROPS;
}

// Names

static void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  ReplyEntry(request, 0, parent, name);
}

static void Forget(fuse_req_t request, fuse_ino_t inode, uint64_t count) {
  DropReferences(inode, count);
  fuse_reply_none(request);
}

static void ForgetMulti(fuse_req_t request, size_t count, struct fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; i++) DropReferences(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(request);
}

static void MakeNode(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
                     dev_t device) {
  ReplyEntry(request, mknodat(DescriptorOf(parent), name, mode, device), parent, name);
}

static void MakeDirectory(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  ReplyEntry(request, mkdirat(DescriptorOf(parent), name, mode), parent, name);
}

static void MakeSymlink(fuse_req_t request, const char* target, fuse_ino_t parent,
                        const char* name) {
  ReplyEntry(request, symlinkat(target, DescriptorOf(parent), name), parent, name);
}

static void Link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char* name) {
  char path[kPathBytesMax];
  int result =
      linkat(AT_FDCWD, ProcPath(inode, path), DescriptorOf(parent), name, AT_SYMLINK_FOLLOW);
  ReplyEntry(request, result, parent, name);
}

static void Unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Reply(request, unlinkat(DescriptorOf(parent), name, 0));
}

static void RemoveDirectory(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Reply(request, unlinkat(DescriptorOf(parent), name, AT_REMOVEDIR));
}

static void Rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                   const char* new_name, unsigned flags) {
  int result = renameat2(DescriptorOf(parent), name, DescriptorOf(new_parent), new_name, flags);
  Reply(request, result);
}

static void ReadLink(fuse_req_t request, fuse_ino_t inode) {
  char target[kPageBytes + 1];
  ssize_t length_bytes = readlinkat(DescriptorOf(inode), "", target, kPageBytes);
  if (length_bytes < 0) {
    fuse_reply_err(request, errno);
    return;
  }
  target[length_bytes] = 0;
  fuse_reply_readlink(request, target);
}

// Attributes

static void GetAttributes(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info* file) {
  (void)file;
  struct stat attributes;
  if (fstatat(DescriptorOf(inode), "", &attributes, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0) {
    fuse_reply_err(request, errno);
    return;
  }
  fuse_reply_attr(request, &attributes, kCacheSeconds);
}

static struct timespec TimeToSet(int what, int set, int set_now, struct timespec given) {
  if ((what & set_now) != 0) return (struct timespec){.tv_nsec = UTIME_NOW};
  if ((what & set) != 0) return given;
  return (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int ApplyAttributes(fuse_ino_t inode, const struct stat* wanted, int what,
                           const struct fuse_file_info* file) {
  char path[kPathBytesMax];
  ProcPath(inode, path);
  if ((what & FUSE_SET_ATTR_MODE) != 0 && chmod(path, wanted->st_mode) < 0) return errno;
  if ((what & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
    uid_t user = (what & FUSE_SET_ATTR_UID) != 0 ? wanted->st_uid : (uid_t)-1;
    gid_t group = (what & FUSE_SET_ATTR_GID) != 0 ? wanted->st_gid : (gid_t)-1;
    int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
    if (fchownat(DescriptorOf(inode), "", user, group, flags) < 0) return errno;
  }
  if ((what & FUSE_SET_ATTR_SIZE) != 0) {
    int result =
        file != NULL ? ftruncate((int)file->fh, wanted->st_size) : truncate(path, wanted->st_size);
    if (result < 0) return errno;
  }
  if ((what & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)) != 0) {
    struct timespec times[2] = {
        TimeToSet(what, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, wanted->st_atim),
        TimeToSet(what, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, wanted->st_mtim),
    };
    if (utimensat(AT_FDCWD, path, times, 0) < 0) return errno;
  }
  return 0;
}

static void SetAttributes(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int what,
                          struct fuse_file_info* file) {
  int error = ApplyAttributes(inode, wanted, what, file);
  if (error != 0) {
    fuse_reply_err(request, error);
  } else {
    GetAttributes(request, inode, file);
  }
}

static void GetXattr(fuse_req_t request, fuse_ino_t inode, const char* name, size_t size_bytes) {
  char path[kPathBytesMax];
  char value[XATTR_SIZE_MAX];
  ssize_t length_bytes = getxattr(ProcPath(inode, path), name, value, size_bytes);
  if (length_bytes < 0) {
    fuse_reply_err(request, errno);
  } else if (size_bytes == 0) {
    fuse_reply_xattr(request, (size_t)length_bytes);
  } else {
    fuse_reply_buf(request, value, (size_t)length_bytes);
  }
}

static void ListXattrs(fuse_req_t request, fuse_ino_t inode, size_t size_bytes) {
  char path[kPathBytesMax];
  char names[XATTR_LIST_MAX];
  ssize_t length_bytes = listxattr(ProcPath(inode, path), names, size_bytes);
  if (length_bytes < 0) {
    fuse_reply_err(request, errno);
  } else if (size_bytes == 0) {
    fuse_reply_xattr(request, (size_t)length_bytes);
  } else {
    fuse_reply_buf(request, names, (size_t)length_bytes);
  }
}

static void SetXattr(fuse_req_t request, fuse_ino_t inode, const char* name, const char* value,
                     size_t length_bytes, int flags) {
  char path[kPathBytesMax];
  Reply(request, setxattr(ProcPath(inode, path), name, value, length_bytes, flags));
}

static void RemoveXattr(fuse_req_t request, fuse_ino_t inode, const char* name) {
  char path[kPathBytesMax];
  Reply(request, removexattr(ProcPath(inode, path), name));
}

static void StatFilesystem(fuse_req_t request, fuse_ino_t inode) {
  struct statvfs numbers;
  if (fstatvfs(DescriptorOf(inode), &numbers) < 0) {
    fuse_reply_err(request, errno);
  } else {
    fuse_reply_statfs(request, &numbers);
  }
}

// Files

/** Flags for the open below: FUSE sends the offset of each append, and alignment is not ours. */
static int FlagsBelow(int flags) {
  return (flags & ~(O_NOFOLLOW | O_APPEND | O_DIRECT)) | O_CLOEXEC;
}

static void Create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
                   struct fuse_file_info* file) {
  int flags = FlagsBelow(file->flags) | O_CREAT;
  int descriptor = openat(DescriptorOf(parent), name, flags, mode);
  if (descriptor < 0) {
    fuse_reply_err(request, errno);
    return;
  }
  struct fuse_entry_param entry;
  int error = TakeEntry(parent, name, &entry);
  if (error != 0) {
    close(descriptor);
    fuse_reply_err(request, error);
    return;
  }
  file->fh = (uint64_t)descriptor;
  fuse_reply_create(request, &entry, file);
}

static void Open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info* file) {
  char path[kPathBytesMax];
  int descriptor = open(ProcPath(inode, path), FlagsBelow(file->flags));
  if (descriptor < 0) {
    fuse_reply_err(request, errno);
    return;
  }
  file->fh = (uint64_t)descriptor;
  file->keep_cache = 1;
  fuse_reply_open(request, file);
}

static void Read(fuse_req_t request, fuse_ino_t inode, size_t length_bytes, off_t offset,
                 struct fuse_file_info* file) {
  (void)inode;
  static __thread char buffer[kIoBytesMax];
  if (length_bytes > kIoBytesMax) length_bytes = kIoBytesMax;
  ssize_t read_bytes = pread((int)file->fh, buffer, length_bytes, offset);
  if (read_bytes < 0) {
    fuse_reply_err(request, errno);
  } else {
    fuse_reply_buf(request, buffer, (size_t)read_bytes);
  }
}

static void Write(fuse_req_t request, fuse_ino_t inode, const char* bytes, size_t length_bytes,
                  off_t offset, struct fuse_file_info* file) {
  (void)inode;
  ssize_t written_bytes = pwrite((int)file->fh, bytes, length_bytes, offset);
  if (written_bytes < 0) {
    fuse_reply_err(request, errno);
  } else {
    fuse_reply_write(request, (size_t)written_bytes);
  }
}

static void Flush(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info* file) {
  (void)inode;
  int copy = dup((int)file->fh);
  Reply(request, copy < 0 ? copy : close(copy));
}

static void Release(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info* file) {
  (void)inode;
  Reply(request, close((int)file->fh));
}

static void Fsync(fuse_req_t request, fuse_ino_t inode, int data_only,
                  struct fuse_file_info* file) {
  (void)inode;
  Reply(request, data_only ? fdatasync((int)file->fh) : fsync((int)file->fh));
}

static void Allocate(fuse_req_t request, fuse_ino_t inode, int mode, off_t offset, off_t length,
                     struct fuse_file_info* file) {
  (void)inode;
  Reply(request, fallocate((int)file->fh, mode, offset, length));
}

static void Seek(fuse_req_t request, fuse_ino_t inode, off_t offset, int whence,
                 struct fuse_file_info* file) {
  (void)inode;
  off_t found = lseek((int)file->fh, offset, whence);
  if (found < 0) {
    fuse_reply_err(request, errno);
  } else {
    fuse_reply_lseek(request, found);
  }
}

static void CopyRange(fuse_req_t request, fuse_ino_t from, off_t from_offset,
                      struct fuse_file_info* from_file, fuse_ino_t to, off_t to_offset,
                      struct fuse_file_info* to_file, size_t length_bytes, int flags) {
  (void)from;
  (void)to;
  ssize_t copied_bytes = copy_file_range((int)from_file->fh, &from_offset, (int)to_file->fh,
                                         &to_offset, length_bytes, (unsigned)flags);
  if (copied_bytes < 0) {
    fuse_reply_err(request, errno);
  } else {
    fuse_reply_write(request, (size_t)copied_bytes);
  }
}

// Directories

static void OpenDirectory(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info* file) {
  int descriptor = openat(DescriptorOf(inode), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* stream = descriptor < 0 ? NULL : fdopendir(descriptor);
  if (stream == NULL) {
    fuse_reply_err(request, errno);
    return;
  }
  struct directory* directory = calloc(1, sizeof *directory);
  if (directory == NULL) abort();
  directory->stream = stream;
  file->fh = (uint64_t)(uintptr_t)directory;
  fuse_reply_open(request, file);
}

/** Adds one entry to a reply and returns its size; larger than `room_bytes` means not added. */
static size_t AddEntry(fuse_req_t request, fuse_ino_t parent, const struct dirent* found,
                       bool with_attributes, char* place, size_t room_bytes) {
  struct fuse_entry_param entry = {0};
  entry.attr.st_ino = found->d_ino;
  entry.attr.st_mode = (mode_t)found->d_type << 12;
  if (!with_attributes) {
    return fuse_add_direntry(request, place, room_bytes, found->d_name, &entry.attr, found->d_off);
  }
  // "." and "..", and a name that went away meanwhile, come with node 0: attributes not known.
  bool dots = strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0;
  if (!dots && TakeEntry(parent, found->d_name, &entry) != 0) {
    entry.attr.st_ino = found->d_ino;
    entry.attr.st_mode = (mode_t)found->d_type << 12;
  }
  size_t used_bytes =
      fuse_add_direntry_plus(request, place, room_bytes, found->d_name, &entry, found->d_off);
  if (used_bytes > room_bytes && entry.ino != 0) DropReferences(entry.ino, 1);
  return used_bytes;
}

static void ReadEntries(fuse_req_t request, fuse_ino_t inode, size_t size_bytes, off_t offset,
                        struct fuse_file_info* file, bool with_attributes) {
  struct directory* directory = DirectoryOf(file);
  char* reply = malloc(size_bytes);
  if (reply == NULL) abort();
  if (offset != directory->offset) {
    seekdir(directory->stream, offset);
    directory->pending = NULL;
    directory->offset = offset;
  }
  size_t used_bytes = 0;
  int error = 0;
  for (;;) {
    if (directory->pending == NULL) {
      errno = 0;
      directory->pending = readdir(directory->stream);
      if (directory->pending == NULL) {
        error = errno;
        break;
      }
    }
    size_t room_bytes = size_bytes - used_bytes;
    size_t entry_bytes = AddEntry(request, inode, directory->pending, with_attributes,
                                  reply + used_bytes, room_bytes);
    if (entry_bytes > room_bytes) break;
    used_bytes += entry_bytes;
    directory->offset = directory->pending->d_off;
    directory->pending = NULL;
  }
  if (error != 0 && used_bytes == 0) {
    fuse_reply_err(request, error);
  } else {
    fuse_reply_buf(request, reply, used_bytes);
  }
  free(reply);
}

static void ReadDirectory(fuse_req_t request, fuse_ino_t inode, size_t size_bytes, off_t offset,
                          struct fuse_file_info* file) {
  ReadEntries(request, inode, size_bytes, offset, file, false);
}

static void ReadDirectoryPlus(fuse_req_t request, fuse_ino_t inode, size_t size_bytes, off_t offset,
                              struct fuse_file_info* file) {
  ReadEntries(request, inode, size_bytes, offset, file, true);
}

static void ReleaseDirectory(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info* file) {
  (void)inode;
  struct directory* directory = DirectoryOf(file);
  Reply(request, closedir(directory->stream));
  free(directory);
}

static void FsyncDirectory(fuse_req_t request, fuse_ino_t inode, int data_only,
                           struct fuse_file_info* file) {
  (void)inode;
  int descriptor = dirfd(DirectoryOf(file)->stream);
  Reply(request, data_only ? fdatasync(descriptor) : fsync(descriptor));
}

static const struct fuse_lowlevel_ops operations = {
    .init = Init,
    .lookup = Lookup,
    .forget = Forget,
    .forget_multi = ForgetMulti,
    .getattr = GetAttributes,
    .setattr = SetAttributes,
    .readlink = ReadLink,
    .mknod = MakeNode,
    .mkdir = MakeDirectory,
    .unlink = Unlink,
    .rmdir = RemoveDirectory,
    .symlink = MakeSymlink,
    .rename = Rename,
    .link = Link,
    .open = Open,
    .create = Create,
    .read = Read,
    .write = Write,
    .flush = Flush,
    .release = Release,
    .fsync = Fsync,
    .fallocate = Allocate,
    .lseek = Seek,
    .copy_file_range = CopyRange,
    .opendir = OpenDirectory,
    .readdir = ReadDirectory,
    .readdirplus = ReadDirectoryPlus,
    .releasedir = ReleaseDirectory,
    .fsyncdir = FsyncDirectory,
    .statfs = StatFilesystem,
    .setxattr = SetXattr,
    .getxattr = GetXattr,
    .listxattr = ListXattrs,
    .removexattr = RemoveXattr,
};

int main(int count, char** words) {
  int threads = count == 4 ? atoi(words[3]) : 1;
  if (count < 3 || count > 4 || threads < 1 || threads > kThreadsMax) {
    fprintf(stderr, "usage: passthrough DIRECTORY DIRECTORY_BELOW [THREADS]\n");
    return 2;
  }
  if (OpenRoot(words[2]) < 0) {
    perror(words[2]);
    return 1;
  }
  // One descriptor a node the kernel knows: ten thousand files need as many.
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  umask(0);
  return ServePeer(&operations, "passthrough", words[1], threads);
}
