// The no-op daemon: what a FUSE filesystem costs when it does nothing.
//
// One flat directory. `data` is a file of N MiB backed by memory; reads are answered from that
// memory, writes are copied into it. Every other name is an entry in a table with a size and no
// bytes: writes to it are counted and forgotten, reads give zeros. All on one thread, no locks.
//
//   noop DIRECTORY SIZE_MIB [ATTRIBUTE_SECONDS]

#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

enum {
  kDataInode = 2,
  kFirstInode = 3,  // node i of the table is inode kFirstInode + i
  kNodesMax = 1 << 17,
  kBucketCount = 1 << 17,
  kNameBytesMax = 255,
};

// A node lives until it has neither a name nor a kernel reference, so that no number is reused
// while the kernel still knows it.
struct node {
  uint64_t size_bytes;
  uint64_t references;  // lookups the kernel has not forgotten
  int next;             // in the bucket's chain, or in the free list; -1 ends
  unsigned bucket;
  mode_t mode;
  bool named;
  char name[kNameBytesMax + 1];
};

static struct node* nodes;
static int* buckets;
static int free_node = -1;
static int node_count;  // nodes ever taken from the table's end

static char* data;
static uint64_t data_bytes;
static char zeros[kIoBytesMax];
static double attribute_seconds = 1.0;
static struct timespec start_time;

static unsigned BucketOf(const char* name) {
  uint64_t hash = 1469598103934665603u;
  for (; *name != 0; name++) hash = (hash ^ (unsigned char)*name) * 1099511628211u;
  return (unsigned)(hash % kBucketCount);
}

static int FindName(const char* name) {
  int index = buckets[BucketOf(name)];
  while (index >= 0 && strcmp(nodes[index].name, name) != 0) index = nodes[index].next;
  return index;
}

static int AddName(const char* name, mode_t mode) {
  int index = free_node;
  if (index >= 0) {
    free_node = nodes[index].next;
  } else if (node_count < kNodesMax) {
    index = node_count++;
  } else {
    return -1;
  }
  struct node* node = &nodes[index];
  unsigned bucket = BucketOf(name);
  node->size_bytes = 0;
  node->references = 0;
  node->next = buckets[bucket];
  node->bucket = bucket;
  node->mode = mode;
  node->named = true;
  strcpy(node->name, name);
  buckets[bucket] = index;
  return index;
}

static void FreeIfGone(int index) {
  struct node* node = &nodes[index];
  if (node->named || node->references > 0) return;
  node->next = free_node;
  free_node = index;
}

static void RemoveName(int index) {
  int* link = &buckets[nodes[index].bucket];
  while (*link != index) link = &nodes[*link].next;
  *link = nodes[index].next;
  nodes[index].named = false;
  FreeIfGone(index);
}

/** The table's node of an inode number, or NULL for the root and `data`. */
static struct node* NodeOf(fuse_ino_t inode) {
  return inode >= kFirstInode ? &nodes[inode - kFirstInode] : NULL;
}

static void FillAttributes(fuse_ino_t inode, struct stat* attributes) {
  memset(attributes, 0, sizeof *attributes);
  struct node* node = NodeOf(inode);
  attributes->st_ino = inode;
  attributes->st_nlink = 1;
  attributes->st_blksize = kPageBytes;
  attributes->st_atim = attributes->st_mtim = attributes->st_ctim = start_time;
  if (inode == FUSE_ROOT_ID) {
    attributes->st_mode = S_IFDIR | 0755;
    attributes->st_nlink = 2;
    return;
  }
  attributes->st_mode = node == NULL ? S_IFREG | 0644 : node->mode;
  attributes->st_size = (off_t)(node == NULL ? data_bytes : node->size_bytes);
  attributes->st_blocks = attributes->st_size / 512;
}

static void FillEntry(fuse_ino_t inode, struct fuse_entry_param* entry) {
  memset(entry, 0, sizeof *entry);
  entry->ino = inode;
  entry->attr_timeout = attribute_seconds;
  entry->entry_timeout = 1.0;
  FillAttributes(inode, &entry->attr);
  struct node* node = NodeOf(inode);
  if (node != NULL) node->references++;
}

static void Init(void* user, struct fuse_conn_info* connection) {
  (void)user;
  NegotiatePeer(connection);
}

static void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (parent != FUSE_ROOT_ID) {
    fuse_reply_err(request, ENOTDIR);
    return;
  }
  struct fuse_entry_param entry;
  int index = FindName(name);
  if (strcmp(name, "data") == 0) {
    FillEntry(kDataInode, &entry);
  } else if (index >= 0) {
    FillEntry(kFirstInode + (fuse_ino_t)index, &entry);
  } else {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fuse_reply_entry(request, &entry);
}

static void ForgetOne(fuse_ino_t inode, uint64_t count) {
  struct node* node = NodeOf(inode);
  if (node == NULL) return;
  node->references -= count;
  FreeIfGone((int)(inode - kFirstInode));
}

static void Forget(fuse_req_t request, fuse_ino_t inode, uint64_t count) {
  ForgetOne(inode, count);
  fuse_reply_none(request);
}

static void ForgetMulti(fuse_req_t request, size_t count, struct fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; i++) ForgetOne(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(request);
}

static void GetAttributes(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info* file) {
  (void)file;
  struct stat attributes;
  FillAttributes(inode, &attributes);
  fuse_reply_attr(request, &attributes, attribute_seconds);
}

static void SetAttributes(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int what,
                          struct fuse_file_info* file) {
  struct node* node = NodeOf(inode);
  if (node != NULL && (what & FUSE_SET_ATTR_SIZE) != 0)
    node->size_bytes = (uint64_t)wanted->st_size;
  GetAttributes(request, inode, file);
}

static void Create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
                   struct fuse_file_info* file) {
  (void)parent;
  int index = AddName(name, mode);
  if (index < 0) {
    fuse_reply_err(request, ENOSPC);
    return;
  }
  struct fuse_entry_param entry;
  FillEntry(kFirstInode + (fuse_ino_t)index, &entry);
  fuse_reply_create(request, &entry, file);
}

static void Unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  (void)parent;
  int index = FindName(name);
  if (index >= 0) RemoveName(index);
  fuse_reply_err(request, index >= 0 ? 0 : ENOENT);
}

static void Open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info* file) {
  (void)inode;
  file->keep_cache = 1;
  fuse_reply_open(request, file);
}

static void Read(fuse_req_t request, fuse_ino_t inode, size_t length_bytes, off_t offset,
                 struct fuse_file_info* file) {
  (void)file;
  struct node* node = NodeOf(inode);
  uint64_t size_bytes = node == NULL ? data_bytes : node->size_bytes;
  uint64_t left_bytes = (uint64_t)offset < size_bytes ? size_bytes - (uint64_t)offset : 0;
  if (length_bytes > left_bytes) length_bytes = left_bytes;
  if (length_bytes > kIoBytesMax) length_bytes = kIoBytesMax;
  fuse_reply_buf(request, node == NULL ? data + offset : zeros, length_bytes);
}

static void Write(fuse_req_t request, fuse_ino_t inode, const char* bytes, size_t length_bytes,
                  off_t offset, struct fuse_file_info* file) {
  (void)file;
  struct node* node = NodeOf(inode);
  uint64_t end = (uint64_t)offset + length_bytes;
  if (node != NULL) {
    if (end > node->size_bytes) node->size_bytes = end;
  } else if (end > data_bytes) {
    fuse_reply_err(request, ENOSPC);
    return;
  } else {
    memcpy(data + offset, bytes, length_bytes);
  }
  fuse_reply_write(request, length_bytes);
}

/** FLUSH, RELEASE and FSYNC are answered, not refused: a complete filesystem gets them too. */
static void Accept(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info* file) {
  (void)inode;
  (void)file;
  fuse_reply_err(request, 0);
}

static void Fsync(fuse_req_t request, fuse_ino_t inode, int data_only,
                  struct fuse_file_info* file) {
  (void)data_only;
  Accept(request, inode, file);
}

static void StatFilesystem(fuse_req_t request, fuse_ino_t inode) {
  (void)inode;
  struct statvfs numbers = {.f_bsize = kPageBytes, .f_frsize = kPageBytes, .f_namemax = 255};
  numbers.f_blocks = numbers.f_bfree = numbers.f_bavail = data_bytes / kPageBytes;
  fuse_reply_statfs(request, &numbers);
}

static const struct fuse_lowlevel_ops operations = {
    .init = Init,
    .lookup = Lookup,
    .forget = Forget,
    .forget_multi = ForgetMulti,
    .getattr = GetAttributes,
    .setattr = SetAttributes,
    .create = Create,
    .unlink = Unlink,
    .open = Open,
    .read = Read,
    .write = Write,
    .flush = Accept,
    .release = Accept,
    .fsync = Fsync,
    .statfs = StatFilesystem,
};

int main(int count, char** words) {
  if (count < 3 || count > 4 || atol(words[2]) <= 0) {
    fprintf(stderr, "usage: noop DIRECTORY SIZE_MIB [ATTRIBUTE_SECONDS]\n");
    return 2;
  }
  data_bytes = (uint64_t)atol(words[2]) << 20;
  if (count == 4) attribute_seconds = atof(words[3]);
  clock_gettime(CLOCK_REALTIME, &start_time);
  nodes = calloc(kNodesMax, sizeof *nodes);
  buckets = malloc(kBucketCount * sizeof *buckets);
  data = mmap(NULL, data_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE,
              -1, 0);
  if (nodes == NULL || buckets == NULL || data == MAP_FAILED) {
    perror("noop: memory");
    return 1;
  }
  for (int i = 0; i < kBucketCount; i++) buckets[i] = -1;
  return ServePeer(&operations, "noop", words[1], 1);
}
