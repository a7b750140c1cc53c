// The names that operations use: few, so that they meet each other, and some of them odd.
#include <cstdlib>
#include <vector>

#include "plan.h"

namespace fxdiff {
namespace {

std::array<std::string, kPathCount> MakePaths() {
  std::vector<std::string> paths = {
      "a",
      "b",
      "c",
      "d",
      "e",
      "f",
      "g",
      "h",
      "a/a",
      "a/b",
      "a/c",
      "a/d",
      "b/a",
      "b/b",
      "b/c",
      "b/d",
      "c/a",
      "c/b",
      "c/c",
      "d/a",
      "d/b",
      "a/b/a",
      "a/b/b",
      "a/c/a",
      "b/a/a",
      "b/a/b",
      "b/a/b/c",
      "c/a/a",
      // From here on never the target of a symbolic link.
      ".",
      "..x",
      "a/.",
      "a/..",
      "a/../b",
      "b/",
      "c/",
      "b/a/",
      "b//a",
      "./",
  };
  paths.push_back(std::string(255, 'n'));
  paths.push_back(std::string(256, 'n'));
  paths.push_back("a/" + std::string(251, 'm') + "\xc3\xa9\xff\xfe");
  paths.push_back("\xff\xfe\x80");
  paths.push_back("b/\xed\xa0\x80");
  paths.push_back("\xf4\x8f\xbc\x80\xf4\x8f\xbf\xbf");
  paths.push_back("line\nfeed\ttab");
  paths.push_back("a/\xe6\x97\xa5\xe6\x9c\xac");
  paths.push_back("space in name");
  paths.push_back("-rf");
  std::array<std::string, kPathCount> table;
  if (paths.size() != table.size()) abort();
  for (size_t index = 0; index < table.size(); index++) table[index] = paths[index];
  return table;
}

}  // namespace

const std::array<std::string, kPathCount>& Paths() {
  static const std::array<std::string, kPathCount> paths = MakePaths();
  return paths;
}

const std::array<const char*, 8>& XattrNames() {
  static const std::array<const char*, 8> names = {
      "user.a",    "user.b",      "user.long.name.of.an.attribute",
      "trusted.t", "security.fx", "user.\xff",
      "bogus.x",   "user.",
  };
  return names;
}

}  // namespace fxdiff
