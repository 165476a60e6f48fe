#include "quern/kernels/cuda/cuda_driver.h"

#ifdef QUERN_CUDA_IMAGE
// The fat binary that nvcc made of kernels.cu, as bytes of this program.
asm(".section .rodata\n"
    ".balign 64\n"
    "quern_cuda_image_begin:\n"
    ".incbin \"" QUERN_CUDA_IMAGE
    "\"\n"
    "quern_cuda_image_end:\n"
    ".byte 0\n"
    ".previous\n");
extern "C" const std::byte quern_cuda_image_begin[];
extern "C" const std::byte quern_cuda_image_end[];
#endif

namespace quern::kernels::cuda {

std::span<const std::byte> kernel_image() {
#ifdef QUERN_CUDA_IMAGE
  return {quern_cuda_image_begin, quern_cuda_image_end};
#else
  return {};
#endif
}

}  // namespace quern::kernels::cuda
