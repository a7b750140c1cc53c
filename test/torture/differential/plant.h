// Planted errors: ways for side A to be wrong on purpose, so that a test can show that the
// comparison sees them. From its operation on, a plant acts each time it can.
#pragma once

#include <string>

#include "side.h"

namespace fxdiff {

class Plant {
 public:
  /** Parses `KIND:OP`; exits with status 2 and the list of kinds when it is not one. */
  explicit Plant(const std::string& text);
  /** Runs the operation on A, wrongly when this plant says so. */
  Outcome Run(const Op& op, const World& world, Side& a) const;

 private:
  std::string kind_;
  uint64_t from_ = UINT64_MAX;
};

}  // namespace fxdiff
