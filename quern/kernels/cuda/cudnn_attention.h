#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "quern/kernels/bfloat16.h"
#include "quern/kernels/cpu/attention.h"
#include "quern/kernels/cuda/cudnn_library.h"
#include "quern/kernels/cuda/driver.h"

namespace quern::kernels::cuda {

/// libquern_cudnn beside the program or in ../lib/quern, or where QUERN_CUDNN_LIBRARY says; null
/// where there is none or QUERN_CUDA_CUDNN is 0. Throws Error("no_cudnn") where the variable names
/// one that cannot be used.
const QuernCudnnLibrary* find_cudnn_library();

/// What is planned for cuDNN's workspace, in bytes: a plan is made where there is neither a GPU nor
/// cuDNN to ask, so this follows from extents alone. None where they do not suit cuDNN.
size_t cudnn_forward_scratch(const cpu::AttentionOf<BFloat16>& attention);
/// The deterministic backward keeps a value for each (query, key), so the scratch has a limit, and
/// a pass that needs more runs in parts.
size_t cudnn_backward_scratch(const cpu::AttentionOf<BFloat16>& attention);
inline constexpr size_t kCudnnScratchLimit = size_t{256} << 20;

/// Attention by cuDNN: its kernels are chosen once a shape, so that the same shape runs the same
/// code on every step, and a captured graph holds it. It refuses what Quern's own kernels alone
/// have: dropout (whose random numbers a checkpoint carries from one device to another), ALiBi,
/// segments, lengths and so caches, more than 128 values a head or not a multiple of 8; and what
/// cuDNN has no kernel or not the scratch for.
class CudnnAttention {
 public:
  using Attention = cpu::AttentionOf<BFloat16>;

  /// Null where there is no cuDNN. Throws Error("no_cudnn") where QUERN_CUDNN_LIBRARY names a
  /// library whose cuDNN cannot start.
  static std::unique_ptr<CudnnAttention> open(Driver& driver);
  ~CudnnAttention();
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  /// As attention_forward() and attention_backward() of kernels.h, whose scratch is at least that
  /// above. False where it is refused; nothing is done then. Throws DeviceError where cuDNN fails.
  bool forward(const Attention& attention, BFloat16* out, float* lse, std::byte* scratch);
  bool backward(const Attention& attention, const BFloat16* out, const float* lse,
                const BFloat16* out_grad, BFloat16* q_grad, BFloat16* k_grad, BFloat16* v_grad,
                std::byte* scratch);

  /// How many plans there are.
  size_t size() const;

 private:
  struct Less {
    bool operator()(const QuernCudnnAttention& a, const QuernCudnnAttention& b) const;
  };
  /// One run: the plan of some samples and key-value heads, and the first of them.
  struct Part {
    void* plan;
    int64_t sample, kv_head;
  };
  struct Pass {
    bool backward;
    std::map<QuernCudnnAttention, void*, Less> plans;  // null: cuDNN has no kernel
    std::map<QuernCudnnAttention, std::vector<Part>, Less> parts;
  };

  CudnnAttention(const QuernCudnnLibrary& library, void* handle)
      : library_(library), handle_(handle) {}
  void* plan_of(Pass& pass, const QuernCudnnAttention& shape);
  const std::vector<Part>& division_of(Pass& pass, const QuernCudnnAttention& shape,
                                       size_t scratch);
  bool divide(Pass& pass, const QuernCudnnAttention& shape, int64_t samples, int64_t kv_heads,
              size_t scratch, std::vector<Part>& parts);
  void check(int status) const;

  const QuernCudnnLibrary& library_;
  void* handle_;
  Pass forward_{.backward = false, .plans = {}, .parts = {}};
  Pass backward_{.backward = true, .plans = {}, .parts = {}};
};

}  // namespace quern::kernels::cuda
