#pragma once

#include <cstddef>
#include <cstdint>

// cuBLASLt as a table of functions found at run time, so that the program starts without it. Names
// and numbers are those of NVIDIA's cublasLt.h, against which vendor_headers_test.cc holds them
// where the CUDA toolkit is found.
namespace quern::kernels::cuda {

struct BlasAlgorithm {
  uint64_t data[8];
};
struct BlasHeuristic {
  BlasAlgorithm algorithm;
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};

namespace blas {
inline constexpr int kCompute32F = 68, kComputeBf16 = 75, kComputeTf32 = 77;
inline constexpr int kFloat32 = 0, kBFloat16 = 14;
inline constexpr int kTransposeA = 3, kTransposeB = 4, kEpilogue = 7, kBiasPointer = 8;
inline constexpr int kAuxPointer = 11, kAuxStride = 12;
inline constexpr uint32_t kEpilogueDefault = 1, kEpilogueBias = 4, kEpilogueGelu = 32;
inline constexpr uint32_t kEpilogueGeluAux = kEpilogueGelu | 128;
inline constexpr uint32_t kEpilogueSumsOfB = 512;               // over k: the gradient of a bias
inline constexpr int kWorkspaceBytes = 1, kFirstAlignment = 5;  // of A; then B, C, D
}  // namespace blas

struct BlasLt {
  using Handle = void*;
  int (*create)(Handle*) = nullptr;
  int (*destroy)(Handle) = nullptr;
  int (*matmul_desc_create)(void** desc, int compute_type, int scale_type) = nullptr;
  int (*matmul_desc_destroy)(void* desc) = nullptr;
  int (*matmul_desc_set)(void* desc, int attribute, const void* value, size_t bytes) = nullptr;
  int (*layout_create)(void** layout, int type, uint64_t rows, uint64_t columns,
                       int64_t stride) = nullptr;
  int (*layout_destroy)(void* layout) = nullptr;
  int (*preference_create)(void** preference) = nullptr;
  int (*preference_destroy)(void* preference) = nullptr;
  int (*preference_set)(void* preference, int attribute, const void* value, size_t bytes) = nullptr;
  int (*heuristic)(Handle, void* desc, void* a, void* b, void* c, void* d, void* preference,
                   int requested, BlasHeuristic* results, int* returned) = nullptr;
  int (*matmul)(Handle, void* desc, const void* alpha, const void* a, void* a_layout, const void* b,
                void* b_layout, const void* beta, const void* c, void* c_layout, void* d,
                void* d_layout, const BlasAlgorithm*, void* workspace, size_t workspace_bytes,
                void* stream) = nullptr;
};

}  // namespace quern::kernels::cuda
