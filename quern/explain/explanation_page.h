#pragma once

#include <string>
#include <vector>

#include "quern/explain/explanation.h"

namespace quern::explain {

/// The explanation as one self-contained page.
std::string to_html(const Explanation& explanation);

/// A recommendation list: each item with the parts of the history that speak for it and against it.
std::string to_html(const std::vector<Explanation>& list);

}  // namespace quern::explain
