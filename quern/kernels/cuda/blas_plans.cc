#include "quern/kernels/cuda/blas_plans.h"

#include <fmt/format.h>

#include <initializer_list>
#include <type_traits>

namespace quern::kernels::cuda {
namespace {

void check(int status, const char* call) {
  if (status == 0) return;
  throw DeviceError(fmt::format("cuBLASLt: {} gives status {}", call, status),
                    "look the status up in NVIDIA's cublas_api.h; QUERN_CUDA_BLAS=0 does without "
                    "cuBLASLt");
}

int compute_type(Precision precision) {
  switch (precision) {
    case Precision::kTf32:
      return blas::kComputeTf32;
    case Precision::kBf16:
      return blas::kComputeBf16;
    case Precision::kFloat32:
      break;
  }
  return blas::kCompute32F;
}

uint32_t alignment_of(std::initializer_list<const void*> pointers) {
  uintptr_t all = 256;
  for (const void* x : pointers) all |= reinterpret_cast<uintptr_t>(x);
  return static_cast<uint32_t>(all & (~all + 1));
}

template <typename T>
constexpr int kTypeOf = std::is_same_v<T, float> ? blas::kFloat32 : blas::kBFloat16;

template <typename In, typename Out>
BlasKey key_of(const cpu::GemmOf<In, Out>& gemm, Precision precision) {
  return {.m = gemm.m,
          .n = gemm.n,
          .k = gemm.k,
          .lda = gemm.lda,
          .ldb = gemm.ldb,
          .ldc = gemm.ldc,
          .transpose_a = gemm.transpose_a,
          .transpose_b = gemm.transpose_b,
          .in = kTypeOf<In>,
          .out = kTypeOf<Out>,
          .precision = std::is_same_v<In, float> ? precision : Precision::kFloat32};
}

}  // namespace

template <typename In, typename Out>
BlasSplit<In, Out> split_product(const cpu::GemmOf<In, Out>& gemm, Precision precision, bool bare) {
  BlasSplit<In, Out> split;
  BlasKey& key = split.key;
  key = key_of(gemm, precision);
  const bool activates = gemm.activation != Activation::kNone;
  // GELU with its tanh, and the value before it, are in the library; other activations are not.
  const bool gelu = !bare && gemm.activation == Activation::kGeluTanh && !gemm.accumulate &&
                    gemm.residual == nullptr;
  const bool plain = !activates && gemm.pre_activation == nullptr;
  if (gelu) {
    key.epilogue = gemm.pre_activation != nullptr ? blas::kEpilogueGeluAux : blas::kEpilogueGelu;
    if (gemm.bias != nullptr) key.epilogue |= blas::kEpilogueBias;
  } else if (plain && !bare && gemm.bias != nullptr) {
    key.epilogue = blas::kEpilogueBias;
  }
  // A residual in the place of the result can only be added as the product is made: a later pass
  // would read what the product has overwritten.
  const bool in_place = gemm.residual != nullptr && gemm.residual == gemm.c;
  if (gemm.accumulate) {
    split.c = gemm.c;
  } else if (plain && (!bare || in_place)) {
    split.c = gemm.residual;
  }
  key.adds = split.c != nullptr;
  split.left = gemm;
  if (split.c != nullptr && split.c == gemm.residual) split.left.residual = nullptr;
  const bool extra = gemm.bias != nullptr || split.left.residual != nullptr || !plain;
  split.finish = bare ? extra : (!plain && !gelu) || (gemm.accumulate && gemm.residual != nullptr);
  split.possible = !(split.finish && in_place && split.left.residual != nullptr);
  if (split.finish) key.epilogue = blas::kEpilogueDefault;
  key.alignment = alignment_of({gemm.a, gemm.b, gemm.c, split.c, gemm.bias, gemm.pre_activation});
  return split;
}

// Row-major C = op(A)·op(B) is column-major Cᵀ = op(B)ᵀ·op(A)ᵀ over the same memory: the operands
// change places and keep their orientation.
struct BlasPlans::Plan {
  Plan(const BlasLt& library, const BlasKey& key) : library_(library), key_(key) {
    check(library.matmul_desc_create(&desc, compute_type(key.precision), blas::kFloat32),
          "cublasLtMatmulDescCreate");
    const int32_t first = key.transpose_b ? 1 : 0;
    const int32_t second = key.transpose_a ? 1 : 0;
    set(blas::kTransposeA, first);
    set(blas::kTransposeB, second);
    set(blas::kEpilogue, key.epilogue);
    if (has(blas::kEpilogueGeluAux)) set(blas::kAuxStride, key.ldc);
    const auto extent = [](int64_t x) { return static_cast<uint64_t>(x); };
    layout(&b, first != 0 ? extent(key.k) : extent(key.n),
           first != 0 ? extent(key.n) : extent(key.k), key.ldb, key.in);
    layout(&a, second != 0 ? extent(key.m) : extent(key.k),
           second != 0 ? extent(key.k) : extent(key.m), key.lda, key.in);
    layout(&c, extent(key.n), extent(key.m), key.ldc, key.out);
  }
  ~Plan() {
    for (void* matrix : {a, b, c}) {
      if (matrix != nullptr) library_.layout_destroy(matrix);
    }
    if (desc != nullptr) library_.matmul_desc_destroy(desc);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  bool has(uint32_t epilogue) const { return (key_.epilogue & epilogue) == epilogue; }
  /// Before the algorithm is chosen, too: it may depend on the pointers' alignment.
  void point(const Operands& at) const {
    if (has(blas::kEpilogueBias) || has(blas::kEpilogueSumsOfB)) set(blas::kBiasPointer, at.bias);
    if (has(blas::kEpilogueGeluAux)) set(blas::kAuxPointer, at.aux);
  }

  template <typename T>
  void set(int attribute, const T& value) const {
    check(library_.matmul_desc_set(desc, attribute, &value, sizeof(value)),
          "cublasLtMatmulDescSetAttribute");
  }
  void layout(void** matrix, uint64_t rows, uint64_t columns, int64_t stride, int type) const {
    check(library_.layout_create(matrix, type, rows, columns, stride),
          "cublasLtMatrixLayoutCreate");
  }

  void choose(BlasLt::Handle handle, size_t workspace) {
    void* preference = nullptr;
    check(library_.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
    int status =
        library_.preference_set(preference, blas::kWorkspaceBytes, &workspace, sizeof(workspace));
    for (int operand = 0; operand < 4 && status == 0; ++operand) {
      status = library_.preference_set(preference, blas::kFirstAlignment + operand, &key_.alignment,
                                       sizeof(key_.alignment));
    }
    BlasHeuristic found{};
    int count = 0;
    // A shape without an algorithm is no failure: an own kernel takes it.
    if (status == 0 &&
        library_.heuristic(handle, desc, b, a, c, c, preference, 1, &found, &count) == 0) {
      usable = count > 0 && found.state == 0;
      algorithm = found.algorithm;
    }
    library_.preference_destroy(preference);
    check(status, "cublasLtMatmulPreferenceSetAttribute");
  }

  const BlasLt& library_;
  const BlasKey key_;
  void *desc = nullptr, *a = nullptr, *b = nullptr, *c = nullptr;
  BlasAlgorithm algorithm{};
  bool usable = false;
};

BlasPlans::BlasPlans(Driver& driver, const BlasLt& library) : driver_(driver), library_(library) {
  check(library_.create(&handle_), "cublasLtCreate");
  workspace_ = Buffer(kWorkspaceBytes, &driver_, Memory::kDevice);
}

BlasPlans::~BlasPlans() {
  plans_.clear();
  library_.destroy(handle_);
}

BlasPlans::Plan& BlasPlans::plan_of(const BlasKey& key, const Operands& at) {
  std::unique_ptr<Plan>& plan = plans_[key];
  if (plan == nullptr) {
    auto made = std::make_unique<Plan>(library_, key);
    made->point(at);
    made->choose(handle_, workspace_.size());
    plan = std::move(made);
  }
  return *plan;
}

bool BlasPlans::multiply(const BlasKey& key, const Operands& at) {
  const Plan& plan = plan_of(key, at);
  if (!plan.usable) return false;
  plan.point(at);
  const float one = 1;
  const float beta = key.adds ? 1 : 0;
  check(library_.matmul(handle_, plan.desc, &one, at.b, plan.b, at.a, plan.a, &beta,
                        at.c != nullptr ? at.c : at.d, plan.c, at.d, plan.c, &plan.algorithm,
                        workspace_.data(), workspace_.size(), driver_.stream(Queue::kCompute)),
        "cublasLtMatmul");
  return true;
}

template <typename In, typename Out>
BlasOutcome BlasPlans::run(const Context& context, cpu::GemmOf<In, Out>& gemm) {
  // The library may know the product and not the epilogue.
  for (const bool bare : {false, true}) {
    const BlasSplit<In, Out> split = split_product(gemm, context.precision, bare);
    const Operands at{gemm.a, gemm.b, split.c, gemm.c, gemm.bias, gemm.pre_activation};
    if (!split.possible || !multiply(split.key, at)) continue;
    gemm = split.left;
    return split.finish ? BlasOutcome::kProduct : BlasOutcome::kDone;
  }
  return BlasOutcome::kRefused;
}

template <typename In>
bool BlasPlans::run_with_sums(const Context& context, const cpu::GemmOf<In, float>& gemm,
                              float* sums) {
  BlasKey key = key_of(gemm, context.precision);
  const float* c = gemm.accumulate ? gemm.c : nullptr;
  key.adds = gemm.accumulate;
  key.epilogue = blas::kEpilogueSumsOfB;
  key.alignment = alignment_of({gemm.a, gemm.b, gemm.c, sums});
  return multiply(key, {gemm.a, gemm.b, c, gemm.c, sums, nullptr});
}

#define QUERN_INSTANTIATE(In, Out)                                                         \
  template BlasSplit<In, Out> split_product(const cpu::GemmOf<In, Out>&, Precision, bool); \
  template BlasOutcome BlasPlans::run(const Context&, cpu::GemmOf<In, Out>&);
QUERN_INSTANTIATE(float, float)
QUERN_INSTANTIATE(BFloat16, BFloat16)
QUERN_INSTANTIATE(BFloat16, float)
#undef QUERN_INSTANTIATE
template bool BlasPlans::run_with_sums(const Context&, const cpu::GemmOf<float>&, float*);
template bool BlasPlans::run_with_sums(const Context&, const cpu::GemmOf<BFloat16, float>&, float*);

}  // namespace quern::kernels::cuda
