#pragma once

// What a device's kernels and the processor's share is compiled for both by the CUDA compiler.
#ifdef __CUDACC__
#define QUERN_HOST_DEVICE __host__ __device__
#else
#define QUERN_HOST_DEVICE
#endif
