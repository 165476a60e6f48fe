#include "quern/kernels/cpu/embedding.h"

#include "quern/base/error.h"
#include "quern/kernels/cpu/kernel_testing.h"
#include "quern/kernels/reference/embedding.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cpu::testing {
namespace {

struct Case {
  int64_t batch, length, width, bag, vocabulary;
  bool positions = false, offsets = false;
};

const Case kCases[] = {
    {1, 1, 1, 1, 1},
    {2, 5, 7, 3, 4, true},
    {3, 11, 33, 2, 9, true, true},
    {12, 64, 100, 1, 65, true},
    {7, 300, 36, 1, 3},
    {2, 16, 520, 2, 8200},
};

struct Data {
  std::vector<int32_t> ids, offsets;
  Floats table, positions;
  int64_t capacity;
  Embedding embedding;
  explicit Data(const Case& c)
      : ids(extent(c.batch * c.length * c.bag)),
        offsets(extent(c.batch)),
        table(normal_floats(c.vocabulary * c.width, 1)),
        capacity(c.length + 5) {
    Random random(3, Stream::kTest);
    for (int32_t& id : ids) {
      // Small ids are frequent, as in text; one in eight is absent from a bag.
      const double u = random.uniform();
      id = static_cast<int32_t>(u * u * static_cast<double>(c.vocabulary));
      if (c.bag > 1 && random.below(8) == 0) id = -1;
    }
    for (int32_t& offset : offsets) offset = static_cast<int32_t>(random.below(6));
    positions = normal_floats(capacity * c.width, 2);
    embedding = {c.batch,
                 c.length,
                 c.width,
                 c.bag,
                 c.vocabulary,
                 ids.data(),
                 table.data(),
                 1.5F,
                 c.positions ? positions.data() : nullptr,
                 c.offsets ? offsets.data() : nullptr};
  }
};

TEST(Embedding, ForwardMatchesTheReference) {
  for (const Case& c : kCases) {
    const Data data(c);
    Floats want(extent(c.batch * c.length * c.width));
    reference::embedding_forward(data.embedding, want.data());
    expect_kernel(want, 1e-6, "embedding", [&](const Context& context) {
      Floats y(want.size());
      embedding_forward(context, data.embedding, y.data());
      return y;
    });
  }
}

TEST(Embedding, BackwardMatchesTheReference) {
  for (const Case& c : kCases) {
    const Data data(c);
    const Floats dy = normal_floats(c.batch * c.length * c.width, 4);
    const Floats table0 = normal_floats(c.vocabulary * c.width, 5);
    const Floats positions0 = normal_floats(data.capacity * c.width, 6);
    // Of the large case, one full pass each way is enough.
    for (int bits = 0; bits < (c.vocabulary > 1000 ? 2 : 8); ++bits) {
      const bool accumulate = bits & 1, with_table = (bits & 2) == 0, with_positions = bits & 4;
      Floats table = table0, positions = positions0;
      reference::embedding_backward<float>(
          data.embedding, dy.data(), with_table ? table.data() : nullptr, accumulate,
          with_positions ? positions.data() : nullptr, accumulate, data.capacity);
      // Sums of up to a thousand normal numbers, whose float32 error grows with the root.
      const double tolerance = c.vocabulary == 3 ? 4e-5 : 4e-6;
      expect_kernel(join(table, positions), tolerance, "embedding", [&](const Context& context) {
        Floats got_table = table0, got_positions = positions0;
        Buffer scratch(embedding_backward_scratch(data.embedding));
        embedding_backward(context, data.embedding, dy.data(),
                           with_table ? got_table.data() : nullptr, accumulate,
                           with_positions ? got_positions.data() : nullptr, accumulate,
                           data.capacity, scratch.data());
        return join(got_table, got_positions);
      });
    }
  }
}

TEST(Embedding, ReferenceGradientsMeetFiniteDifferences) {
  const Data data({2, 3, 2, 2, 4, true, true});
  std::vector<double> table = normal_doubles(8, 1), positions = normal_doubles(16, 2);
  const std::vector<double> dy = normal_doubles(12, 3);
  std::vector<double> y(12), table_grad(8), position_grad(16);
  const auto loss = [&] {
    reference::embedding_forward<double>(data.embedding, table.data(), positions.data(), y.data());
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  reference::embedding_backward<double>(data.embedding, dy.data(), table_grad.data(), false,
                                        position_grad.data(), false, 8);
  expect_near(table_grad, finite_differences(table, loss), "table");
  expect_near(position_grad, finite_differences(positions, loss), "positions");
}

TEST(Embedding, AnIdBeyondTheVocabularyIsAnError) {
  Data data({2, 5, 7, 3, 4});
  data.ids[20] = 4;
  ThreadPool pool(2);
  const Context context{pool};
  Floats y(70), grad(28);
  Buffer scratch(embedding_backward_scratch(data.embedding));
  EXPECT_THROW(embedding_forward(context, data.embedding, y.data()), Error);
  EXPECT_THROW(embedding_backward(context, data.embedding, y.data(), grad.data(), false, nullptr,
                                  false, 0, scratch.data()),
               Error);
}

}  // namespace
}  // namespace quern::kernels::cpu::testing
