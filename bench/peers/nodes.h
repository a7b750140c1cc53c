// The inodes that the passthrough daemon knows.
//
// A node holds an O_PATH descriptor of one inode of the directory below; FUSE's node id is the
// node's address. Nodes are found by (device, inode), so that hard links share one, and live until
// the kernel has forgotten every lookup of them. Any serving thread may call; one lock guards the
// table and the counts, and is never held over a system call.

#ifndef BENCH_PEERS_NODES_H
#define BENCH_PEERS_NODES_H

#include "serve.h"

/** How long the kernel may use names and attributes without asking. */
static const double kCacheSeconds = 1.0;

/** Opens the directory below, whose inode is the root's. Returns 0, or -1 with errno set. */
int OpenRoot(const char* directory);

/** The O_PATH descriptor of a node that the kernel has not forgotten. */
int DescriptorOf(fuse_ino_t inode);

/** Finds `name` below, fills `entry` and takes one reference on its node. 0 or an errno. */
int TakeEntry(fuse_ino_t parent, const char* name, struct fuse_entry_param* entry);

/** Gives references back; the last one closes the node. */
void DropReferences(fuse_ino_t inode, uint64_t count);

#endif
