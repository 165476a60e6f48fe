#include "quern/kernels/cpu/embedding.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "quern/base/error.h"
#include "quern/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/embedding.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "quern/kernels/cpu/math-inl.h"
#include "quern/kernels/cpu/quantized-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

void EmbeddingRow(const cpu::Embedding& embedding, const int32_t* ids, const float* position,
                  float* y) {
  const int64_t width = embedding.width;
  const FloatVec scale = set(embedding.scale);
  for_vectors(0, width, [&](auto part, int64_t i) HWY_ATTR {
    FloatVec sum = set(0);
    for (int64_t j = 0; j < embedding.bag; ++j) {
      if (ids[j] >= 0) sum = hn::Add(sum, part.load(embedding.table + ids[j] * width + i));
    }
    sum = hn::Mul(sum, scale);
    if (position) sum = hn::Add(sum, part.load(position + i));
    part.store(sum, y + i);
  });
}

template <int kBits>
void QuantizedEmbeddingRow(const cpu::Embedding& embedding, const int32_t* ids,
                           const float* position, float* y) {
  const FloatVec scale = set(embedding.scale);
  for (int64_t block = 0; block < embedding.quantized.row_scales(); ++block) {
    FloatVec sum[kBlockVectors];
    for (FloatVec& part : sum) part = set(0);
    for (int64_t j = 0; j < embedding.bag; ++j) {
      if (ids[j] < 0) continue;
      FloatVec weights[kBlockVectors];
      load_weights<kBits>(embedding.quantized, ids[j], block, weights);
      for (int64_t v = 0; v < kBlockVectors; ++v) sum[v] = hn::Add(sum[v], weights[v]);
    }
    for (int64_t v = 0; v < kBlockVectors; ++v) {
      const int64_t at = block * kQuantizedBlock + v * kLanes;
      sum[v] = hn::Mul(sum[v], scale);
      if (position) sum[v] = hn::Add(sum[v], hn::LoadU(Floats(), position + at));
      hn::StoreU(sum[v], Floats(), y + at);
    }
  }
}

/// As EmbeddingRow, of a quantised table.
void EmbeddingRowOfBits(const cpu::Embedding& embedding, const int32_t* ids, const float* position,
                        float* y) {
  (embedding.quantized.bits == 8 ? QuantizedEmbeddingRow<8>
                                 : QuantizedEmbeddingRow<4>)(embedding, ids, position, y);
}

/// out[begin, end) (+)= scale · Σ rows[k][begin, end) over `count` rows of y_grad. Sums of 64 rows
/// are summed again, which keeps the error of a frequent id small.
void GatherSum(const float* y_grad, int64_t width, const int32_t* rows, int64_t count,
               int64_t begin, int64_t end, float scale, float* out, bool accumulate) {
  constexpr int64_t kBlock = 64;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  const FloatVec factor = set(scale);
  int64_t i = begin;
  for (; i + 4 * lanes <= end; i += 4 * lanes) {
    FloatVec t0 = set(0), t1 = t0, t2 = t0, t3 = t0;
    for (int64_t first = 0; first < count; first += kBlock) {
      FloatVec s0 = set(0), s1 = s0, s2 = s0, s3 = s0;
      for (int64_t k = first; k < std::min(count, first + kBlock); ++k) {
        const float* from = y_grad + rows[k] * width + i;
        s0 = hn::Add(s0, hn::LoadU(Floats(), from));
        s1 = hn::Add(s1, hn::LoadU(Floats(), from + lanes));
        s2 = hn::Add(s2, hn::LoadU(Floats(), from + 2 * lanes));
        s3 = hn::Add(s3, hn::LoadU(Floats(), from + 3 * lanes));
      }
      t0 = hn::Add(t0, s0);
      t1 = hn::Add(t1, s1);
      t2 = hn::Add(t2, s2);
      t3 = hn::Add(t3, s3);
    }
    const auto put = [&](FloatVec t, float* to) HWY_ATTR {
      t = hn::Mul(t, factor);
      hn::StoreU(accumulate ? hn::Add(hn::LoadU(Floats(), to), t) : t, Floats(), to);
    };
    put(t0, out + i);
    put(t1, out + i + lanes);
    put(t2, out + i + 2 * lanes);
    put(t3, out + i + 3 * lanes);
  }
  for_vectors(i, end, [&](auto part, int64_t j) HWY_ATTR {
    FloatVec total = set(0);
    for (int64_t first = 0; first < count; first += kBlock) {
      FloatVec sum = set(0);
      for (int64_t k = first; k < std::min(count, first + kBlock); ++k) {
        sum = hn::Add(sum, part.load(y_grad + rows[k] * width + j));
      }
      total = hn::Add(total, sum);
    }
    total = hn::Mul(total, factor);
    part.store(accumulate ? hn::Add(part.load(out + j), total) : total, out + j);
  });
}

/// out[begin, end) (+)= Σ_b y_grad[b, position - offsets[b]].
void PositionSum(const cpu::Embedding& embedding, const float* y_grad, int64_t position, float* out,
                 bool accumulate) {
  const int64_t width = embedding.width;
  for_vectors(0, width, [&](auto part, int64_t i) HWY_ATTR {
    FloatVec sum = set(0);
    for (int64_t b = 0; b < embedding.batch; ++b) {
      const int64_t t = position - (embedding.offsets ? embedding.offsets[b] : 0);
      if (t < 0 || t >= embedding.length) continue;
      sum = hn::Add(sum, part.load(y_grad + (b * embedding.length + t) * width + i));
    }
    part.store(accumulate ? hn::Add(part.load(out + i), sum) : sum, out + i);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::kernels::cpu {
namespace {
HWY_EXPORT(EmbeddingRow);
HWY_EXPORT(EmbeddingRowOfBits);
HWY_EXPORT(GatherSum);
HWY_EXPORT(PositionSum);

// Ids of the backward pass that one task handles.
constexpr int64_t kRange = 1024;

void check_id(const cpu::Embedding& embedding, int64_t at) {
  const int32_t id = embedding.ids[at];
  if (id < embedding.vocabulary) return;
  const int64_t row = at / embedding.bag;
  throw Error("id_out_of_range",
              "embedding: id " + std::to_string(id) + " at (" +
                  std::to_string(row / embedding.length) + ", " +
                  std::to_string(row % embedding.length) + ") is not below the vocabulary of " +
                  std::to_string(embedding.vocabulary),
              "the tokenizer and the model must have the same vocabulary");
}
}  // namespace

void embedding_forward(const Context& context, const cpu::Embedding& embedding, float* y) {
  const int64_t width = embedding.width, bag = embedding.bag;
  for_chunks(context, embedding.batch * embedding.length, rows_per_task(width * bag),
             [&](int64_t begin, int64_t end) {
               for (int64_t row = begin; row < end; ++row) {
                 for (int64_t j = 0; j < bag; ++j) check_id(embedding, row * bag + j);
                 const float* position = nullptr;
                 if (embedding.positions) {
                   const int64_t b = row / embedding.length;
                   const int64_t offset = embedding.offsets ? embedding.offsets[b] : 0;
                   position = embedding.positions + (offset + row % embedding.length) * width;
                 }
                 const auto one = embedding.quantized.data != nullptr
                                      ? HWY_DYNAMIC_DISPATCH(EmbeddingRowOfBits)
                                      : HWY_DYNAMIC_DISPATCH(EmbeddingRow);
                 one(embedding, embedding.ids + row * bag, position, y + row * width);
               }
             });
}

size_t embedding_backward_scratch(const cpu::Embedding& embedding) {
  const int64_t entries = embedding.batch * embedding.length * embedding.bag;
  return static_cast<size_t>(embedding.vocabulary + 1 + entries) * sizeof(int32_t);
}

void embedding_backward(const Context& context, const cpu::Embedding& embedding,
                        const float* y_grad, float* table_grad, bool accumulate_table,
                        float* position_grad, bool accumulate_positions, int64_t position_capacity,
                        std::byte* scratch) {
  const int64_t width = embedding.width;
  if (table_grad) {
    // A counting sort by id: the rows of id v are rows[ends[v - 1], ends[v]), in their order.
    const int64_t vocabulary = embedding.vocabulary;
    const int64_t entries = embedding.batch * embedding.length * embedding.bag;
    auto* starts = reinterpret_cast<int32_t*>(scratch);
    int32_t* rows = starts + vocabulary + 1;
    std::fill_n(starts, vocabulary + 1, 0);
    for (int64_t i = 0; i < entries; ++i) {
      check_id(embedding, i);
      if (embedding.ids[i] >= 0) ++starts[embedding.ids[i] + 1];
    }
    for (int64_t v = 0; v < vocabulary; ++v) starts[v + 1] += starts[v];
    for (int64_t i = 0; i < entries; ++i) {
      if (embedding.ids[i] >= 0) {
        rows[starts[embedding.ids[i]]++] = static_cast<int32_t>(i / embedding.bag);
      }
    }
    const int32_t* ends = starts;

    // Few ids need columns to split the work; many are split enough by themselves.
    const int64_t ranges = divide_up(vocabulary, kRange);
    const int64_t columns = ranges >= 8 ? 512 : 64;
    const int64_t blocks = divide_up(width, columns);
    const auto task = [&](int64_t index, int64_t) {
      const int64_t first = index / blocks * kRange;
      const int64_t begin = index % blocks * columns;
      const int64_t end = std::min(width, begin + columns);
      for (int64_t v = first; v < std::min(vocabulary, first + kRange); ++v) {
        const int32_t from = v == 0 ? 0 : ends[v - 1];
        float* out = table_grad + v * width;
        if (ends[v] > from) {
          HWY_DYNAMIC_DISPATCH(GatherSum)
          (y_grad, width, rows + from, ends[v] - from, begin, end, embedding.scale, out,
           accumulate_table);
        } else if (!accumulate_table) {
          std::fill(out + begin, out + end, 0.0F);
        }
      }
    };
    const int64_t work = entries * width + (accumulate_table ? 0 : vocabulary * width);
    if (work <= 2 * kTaskElements) {
      for (int64_t index = 0; index < ranges * blocks; ++index) task(index, 0);
    } else {
      for_chunks(context, ranges * blocks, 1, task);
    }
  }
  if (position_grad) {
    const int64_t rows = rows_per_task(width * std::max<int64_t>(1, embedding.batch));
    for_chunks(context, position_capacity, rows, [&](int64_t begin, int64_t end) {
      for (int64_t position = begin; position < end; ++position) {
        HWY_DYNAMIC_DISPATCH(PositionSum)
        (embedding, y_grad, position, position_grad + position * width, accumulate_positions);
      }
    });
  }
}

}  // namespace quern::kernels::cpu
#endif
