#include "quern/kernels/cuda/cudnn_attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <string_view>
#include <tuple>

#include "quern/base/file.h"
#include "quern/kernels/cuda/launch.h"
#include "quern/kernels/cuda/shared_library.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cuda {
namespace {

constexpr const char* kWhere = "QUERN_CUDNN_LIBRARY";
constexpr size_t kDescriptorBytes = 1024;

[[noreturn]] void no_cudnn(const std::string& why) {
  throw Error("no_cudnn", fmt::format("cuDNN cannot be used: {}", why),
              fmt::format("mend it, or unset {}: own kernels compute attention then", kWhere));
}

/// The table of the library there; null, and why, where it cannot be used.
const QuernCudnnLibrary* table_of(const fs::path& place, std::string& reason) {
  const SharedLibrary library{place.c_str()};
  decltype(&quern_cudnn_library) function = nullptr;
  if (!library.find(kCudnnLibrarySymbol, function)) {
    reason =
        library.open() ? fmt::format("{} is another library", place.string()) : library.reason();
    return nullptr;
  }
  const QuernCudnnLibrary* table = function();
  if (table->version == kCudnnLibraryVersion) return table;
  reason = fmt::format("{} is of another version of Quern", place.string());
  return nullptr;
}

/// Extents, strides and rates: what is known when a plan is made. A window is taken where it lies
/// alike from both corners of the scores.
bool has_a_shape_for_cudnn(const CudnnAttention::Attention& a) {
  const auto whole = [](int64_t x) { return x % 8 == 0; };  // of 16 bytes
  return a.dropout == 0 && a.head_dim > 0 && a.head_dim <= 128 && whole(a.head_dim) &&
         (a.window > 0 ? a.queries == a.capacity : a.queries <= a.capacity) && whole(a.q_batch) &&
         whole(a.q_row) && whole(a.q_head) && whole(a.kv_batch) && whole(a.kv_row) &&
         whole(a.kv_head) && a.window <= std::numeric_limits<int32_t>::max();
}

/// What is known when it runs.
bool has_inputs_for_cudnn(const CudnnAttention::Attention& a,
                          std::initializer_list<const void*> data) {
  uintptr_t all = 0;
  for (const void* x : data) {
    if (x == nullptr) return false;
    all |= reinterpret_cast<uintptr_t>(x);
  }
  return all % 16 == 0 && a.lengths == nullptr && a.segments == nullptr &&
         a.alibi_slopes == nullptr;
}

QuernCudnnAttention shape_of(const CudnnAttention::Attention& a) {
  const int64_t width = a.heads * a.head_dim;
  return {.batch = a.batch,
          .queries = a.queries,
          .keys = a.capacity,
          .heads = a.heads,
          .kv_heads = a.kv_heads,
          .head_dim = a.head_dim,
          .q_batch = a.q_batch,
          .q_row = a.q_row,
          .q_head = a.q_head,
          .kv_batch = a.kv_batch,
          .kv_row = a.kv_row,
          .kv_head = a.kv_head,
          .out_batch = a.queries * width,
          .out_row = width,
          .out_head = a.head_dim,
          .stats_batch = a.heads * a.queries,
          .stats_head = a.queries,
          .causal = a.causal ? 1 : 0,
          .window = a.window,
          .scale = a.scale};
}

auto fields(const QuernCudnnAttention& a) {
  return std::tie(a.batch, a.queries, a.keys, a.heads, a.kv_heads, a.head_dim, a.q_batch, a.q_row,
                  a.q_head, a.kv_batch, a.kv_row, a.kv_head, a.out_batch, a.out_row, a.out_head,
                  a.stats_batch, a.stats_head, a.causal, a.window, a.scale);
}

/// Where one part's operands stand in those of the whole.
struct Place {
  Place(const QuernCudnnAttention& a, int64_t sample, int64_t kv_head) {
    const int64_t head = kv_head * (a.heads / a.kv_heads);
    q = sample * a.q_batch + head * a.q_head;
    kv = sample * a.kv_batch + kv_head * a.kv_head;
    out = sample * a.out_batch + head * a.out_head;
    stats = sample * a.stats_batch + head * a.stats_head;
  }
  int64_t q, kv, out, stats;
};

}  // namespace

const QuernCudnnLibrary* find_cudnn_library() {
  const char* wanted = std::getenv("QUERN_CUDA_CUDNN");
  if (wanted != nullptr && std::string_view(wanted) == "0") return nullptr;
  std::string reason;
  if (const char* named = std::getenv(kWhere)) {
    const QuernCudnnLibrary* table = table_of(named, reason);
    if (table == nullptr) no_cudnn(reason);
    return table;
  }
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& folder : {here, here.parent_path() / "lib" / "quern"}) {
    if (const QuernCudnnLibrary* table = table_of(folder / kCudnnLibraryFile, reason)) return table;
  }
  return nullptr;
}

// What cuDNN 9.19 asks for on compute 8.0, 9.0 and 10.0, or a little more: forward a descriptor;
// backward the slope of each score in tiles of 64 · 128, a sum a row, and, where heads share keys,
// gradients of k and v of each head.
size_t cudnn_forward_scratch(const CudnnAttention::Attention& a) {
  return has_a_shape_for_cudnn(a) ? kDescriptorBytes : 0;
}

size_t cudnn_backward_scratch(const CudnnAttention::Attention& a) {
  if (!has_a_shape_for_cudnn(a)) return 0;
  const int64_t slopes = parts_of(a.queries, 64) * 64 * parts_of(a.capacity, 128) * 128 * 2;
  const int64_t shared = a.heads > a.kv_heads ? a.capacity * a.head_dim * 8 : 0;
  const auto all = static_cast<size_t>(a.batch * a.heads * (slopes + a.queries * 4 + shared));
  return Buffer::align(std::min(all + kDescriptorBytes, kCudnnScratchLimit));
}

bool CudnnAttention::Less::operator()(const QuernCudnnAttention& a,
                                      const QuernCudnnAttention& b) const {
  return fields(a) < fields(b);
}

size_t CudnnAttention::size() const {
  const auto usable = [](const Pass& pass) {
    return std::count_if(pass.plans.begin(), pass.plans.end(),
                         [](const auto& made) { return made.second != nullptr; });
  };
  return static_cast<size_t>(usable(forward_) + usable(backward_));
}

std::unique_ptr<CudnnAttention> CudnnAttention::open(Driver& driver) {
  const QuernCudnnLibrary* library = driver.cudnn();
  if (library == nullptr) return nullptr;
  void* handle = library->create(driver.stream(Queue::kCompute));
  if (handle != nullptr)
    return std::unique_ptr<CudnnAttention>(new CudnnAttention(*library, handle));
  if (std::getenv(kWhere) != nullptr) no_cudnn(library->last_error());
  return nullptr;
}

CudnnAttention::~CudnnAttention() {
  for (const Pass* pass : {&forward_, &backward_}) {
    for (const auto& [shape, plan] : pass->plans) {
      if (plan != nullptr) library_.destroy_plan(plan);
    }
  }
  library_.destroy(handle_);
}

void CudnnAttention::check(int status) const {
  if (status == 0) return;
  throw DeviceError(fmt::format("cuDNN: {}", library_.last_error()),
                    "QUERN_CUDA_CUDNN=0 does without cuDNN");
}

void* CudnnAttention::plan_of(Pass& pass, const QuernCudnnAttention& shape) {
  const auto [found, made] = pass.plans.try_emplace(shape, nullptr);
  if (made) found->second = library_.plan(handle_, &shape, pass.backward ? 1 : 0);
  return found->second;
}

bool CudnnAttention::divide(Pass& pass, const QuernCudnnAttention& shape, int64_t samples,
                            int64_t kv_heads, size_t scratch, std::vector<Part>& parts) {
  parts.clear();
  for (int64_t sample = 0; sample < shape.batch; sample += samples) {
    for (int64_t kv_head = 0; kv_head < shape.kv_heads; kv_head += kv_heads) {
      QuernCudnnAttention part = shape;
      part.batch = std::min(samples, shape.batch - sample);
      part.kv_heads = std::min(kv_heads, shape.kv_heads - kv_head);
      part.heads = shape.heads / shape.kv_heads * part.kv_heads;
      void* plan = plan_of(pass, part);
      if (plan == nullptr || library_.workspace(plan) > scratch) return false;
      parts.push_back({plan, sample, kv_head});
    }
  }
  return true;
}

/// None where it is refused.
const std::vector<CudnnAttention::Part>& CudnnAttention::division_of(
    Pass& pass, const QuernCudnnAttention& shape, size_t scratch) {
  const auto [found, made] = pass.parts.try_emplace(shape);
  std::vector<Part>& parts = found->second;
  if (!made || plan_of(pass, shape) == nullptr) return parts;
  int64_t samples = shape.batch;
  int64_t kv_heads = shape.kv_heads;
  while (!divide(pass, shape, samples, kv_heads, scratch, parts)) {
    parts.clear();
    if (samples > 1) {
      samples = (samples + 1) / 2;
    } else if (kv_heads > 1) {
      kv_heads = (kv_heads + 1) / 2;
    } else {
      break;
    }
  }
  return parts;
}

bool CudnnAttention::forward(const Attention& attention, BFloat16* out, float* lse,
                             std::byte* scratch) {
  if (!has_a_shape_for_cudnn(attention) ||
      !has_inputs_for_cudnn(attention, {attention.q, attention.k, attention.v, out, lse}))
    return false;
  const QuernCudnnAttention shape = shape_of(attention);
  const auto& parts = division_of(forward_, shape, cudnn_forward_scratch(attention));
  for (const Part& part : parts) {
    const Place at(shape, part.sample, part.kv_head);
    check(library_.forward(handle_, part.plan, attention.q + at.q, attention.k + at.kv,
                           attention.v + at.kv, out + at.out, lse + at.stats, scratch));
  }
  return !parts.empty();
}

bool CudnnAttention::backward(const Attention& attention, const BFloat16* out, const float* lse,
                              const BFloat16* out_grad, BFloat16* q_grad, BFloat16* k_grad,
                              BFloat16* v_grad, std::byte* scratch) {
  if (!has_a_shape_for_cudnn(attention) ||
      !has_inputs_for_cudnn(attention, {attention.q, attention.k, attention.v, out, lse, out_grad,
                                        q_grad, k_grad, v_grad}))
    return false;
  const QuernCudnnAttention shape = shape_of(attention);
  const auto& parts = division_of(backward_, shape, cudnn_backward_scratch(attention));
  for (const Part& part : parts) {
    const Place at(shape, part.sample, part.kv_head);
    check(library_.backward(handle_, part.plan, attention.q + at.q, attention.k + at.kv,
                            attention.v + at.kv, out + at.out, lse + at.stats, out_grad + at.out,
                            q_grad + at.q, k_grad + at.kv, v_grad + at.kv, scratch));
  }
  return !parts.empty();
}

}  // namespace quern::kernels::cuda
