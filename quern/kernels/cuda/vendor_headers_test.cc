// Holds our names for NVIDIA's numbers and structs against its headers, where the CUDA toolkit is
// found when the tests are built; elsewhere there is nothing to compile here.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <type_traits>

#include "quern/kernels/cuda/blas_lt.h"
#include "quern/kernels/cuda/driver_api.h"
#include "quern/kernels/cuda/nccl.h"

#if defined(QUERN_VENDOR_HEADERS)
#include <cublasLt.h>
#include <cuda.h>
#if __has_include(<nccl.h>)
#include <nccl.h>
#endif

namespace quern::kernels::cuda {
namespace {

static_assert(api::kOutOfMemory == CUDA_ERROR_OUT_OF_MEMORY);
static_assert(api::kNoDevice == CUDA_ERROR_NO_DEVICE);
static_assert(api::kNotReady == CUDA_ERROR_NOT_READY);
static_assert(api::kNoBinary == CUDA_ERROR_NO_BINARY_FOR_GPU);
static_assert(api::kComputeMajor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(api::kComputeMinor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(api::kSharedOptIn == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
static_assert(api::kConcurrentManaged == CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS);
static_assert(api::kMaxDynamicShared == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(api::kNonBlocking == CU_STREAM_NON_BLOCKING);
static_assert(api::kDisableTiming == CU_EVENT_DISABLE_TIMING);
static_assert(api::kAttachGlobal == CU_MEM_ATTACH_GLOBAL);
static_assert(api::kPortable == CU_MEMHOSTALLOC_PORTABLE);
static_assert(api::kCaptureRelaxed == CU_STREAM_CAPTURE_MODE_RELAXED);
static_assert(sizeof(DevicePointer) == sizeof(CUdeviceptr));
static_assert(sizeof(DeviceUuid) == sizeof(CUuuid));

static_assert(blas::kCompute32F == CUBLAS_COMPUTE_32F);
static_assert(blas::kComputeBf16 == CUBLAS_COMPUTE_32F_FAST_16BF);
static_assert(blas::kComputeTf32 == CUBLAS_COMPUTE_32F_FAST_TF32);
static_assert(blas::kFloat32 == CUDA_R_32F);
static_assert(blas::kBFloat16 == CUDA_R_16BF);
static_assert(blas::kTransposeA == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(blas::kTransposeB == CUBLASLT_MATMUL_DESC_TRANSB);
static_assert(blas::kEpilogue == CUBLASLT_MATMUL_DESC_EPILOGUE);
static_assert(blas::kBiasPointer == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(blas::kAuxPointer == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER);
static_assert(blas::kAuxStride == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD);
static_assert(blas::kEpilogueDefault == CUBLASLT_EPILOGUE_DEFAULT);
static_assert(blas::kEpilogueBias == CUBLASLT_EPILOGUE_BIAS);
static_assert(blas::kEpilogueGelu == CUBLASLT_EPILOGUE_GELU);
static_assert((blas::kEpilogueGelu | blas::kEpilogueBias) == CUBLASLT_EPILOGUE_GELU_BIAS);
static_assert(blas::kEpilogueGeluAux == CUBLASLT_EPILOGUE_GELU_AUX);
static_assert((blas::kEpilogueGeluAux | blas::kEpilogueBias) == CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
static_assert(blas::kEpilogueSumsOfB == CUBLASLT_EPILOGUE_BGRADB);
static_assert(blas::kWorkspaceBytes == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(blas::kFirstAlignment == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(blas::kFirstAlignment + 3 == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
static_assert(sizeof(BlasAlgorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(BlasHeuristic) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(BlasHeuristic, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));

#if defined(NCCL_MAJOR)
static_assert(nccl::kSuccess == ncclSuccess);
static_assert(nccl::kInvalidUsage == ncclInvalidUsage);
static_assert(nccl::kRemoteError == ncclRemoteError);
static_assert(nccl::kInProgress == ncclInProgress);
static_assert(nccl::kFloat32 == ncclFloat32);
static_assert(nccl::kSum == ncclSum);
static_assert(sizeof(NcclId) == sizeof(ncclUniqueId));

/// Whether a call of ours passes what NCCL's function takes, argument by argument.
template <typename Ours, typename Theirs>
constexpr bool kSameCall = false;
template <typename A, typename B>
constexpr bool kSameArgument = std::equal_to<>()(sizeof(A), sizeof(B));
template <typename A, typename B>
constexpr bool kSameArgument<A*, B*> = true;
template <typename A, typename B>
constexpr bool kSameArgument<A*, B> = false;
template <typename A, typename B>
constexpr bool kSameArgument<A, B*> = false;
template <typename R, typename... A, typename S, typename... B>
  requires(sizeof...(A) == sizeof...(B))
constexpr bool kSameCall<R (*)(A...), S (*)(B...)> =
    kSameArgument<R, S> && std::min({true, kSameArgument<A, B>...});
static_assert(kSameCall<decltype(Nccl::unique_id), decltype(&ncclGetUniqueId)>);
static_assert(kSameCall<decltype(Nccl::comm_init), decltype(&ncclCommInitRank)>);
static_assert(kSameCall<decltype(Nccl::comm_destroy), decltype(&ncclCommDestroy)>);
static_assert(kSameCall<decltype(Nccl::comm_abort), decltype(&ncclCommAbort)>);
static_assert(kSameCall<decltype(Nccl::async_error), decltype(&ncclCommGetAsyncError)>);
static_assert(kSameCall<decltype(Nccl::error_string), decltype(&ncclGetErrorString)>);
static_assert(kSameCall<decltype(Nccl::last_error), decltype(&ncclGetLastError)>);
static_assert(kSameCall<decltype(Nccl::reduce), decltype(&ncclReduce)>);
static_assert(kSameCall<decltype(Nccl::broadcast), decltype(&ncclBroadcast)>);
static_assert(kSameCall<decltype(Nccl::send), decltype(&ncclSend)>);
static_assert(kSameCall<decltype(Nccl::receive), decltype(&ncclRecv)>);
static_assert(kSameCall<decltype(Nccl::group_start), decltype(&ncclGroupStart)>);
static_assert(kSameCall<decltype(Nccl::group_end), decltype(&ncclGroupEnd)>);
#endif

TEST(VendorHeaders, AgreeWithOurNames) { SUCCEED() << "held when this file was compiled"; }

}  // namespace
}  // namespace quern::kernels::cuda
#else
TEST(VendorHeaders, AgreeWithOurNames) { GTEST_SKIP() << "NVIDIA's headers were not found"; }
#endif
