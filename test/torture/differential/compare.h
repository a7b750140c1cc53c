// Compares what two directories show: stat fields, bytes, holes, names, attributes. A comparison
// returns the difference as text, or an empty string when there is none.
#pragma once

#include <string>

#include "side.h"

namespace fxdiff {

struct Rules {
  bool directory_links = true;  // st_nlink of directories counts subdirectories on both sides
  bool times = true;            // mtime moves by the same calls
};

/** Results, errno, returned bytes and text of one operation on both sides. */
std::string CompareOutcomes(const Op& op, Side& a, const Outcome& from_a, Side& b,
                            const Outcome& from_b);

/** Fields of two open files or two names that have to agree. */
std::string CompareStats(const struct stat& a, const struct stat& b, const World& world,
                         const Rules& rules);

/** The bytes of [offset, offset + length) of two readable descriptors. */
std::string CompareBytes(int descriptor_a, int descriptor_b, int64_t offset, int64_t length);

/** Whole contents of two regular files; holes that A reports must read as zero. */
std::string CompareContents(int descriptor_a, int descriptor_b);

struct TreeResult {
  std::string difference;
  // Renames bury directories in each other; what is too many or too deep is no longer walked, and
  // the caller starts again from an empty tree.
  bool overgrown = false;
};

/**
 * Both trees: names, stat, link identity, contents, symbolic links, extended attributes. When
 * `cold`, file data is first written out and dropped from the page cache on side A.
 */
TreeResult CompareTrees(const Side& a, const Side& b, const World& world, const Rules& rules,
                        bool cold);

}  // namespace fxdiff
