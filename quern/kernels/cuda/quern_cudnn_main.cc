// libquern_cudnn: cuDNN's attention as a table of plain functions. Compiled against the headers of
// cuDNN and of its C++ frontend, all of whose types stay here. The frontend is told to load cuDNN
// rather than link to it: so headers are enough to build this, and create() can say why cuDNN is
// not found.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#include <cudnn_frontend.h>
#include <dlfcn.h>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "quern/kernels/cuda/cudnn_library.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // the frontend looks here for cuDNN's functions
}

namespace {

namespace fe = cudnn_frontend;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;
using Extents = std::vector<int64_t>;

enum Id : int64_t { kQ = 1, kK, kV, kOut, kStats, kOutGrad, kQGrad, kKGrad, kVGrad };

struct Plan {
  fe::graph::Graph graph;
  size_t workspace = 0;
};

std::string& error_text() {
  static std::string text;
  return text;
}

/// Runs `work`, which may throw; `otherwise` and the error's text where it does.
template <typename Work, typename Result>
Result guarded(const Work& work, Result otherwise) {
  try {
    return work();
  } catch (const std::exception& error) {
    error_text() = error.what();
  } catch (...) {
    error_text() = "an unknown error";
  }
  return otherwise;
}

void check(fe::error_t status) {
  if (status.is_bad()) throw std::runtime_error(status.get_message());
}

void check(cudnnStatus_t status) {
  if (status != CUDNN_STATUS_SUCCESS)
    throw std::runtime_error(fe::detail::get_error_string(status));
}

void* create(void* stream) {
  return guarded(
      [&]() -> void* {
        if (fe::cudnn_dlhandle == nullptr) {
          fe::cudnn_dlhandle = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
          if (fe::cudnn_dlhandle == nullptr) throw std::runtime_error(dlerror());
        }
        cudnnHandle_t handle = nullptr;
        check(fe::detail::create_handle(&handle));
        const cudnnStatus_t status =
            fe::detail::set_stream(handle, static_cast<cudaStream_t>(stream));
        if (status != CUDNN_STATUS_SUCCESS) fe::detail::destroy_handle(handle);
        check(status);
        return handle;
      },
      static_cast<void*>(nullptr));
}

void destroy(void* handle) { fe::detail::destroy_handle(static_cast<cudnnHandle_t>(handle)); }

/// The tensors of one kind of attention, in cuDNN's order of axes: batch, head, row, value.
class Tensors {
 public:
  Tensors(fe::graph::Graph& graph, const QuernCudnnAttention& attention)
      : graph_(graph), a_(attention) {}

  Tensor query(Id id) { return input(id, rows(), {a_.q_batch, a_.q_head, a_.q_row, 1}); }
  Tensor key(Id id) { return input(id, keys(), {a_.kv_batch, a_.kv_head, a_.kv_row, 1}); }
  Tensor out(Id id) { return input(id, rows(), {a_.out_batch, a_.out_head, a_.out_row, 1}); }
  Tensor stats() {
    Tensor tensor = input(kStats, stats_extents(), stats_strides());
    tensor->set_data_type(fe::DataType_t::FLOAT);
    return tensor;
  }

  void give_query(const Tensor& tensor, Id id) const {
    give(tensor, id, rows(), {a_.q_batch, a_.q_head, a_.q_row, 1});
  }
  void give_key(const Tensor& tensor, Id id) const {
    give(tensor, id, keys(), {a_.kv_batch, a_.kv_head, a_.kv_row, 1});
  }
  void give_out(const Tensor& tensor, Id id) const {
    give(tensor, id, rows(), {a_.out_batch, a_.out_head, a_.out_row, 1});
  }
  void give_stats(const Tensor& tensor) const {
    give(tensor, kStats, stats_extents(), stats_strides());
    tensor->set_data_type(fe::DataType_t::FLOAT);
  }

 private:
  Extents rows() const { return {a_.batch, a_.heads, a_.queries, a_.head_dim}; }
  Extents keys() const { return {a_.batch, a_.kv_heads, a_.keys, a_.head_dim}; }
  Extents stats_extents() const { return {a_.batch, a_.heads, a_.queries, 1}; }
  Extents stats_strides() const { return {a_.stats_batch, a_.stats_head, 1, 1}; }

  Tensor input(Id id, const Extents& extents, const Extents& strides) {
    return graph_.tensor(
        fe::graph::Tensor_attributes().set_uid(id).set_dim(extents).set_stride(strides));
  }
  static void give(const Tensor& tensor, Id id, const Extents& extents, const Extents& strides) {
    tensor->set_output(true).set_uid(id).set_dim(extents).set_stride(strides);
  }

  fe::graph::Graph& graph_;
  const QuernCudnnAttention& a_;
};

template <typename Attributes>
Attributes masked(const QuernCudnnAttention& attention) {
  Attributes attributes;
  attributes.set_attn_scale(attention.scale);
  // Of as many queries as keys both corners are one, and more kernels know the first.
  if (attention.causal != 0) {
    if (attention.queries == attention.keys) {
      attributes.set_causal_mask(true);
    } else {
      attributes.set_causal_mask_bottom_right(true);
    }
  }
  if (attention.window > 0)
    attributes.set_sliding_window_length(static_cast<int>(attention.window));
  return attributes;
}

void add_forward(fe::graph::Graph& graph, const QuernCudnnAttention& attention) {
  Tensors tensors(graph, attention);
  auto attributes = masked<fe::graph::SDPA_attributes>(attention);
#if CUDNN_FRONTEND_VERSION >= 11300
  attributes.set_generate_stats(true);
#else
  attributes.set_is_inference(false);
#endif
  const auto [out, stats] =
      graph.sdpa(tensors.query(kQ), tensors.key(kK), tensors.key(kV), attributes);
  tensors.give_out(out, kOut);
  tensors.give_stats(stats);
}

void add_backward(fe::graph::Graph& graph, const QuernCudnnAttention& attention) {
  Tensors tensors(graph, attention);
  auto attributes = masked<fe::graph::SDPA_backward_attributes>(attention);
  attributes.set_deterministic_algorithm(true);
  const auto [q_grad, k_grad, v_grad] =
      graph.sdpa_backward(tensors.query(kQ), tensors.key(kK), tensors.key(kV), tensors.out(kOut),
                          tensors.out(kOutGrad), tensors.stats(), attributes);
  tensors.give_query(q_grad, kQGrad);
  tensors.give_key(k_grad, kKGrad);
  tensors.give_key(v_grad, kVGrad);
}

void* plan(void* handle, const QuernCudnnAttention* attention, int backward) {
  return guarded(
      [&]() -> void* {
        auto made = std::make_unique<Plan>();
        made->graph.set_io_data_type(fe::DataType_t::BFLOAT16)
            .set_intermediate_data_type(fe::DataType_t::FLOAT)
            .set_compute_data_type(fe::DataType_t::FLOAT);
        (backward != 0 ? add_backward : add_forward)(made->graph, *attention);
        check(made->graph.build(static_cast<cudnnHandle_t>(handle), {fe::HeurMode_t::A}));
        made->workspace = static_cast<size_t>(made->graph.get_workspace_size());
        return made.release();
      },
      static_cast<void*>(nullptr));
}

void destroy_plan(void* plan) { delete static_cast<Plan*>(plan); }
size_t workspace(const void* plan) { return static_cast<const Plan*>(plan)->workspace; }

using Pointers = std::unordered_map<int64_t, void*>;

int execute(void* handle, void* plan, Pointers pointers, void* workspace) {
  return guarded(
      [&] {
        check(static_cast<Plan*>(plan)->graph.execute(static_cast<cudnnHandle_t>(handle), pointers,
                                                      workspace));
        return 0;
      },
      -1);
}

void* data(const void* read) { return const_cast<void*>(read); }

int forward(void* handle, void* plan, const void* q, const void* k, const void* v, void* out,
            float* stats, void* workspace) {
  return execute(handle, plan,
                 {{kQ, data(q)}, {kK, data(k)}, {kV, data(v)}, {kOut, out}, {kStats, stats}},
                 workspace);
}

int backward(void* handle, void* plan, const void* q, const void* k, const void* v, const void* out,
             const float* stats, const void* out_grad, void* q_grad, void* k_grad, void* v_grad,
             void* workspace) {
  return execute(handle, plan,
                 {{kQ, data(q)},
                  {kK, data(k)},
                  {kV, data(v)},
                  {kOut, data(out)},
                  {kStats, data(stats)},
                  {kOutGrad, data(out_grad)},
                  {kQGrad, q_grad},
                  {kKGrad, k_grad},
                  {kVGrad, v_grad}},
                 workspace);
}

const char* last_error() { return error_text().c_str(); }

constexpr QuernCudnnLibrary kLibrary = {quern::kernels::cuda::kCudnnLibraryVersion,
                                        create,
                                        destroy,
                                        plan,
                                        destroy_plan,
                                        workspace,
                                        forward,
                                        backward,
                                        last_error};

}  // namespace

extern "C" const QuernCudnnLibrary* quern_cudnn_library() { return &kLibrary; }
