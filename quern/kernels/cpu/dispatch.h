#pragma once

#include <string_view>
#include <vector>

namespace quern::kernels::cpu {

// Every kernel is compiled once per instruction set and the best one of this processor is chosen
// when the first runs. The environment variable QUERN_ISA names another: "sse4", "avx2", "avx512",
// or "amx": AVX-512 with the tile unit for products of matrices.

/// What is compiled in and runs on this processor, best first.
std::vector<std::string_view> available_isas();

/// The one in use.
std::string_view active_isa();

/// Products of matrices go to the tile unit (amx.h).
bool tile_unit_in_use();

/// Uses `isa` from now on, or the best one for "". Not while kernels run. Throws UsageError when it
/// is unknown or this processor lacks it.
void force_isa(std::string_view isa);

/// Obeys QUERN_ISA, once; every Context calls it. Throws UsageError.
void use_isa_of_environment();

}  // namespace quern::kernels::cpu
