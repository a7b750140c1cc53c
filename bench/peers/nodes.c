// The passthrough daemon's table of inodes; see nodes.h.

#include "nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { kBucketCount = 1 << 17 };

struct node {
  int descriptor;
  dev_t device;
  ino_t inode;
  uint64_t references;  // lookups the kernel has not forgotten
  struct node* next;
};

static struct node root;
static struct node* buckets[kBucketCount];
static pthread_mutex_t nodes_lock = PTHREAD_MUTEX_INITIALIZER;

int OpenRoot(const char* directory) {
  root.descriptor = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return root.descriptor < 0 ? -1 : 0;
}

static struct node* NodeOf(fuse_ino_t inode) {
  return inode == FUSE_ROOT_ID ? &root : (struct node*)(uintptr_t)inode;
}

int DescriptorOf(fuse_ino_t inode) { return NodeOf(inode)->descriptor; }

static struct node** BucketOf(dev_t device, ino_t inode) {
  uint64_t hash = ((uint64_t)inode ^ ((uint64_t)device << 32)) * 0x9e3779b97f4a7c15u;
  return &buckets[hash % kBucketCount];
}

int TakeEntry(fuse_ino_t parent, const char* name, struct fuse_entry_param* entry) {
  memset(entry, 0, sizeof *entry);
  int descriptor = openat(DescriptorOf(parent), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) return errno;
  struct stat* attributes = &entry->attr;
  if (fstatat(descriptor, "", attributes, AT_EMPTY_PATH) < 0) {
    int error = errno;
    close(descriptor);
    return error;
  }
  pthread_mutex_lock(&nodes_lock);
  struct node** bucket = BucketOf(attributes->st_dev, attributes->st_ino);
  struct node* node = *bucket;
  while (node != NULL &&
         (node->inode != attributes->st_ino || node->device != attributes->st_dev)) {
    node = node->next;
  }
  bool known = node != NULL;
  if (!known) {
    node = calloc(1, sizeof *node);
    if (node == NULL) abort();
    node->descriptor = descriptor;
    node->device = attributes->st_dev;
    node->inode = attributes->st_ino;
    node->next = *bucket;
    *bucket = node;
  }
  node->references++;
  pthread_mutex_unlock(&nodes_lock);
  if (known) close(descriptor);
  entry->ino = (fuse_ino_t)(uintptr_t)node;
  entry->attr_timeout = kCacheSeconds;
  entry->entry_timeout = kCacheSeconds;
  return 0;
}

void DropReferences(fuse_ino_t inode, uint64_t count) {
  if (inode == FUSE_ROOT_ID) return;
  struct node* node = NodeOf(inode);
  pthread_mutex_lock(&nodes_lock);
  node->references -= count;
  bool gone = node->references == 0;
  if (gone) {
    struct node** link = BucketOf(node->device, node->inode);
    while (*link != node) link = &(*link)->next;
    *link = node->next;
  }
  pthread_mutex_unlock(&nodes_lock);
  if (!gone) return;
  close(node->descriptor);
  free(node);
}
