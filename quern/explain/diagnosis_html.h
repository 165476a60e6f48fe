#pragma once

#include <string>

#include "quern/explain/diagnosis.h"

namespace quern::explain {

/// One self-contained page: the verdicts, then the evidence in tables and plots.
std::string diagnosis_html(const Diagnosis& diagnosis);

}  // namespace quern::explain
