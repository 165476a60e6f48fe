#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "quern/kernels/bfloat16.h"
#include "quern/kernels/cpu/gemm.h"
#include "quern/kernels/cuda/blas_lt.h"
#include "quern/kernels/cuda/context.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cuda {

/// What tells one product from another to cuBLASLt; of where the operands stand, the alignment.
struct BlasKey {
  int64_t m = 0, n = 0, k = 0, lda = 0, ldb = 0, ldc = 0;
  bool transpose_a = false, transpose_b = false;
  bool adds = false;                              // C is read: accumulation, or a residual
  int in = blas::kFloat32, out = blas::kFloat32;  // types of operands, and of C and D
  uint32_t epilogue = blas::kEpilogueDefault;
  uint32_t alignment = 256;  // bytes that every operand's address is a multiple of
  Precision precision = Precision::kFloat32;
  auto operator<=>(const BlasKey&) const = default;
};

/// What cuBLASLt does of a product, and what is left to a pass of our own.
template <typename In, typename Out>
struct BlasSplit {
  BlasKey key;
  const Out* c = nullptr;     // read where key.adds
  bool finish = false;        // bias, activation or residual are left
  bool possible = true;       // not where the product would overwrite a residual that is left
  cpu::GemmOf<In, Out> left;  // the product with what of its epilogue is left
};
/// With `bare` all of the epilogue is left.
template <typename In, typename Out>
BlasSplit<In, Out> split_product(const cpu::GemmOf<In, Out>& gemm, Precision precision,
                                 bool bare = false);

/// What BlasPlans::run() has done.
enum class BlasOutcome : uint8_t {
  kDone,
  kProduct,  // of the product alone: its epilogue is left
  kRefused,  // nothing: cuBLASLt has no algorithm for it
};

/// Products by cuBLASLt: the descriptors and the chosen algorithm of each kind are made once, so
/// that the same product runs the same code on every step, and a captured graph holds it. One
/// workspace, since products run in one queue.
class BlasPlans {
 public:
  /// Throws DeviceError when cuBLASLt cannot start.
  BlasPlans(Driver& driver, const BlasLt& library);
  ~BlasPlans();
  BlasPlans(const BlasPlans&) = delete;
  BlasPlans& operator=(const BlasPlans&) = delete;

  /// Of kProduct, `gemm` then has what is left.
  template <typename In, typename Out>
  BlasOutcome run(const Context& context, cpu::GemmOf<In, Out>& gemm);
  /// A product without epilogue whose A is transposed, and beside it the sums over k of each of A's
  /// columns: sums (m). False where cuBLASLt has no algorithm for that; nothing is done then.
  template <typename In>
  bool run_with_sums(const Context& context, const cpu::GemmOf<In, float>& gemm, float* sums);

  size_t size() const { return plans_.size(); }
  size_t workspace_bytes() const { return workspace_.size(); }
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

 private:
  struct Plan;
  /// Where the operands of one product stand.
  struct Operands {
    const void *a, *b, *c;
    void* d;
    const void* bias;  // or where the sums go
    void* aux;
  };
  Plan& plan_of(const BlasKey& key, const Operands& at);
  bool multiply(const BlasKey& key, const Operands& at);

  Driver& driver_;
  const BlasLt& library_;
  BlasLt::Handle handle_ = nullptr;
  Buffer workspace_;
  std::map<BlasKey, std::unique_ptr<Plan>> plans_;
};

}  // namespace quern::kernels::cuda
