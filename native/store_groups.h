// Which pages of a file were stored to between the same two syncs, the last time: who commits to a
// few pages that lie apart does so again and again, and their stores are let through together. A
// guess: what it names too much costs a flush, what it misses a fault. Bounded. Not thread safe.
#ifndef FAUXDAX_STORE_GROUPS_H_
#define FAUXDAX_STORE_GROUPS_H_

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fauxdax {

class StoreGroups {
 public:
  // A store to the page was noted. Returns the pages of its group, with this one among them; none
  // when nothing is known.
  const std::vector<uint64_t>& Note(uint64_t page) {
    if (current_.size() <= kPagesMax) current_.push_back(page);
    const auto found = group_of_.find(page);
    if (found == group_of_.end()) return none_;
    const Group& group = groups_[found->second];
    // Nobody sees which of them were really stored to: now and then it is found out anew.
    if (group.guesses >= kGuessesMax) return none_;
    if (guesses_ <= group.guesses) guesses_ = group.guesses + 1;
    return group.pages;
  }
  // The page is storable too, by a guess.
  void Guessed(uint64_t page) {
    if (current_.size() <= kPagesMax) current_.push_back(page);
  }

  // A sync: what was stored to since the last one is a group, unless it is one page or many.
  void End() {
    std::vector<uint64_t> pages = std::exchange(current_, {});
    const uint32_t guesses = std::exchange(guesses_, 0);
    for (const uint64_t page : pages) group_of_.erase(page);
    if (pages.size() < 2 || pages.size() > kPagesMax) return;
    Group& group = groups_[next_];
    for (const uint64_t page : group.pages) {
      const auto found = group_of_.find(page);
      if (found != group_of_.end() && found->second == next_) group_of_.erase(found);
    }
    for (const uint64_t page : pages) group_of_[page] = next_;
    group = {std::move(pages), guesses};
    next_ = (next_ + 1) % kGroupsMax;
  }

 private:
  static constexpr size_t kPagesMax = 32;
  static constexpr size_t kGroupsMax = 256;
  static constexpr uint32_t kGuessesMax = 8;

  struct Group {
    std::vector<uint64_t> pages;
    uint32_t guesses = 0;  // how many times in a row it came out of a guess
  };

  const std::vector<uint64_t> none_;
  std::vector<uint64_t> current_;
  uint32_t guesses_ = 0;
  std::vector<Group> groups_ = std::vector<Group>(kGroupsMax);
  size_t next_ = 0;
  std::unordered_map<uint64_t, size_t> group_of_;  // by page
};

}  // namespace fauxdax

#endif  // FAUXDAX_STORE_GROUPS_H_
