// Every kernel, compiled for the emulator.
#include <cstring>

#include "quern/kernels/cuda/elementwise-inl.h"
#include "quern/kernels/cuda/rows-inl.h"
// clang-format off: the files above are read by those below
#include "quern/kernels/cuda/attention-inl.h"
#include "quern/kernels/cuda/attention_fragments-inl.h"
#include "quern/kernels/cuda/attention_mma-inl.h"
#include "quern/kernels/cuda/attention_mma_backward-inl.h"
#include "quern/kernels/cuda/attention_split-inl.h"
#include "quern/kernels/cuda/cast-inl.h"
#include "quern/kernels/cuda/embedding-inl.h"
#include "quern/kernels/cuda/exchange-inl.h"
#include "quern/kernels/cuda/gemm-inl.h"
#include "quern/kernels/cuda/movement-inl.h"
#include "quern/kernels/cuda/optimizer-inl.h"
#include "quern/kernels/cuda/quantized-inl.h"
#include "quern/kernels/cuda/window-inl.h"
// clang-format on
#include "quern/kernels/cuda/emulated/emulated_driver.h"

namespace quern::kernels::cuda {

void link_emulated_kernels() {}

}  // namespace quern::kernels::cuda
