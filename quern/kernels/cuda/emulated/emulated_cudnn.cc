#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "quern/kernels/bfloat16.h"
#include "quern/kernels/cuda/emulated/emulated_driver.h"

// libquern_cudnn without cuDNN: attention from its definition in float64, over whole rows of
// scores. As a library may, it has no kernel for heads of 24 values, and takes much memory for
// heads of 40 and more than there is for heads of 48.
namespace quern::kernels::cuda {
namespace {

struct Plan {
  QuernCudnnAttention attention;
  bool backward;
  /// Bytes; written to. Backward about what cuDNN's deterministic one takes.
  size_t workspace() const {
    const QuernCudnnAttention& a = attention;
    const int64_t heads = a.batch * a.heads;
    if (a.head_dim == 48) return size_t{1} << 40;
    if (!backward) return 256;
    if (a.head_dim == 40) return static_cast<size_t>(heads * heads * 8000);
    return static_cast<size_t>(heads * (a.queries * a.keys * 2 + a.queries * 4));
  }
};

const char* error_text = "";

EmulatedDriver& driver_of(void* stream) { return static_cast<EmulatedStream*>(stream)->driver; }

void* create(void* stream) { return stream; }
void destroy(void*) {}

void* plan(void* stream, const QuernCudnnAttention* attention, int backward) {
  driver_of(stream).count_attention_plan();
  error_text = "no kernel for heads of 24 values";
  return attention->head_dim == 24 ? nullptr : new Plan{*attention, backward != 0};
}
void destroy_plan(void* plan) { delete static_cast<Plan*>(plan); }
size_t workspace(const void* plan) { return static_cast<const Plan*>(plan)->workspace(); }

/// A row of one head's: what a query sees, and how much.
class Head {
 public:
  Head(const QuernCudnnAttention& attention, int64_t sample, int64_t head)
      : a_(attention),
        q_(sample * a_.q_batch + head * a_.q_head),
        kv_(sample * a_.kv_batch + head / (a_.heads / a_.kv_heads) * a_.kv_head),
        out_(sample * a_.out_batch + head * a_.out_head),
        stats_(sample * a_.stats_batch + head * a_.stats_head) {}

  int64_t q(int64_t t) const { return q_ + t * a_.q_row; }
  int64_t kv(int64_t j) const { return kv_ + j * a_.kv_row; }
  int64_t out(int64_t t) const { return out_ + t * a_.out_row; }
  int64_t stats(int64_t t) const { return stats_ + t; }

  double dot(const BFloat16* x, const BFloat16* y) const {
    double sum = 0;
    for (int64_t d = 0; d < a_.head_dim; ++d)
      sum += static_cast<double>(static_cast<float>(x[d])) *
             static_cast<double>(static_cast<float>(y[d]));
    return sum;
  }
  /// -∞ where query t does not see key j.
  double score(const BFloat16* q_data, const BFloat16* k_data, int64_t t, int64_t j) const {
    const int64_t position = a_.keys - a_.queries + t;
    if ((a_.causal != 0 && j > position) || (a_.window > 0 && j <= position - a_.window))
      return -std::numeric_limits<double>::infinity();
    return dot(q_data + q(t), k_data + kv(j)) * static_cast<double>(a_.scale);
  }

 private:
  const QuernCudnnAttention& a_;
  int64_t q_, kv_, out_, stats_;
};

double value(BFloat16 x) { return static_cast<double>(static_cast<float>(x)); }

/// Queues `row(head, t)` for each sample, head and query, with the workspace full of what is no
/// number before and after.
template <typename Row>
int run(void* stream, const Plan& plan, void* workspace, const Row& row) {
  auto* driver = &driver_of(stream);
  driver->count_attention();
  driver->queue([plan, workspace, row] {
    std::memset(workspace, 0xFF, plan.workspace());
    for (int64_t sample = 0; sample < plan.attention.batch; ++sample) {
      for (int64_t head = 0; head < plan.attention.heads; ++head) {
        const Head here(plan.attention, sample, head);
        for (int64_t t = 0; t < plan.attention.queries; ++t) row(here, t);
      }
    }
  });
  return 0;
}

int forward(void* stream, void* made, const void* q_data, const void* k_data, const void* v_data,
            void* out_data, float* stats, void* workspace) {
  const Plan plan = *static_cast<Plan*>(made);
  if (plan.backward) return -1;
  const auto* q = static_cast<const BFloat16*>(q_data);
  const auto* k = static_cast<const BFloat16*>(k_data);
  const auto* v = static_cast<const BFloat16*>(v_data);
  auto* out = static_cast<BFloat16*>(out_data);
  return run(stream, plan, workspace, [=, a = plan.attention](const Head& head, int64_t t) {
    double total = 0;
    std::vector<double> sums(static_cast<size_t>(a.head_dim));
    for (int64_t j = 0; j < a.keys; ++j) {
      const double weight = std::exp(head.score(q, k, t, j));
      total += weight;
      for (size_t d = 0; d < sums.size(); ++d)
        sums[d] += weight * value(v[head.kv(j) + static_cast<int64_t>(d)]);
    }
    for (size_t d = 0; d < sums.size(); ++d)
      out[head.out(t) + static_cast<int64_t>(d)] = static_cast<float>(sums[d] / total);
    stats[head.stats(t)] = static_cast<float>(std::log(total));
  });
}

/// Adds up gradients of k and v in float64: several queries, and heads, give to one key.
struct Gradients {
  explicit Gradients(const QuernCudnnAttention& a)
      : k(static_cast<size_t>(a.batch * a.kv_heads * a.keys * a.head_dim)), v(k.size()) {}
  std::vector<double> k, v;
};

void backward_now(const QuernCudnnAttention& a, const BFloat16* q, const BFloat16* k,
                  const BFloat16* v, const BFloat16* out, const float* stats,
                  const BFloat16* out_grad, BFloat16* q_grad, BFloat16* k_grad, BFloat16* v_grad) {
  Gradients sums(a);
  std::vector<double> row(static_cast<size_t>(a.head_dim));
  const int64_t group = a.heads / a.kv_heads;
  const auto place = [&](int64_t sample, int64_t head, int64_t j) {
    return ((sample * a.kv_heads + head / group) * a.keys + j) * a.head_dim;
  };
  const auto at = [](int64_t i) { return static_cast<size_t>(i); };
  for (int64_t i = 0; i < a.batch * a.heads * a.queries; ++i) {
    const int64_t sample = i / (a.heads * a.queries), h = i / a.queries % a.heads;
    const int64_t t = i % a.queries;
    const Head head(a, sample, h);
    const double delta = head.dot(out + head.out(t), out_grad + head.out(t));
    row.assign(row.size(), 0);
    for (int64_t j = 0; j < a.keys; ++j) {
      const double weight =
          std::exp(head.score(q, k, t, j) - static_cast<double>(stats[head.stats(t)]));
      const double slope = weight * (head.dot(v + head.kv(j), out_grad + head.out(t)) - delta) *
                           static_cast<double>(a.scale);
      const int64_t to = place(sample, h, j);
      for (int64_t d = 0; d < a.head_dim; ++d) {
        row[at(d)] += slope * value(k[head.kv(j) + d]);
        sums.k[at(to + d)] += slope * value(q[head.q(t) + d]);
        sums.v[at(to + d)] += weight * value(out_grad[head.out(t) + d]);
      }
    }
    for (int64_t d = 0; d < a.head_dim; ++d) q_grad[head.q(t) + d] = static_cast<float>(row[at(d)]);
  }
  for (int64_t i = 0; i < a.batch * a.kv_heads * a.keys; ++i) {
    const int64_t sample = i / (a.kv_heads * a.keys), h = i / a.keys % a.kv_heads * group;
    const int64_t to = Head(a, sample, h).kv(i % a.keys);
    for (int64_t d = 0; d < a.head_dim; ++d) {
      k_grad[to + d] = static_cast<float>(sums.k[at(place(sample, h, i % a.keys) + d)]);
      v_grad[to + d] = static_cast<float>(sums.v[at(place(sample, h, i % a.keys) + d)]);
    }
  }
}

int backward(void* stream, void* made, const void* q, const void* k, const void* v, const void* out,
             const float* stats, const void* out_grad, void* q_grad, void* k_grad, void* v_grad,
             void* workspace) {
  const Plan plan = *static_cast<Plan*>(made);
  if (!plan.backward) return -1;
  auto* driver = &driver_of(stream);
  driver->count_attention();
  const auto read = [](const void* x) { return static_cast<const BFloat16*>(x); };
  const auto written = [](void* x) { return static_cast<BFloat16*>(x); };
  driver->queue([=] {
    std::memset(workspace, 0xFF, plan.workspace());
    backward_now(plan.attention, read(q), read(k), read(v), read(out), stats, read(out_grad),
                 written(q_grad), written(k_grad), written(v_grad));
  });
  return 0;
}

const char* last_error() { return error_text; }

}  // namespace

const QuernCudnnLibrary& emulated_cudnn() {
  static const QuernCudnnLibrary table{kCudnnLibraryVersion,
                                       create,
                                       destroy,
                                       plan,
                                       destroy_plan,
                                       workspace,
                                       forward,
                                       backward,
                                       last_error};
  return table;
}

}  // namespace quern::kernels::cuda
