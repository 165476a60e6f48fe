#include "quern/train/ranks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "quern/base/error.h"
#include "quern/task/rows.h"
#include "quern/task/text_problem.h"
#include "quern/train/engine.h"
#include "quern/train/gather.h"
#include "quern/train/ranks_testing.h"
#include "quern/train/text_testing.h"

namespace quern::train {
namespace {

/// With dropout, so that what is drawn must follow the sample and not the rank.
std::unique_ptr<task::TextProblem> make_problem(int64_t vocabulary = 29) {
  model::ModelConfig config = small_model("gpt2", {.vocabulary = vocabulary});
  config.dropout = 0.1F;
  return std::make_unique<task::TextProblem>(config, random_stream(config.vocabulary, 2000, 1),
                                             random_stream(config.vocabulary, 300, 2), 0.1, 1);
}

Outcome train(int count, const EngineOptions& options, int64_t steps, int64_t vocabulary = 29) {
  Outcome outcome;
  as_ranks(count, [&](Ranks& ranks) {
    const auto problem = make_problem(vocabulary);
    ThreadPool pool(1);
    Engine engine(*problem, options, pool, ranks);
    EXPECT_EQ(engine.planned_bytes(), engine.allocated_bytes());
    write_outcome(outcome, engine, ranks, train_steps(engine, steps));
  });
  return outcome;
}

TEST(Ranks, SumsAndSharesWords) {
  as_ranks(3, [](Ranks& ranks) {
    std::vector<double> values = {1.0, static_cast<double>(ranks.rank())};
    ranks.sum(values);
    EXPECT_THAT(values, testing::ElementsAre(3, 3));
    EXPECT_TRUE(ranks.any(ranks.rank() == 2));
    EXPECT_FALSE(ranks.any(false));
    EXPECT_THAT(ranks.from_all(7.0 + ranks.rank()), testing::ElementsAre(7, 8, 9));
    EXPECT_EQ(ranks.from_root(ranks.root() ? "a run" : ""), "a run");
    EXPECT_EQ(ranks.on_this_machine(), 3);
    EXPECT_EQ(ranks.threads(5), 5);
    EXPECT_EQ(ranks.threads(0),
              std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / 3));
  });
  Ranks alone;
  EXPECT_TRUE(alone.root());
  EXPECT_EQ(alone.from_root("here"), "here");
  EXPECT_THAT(alone.from_all(3), testing::ElementsAre(3));
  EXPECT_EQ(alone.threads(0), 0);
}

task::KnownRows category_rows(int64_t count) {
  task::KnownRows side;
  side.inputs.columns.rows = count;
  side.inputs.columns.categories = 2;
  for (int64_t row = 0; row < count; ++row) {
    for (const int64_t value : {row % 4, row * 3 % 7})
      side.inputs.columns.category_ids.push_back(static_cast<int32_t>(value));
    side.targets.classes.push_back(static_cast<int32_t>(row % 3));
  }
  return side;
}

TEST(Ranks, AllHoldWhatAnEvaluationAnswered) {
  model::EncoderConfig config;
  config.trunk.layers = 1;
  config.trunk.heads = config.trunk.kv_heads = 2;
  config.trunk.width = 8;
  config.trunk.ffn_width = 16;
  config.trunk.causal = false;
  config.trunk.position = model::Position::kNone;
  config.trunk.vocabulary = 0;
  config.categories = {4, 7};
  config.outputs = 3;
  config.head_width = 8;
  std::vector<task::RowsProblem::Evaluated> whole(2);  // everything; some rows
  for (const int count : {1, 3}) {
    as_ranks(count, [&](Ranks& ranks) {
      const task::KnownRows rows = category_rows(80);
      std::vector<int64_t> train(30), validation(50);
      std::iota(train.begin(), train.end(), 0);
      std::iota(validation.begin(), validation.end(), 30);
      task::RowsProblem problem(config, rows, train, validation, {});
      ThreadPool pool(1);
      EngineOptions options;
      options.batch = 6;
      Engine engine(problem, options, pool, ranks);
      for (const uint64_t limit : {uint64_t{0}, uint64_t{20}}) {
        SCOPED_TRACE(limit);
        task::RowsProblem::Evaluated& expected = whole[limit > 0 ? 1 : 0];
        engine.evaluate(task::Part::kValidation, limit);
        engine.evaluate(task::Part::kTrain);  // of which nothing is kept
        if (count == 1) {
          expected = problem.evaluated();
          EXPECT_EQ(expected.rows.size(), limit > 0 ? 25U : 50U);
        } else {
          EXPECT_EQ(problem.evaluated().rows, expected.rows);
          EXPECT_TRUE(same_bits(problem.evaluated().answers, expected.answers));
        }
      }
    });
  }
}

TEST(Shards, PiecesAreThoseOfAnyNumberOfRanks) {
  graph::ParameterStore store;
  store.declare("wide", Shape{300, 500}, graph::ParameterGroup::kMatrix);
  store.declare("small", Shape{7, 3}, graph::ParameterGroup::kMatrix);
  store.declare("table", Shape{1000, 200}, graph::ParameterGroup::kEmbedding);
  store.declare("bias", Shape{33}, graph::ParameterGroup::kVector);
  store.lay_out();
  for (const bool muon : {false, true}) {
    for (const int ranks : {1, 2, 3, 7}) {
      const Shards shards(store, ranks, muon);
      size_t at = 0;
      for (const auto& [range, parameter] : shards.units()) {
        EXPECT_EQ(range.begin, at);
        EXPECT_LE(range.end - range.begin, Shards::kUnit);
        at = range.end;
        int owners = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          const auto piece = common(range, shards.owned(rank));
          if (piece.begin == piece.end) continue;
          ++owners;
          EXPECT_EQ(piece.end - piece.begin, range.end - range.begin) << "a unit is cut";
          if (muon && parameter == 0) {
            EXPECT_EQ(shards.owned(rank).begin, 0U) << "a matrix is cut";
          }
        }
        EXPECT_EQ(owners, 1);
      }
      EXPECT_EQ(at, store.arena_floats());
      const auto first = shards.owned(0);
      if (ranks == 2) {
        EXPECT_NEAR(static_cast<double>(first.end) / static_cast<double>(at), 0.5, 0.1);
      }
    }
  }
}

TEST(GradientExchange, EveryOwnerHasTheSum) {
  for (const int count : {2, 3, 4}) {
    graph::ParameterStore store;
    store.declare("first", Shape{400, 300}, graph::ParameterGroup::kMatrix);
    store.declare("second", Shape{500, 700}, graph::ParameterGroup::kMatrix);
    store.declare("bias", Shape{40}, graph::ParameterGroup::kVector);
    store.lay_out();
    const std::vector<int32_t> whole_after = {5, 3, 4};
    const auto part = [](int rank, size_t i) {
      return static_cast<float>(static_cast<int>(i * 7 % 1000) - 500 + 1000 * rank);
    };
    as_ranks(count, [&](Ranks& ranks) {
      const Shards shards(store, count, false);
      std::vector<float> gradients(store.arena_floats());
      HostExchange exchange(ranks, shards, gradients, whole_after);
      EXPECT_EQ(exchange.allocated_bytes(), HostExchange::planned_bytes(count));
      for (int round = 0; round < 2; ++round) {
        for (size_t i = 0; i < gradients.size(); ++i) gradients[i] = part(ranks.rank(), i);
        exchange.begin();
        for (int32_t step = 0; step < 7; ++step) exchange.advance(step);
        exchange.finish();
        const auto owned = shards.owned(ranks.rank());
        int wrong = 0;
        for (size_t i = owned.begin; i < owned.end; ++i) {
          float sum = 0;
          for (int rank = 0; rank < count; ++rank) sum += part(rank, i);
          wrong += gradients[i] != sum ? 1 : 0;
        }
        EXPECT_EQ(wrong, 0) << "of " << owned.end - owned.begin;
      }
    });
  }
}

TEST(GradientExchange, AddsInAPairwiseTree) {
  std::vector<float> parts = {1e8F, 1, -1e8F, 1, 3};
  std::vector<float*> pointers;
  for (float& part : parts) pointers.push_back(&part);
  tree_add(pointers, 1);
  EXPECT_EQ(parts[0], ((1e8F + 1.0F) + (-1e8F + 1.0F)) + 3.0F);
}

TEST(Engine, ExactRanksGiveTheSameBits) {
  for (const bool muon : {false, true}) {
    const Outcome one = train(1, rank_options(true, muon), 6);
    for (const int count : {2, 4, 8}) {
      const Outcome many = train(count, rank_options(true, muon), 6);
      EXPECT_TRUE(same_bits(one.values, many.values)) << count << " ranks";
      EXPECT_EQ(one.losses, many.losses);
      EXPECT_EQ(one.validation, many.validation);
      EXPECT_EQ(one.norm, many.norm);
    }
  }
}

TEST(Engine, RanksAgreeWithinRounding) {
  const Outcome one = train(1, rank_options(false), 1);
  for (const int count : {2, 4}) {
    const Outcome many = train(count, rank_options(false), 1);
    EXPECT_NEAR(one.losses[0], many.losses[0], 1e-6);
    EXPECT_NEAR(static_cast<double>(one.norm), static_cast<double>(many.norm), 1e-6);
    EXPECT_NEAR(one.validation, many.validation, 1e-6);
  }
}

TEST(Engine, RanksRunThePlanOfTheScarcest) {
  const auto flops_with = [](const graph::Recompute& recompute) {
    const auto problem = make_problem();
    ThreadPool pool(1);
    Ranks alone;
    EngineOptions options = rank_options(true);
    options.recompute = recompute;
    return Engine(*problem, options, pool, alone).flops_per_step();
  };
  const double whole = flops_with({.light = 1, .full = 2});
  ASSERT_GT(whole, flops_with({}));
  as_ranks(2, [&](Ranks& ranks) {
    const auto problem = make_problem();
    ThreadPool pool(1);
    EngineOptions options = rank_options(true);
    options.recompute = ranks.root() ? graph::Recompute{.light = 1} : graph::Recompute{.full = 2};
    const Engine engine(*problem, options, pool, ranks);
    EXPECT_EQ(2 * engine.flops_per_step(), whole);
    EXPECT_EQ(engine.planned_bytes(), engine.allocated_bytes());
  });
}

TEST(Engine, RefusesABatchThatCannotBeShared) {
  EngineOptions options = rank_options(false);
  EXPECT_THROW(divide_step(options, 3), UsageError);
  options.batch = 12;
  EXPECT_EQ(divide_step(options, 3).rows, 4);
  options.accumulate = 6;
  EXPECT_EQ(divide_step(options, 4).each, 3);
  EXPECT_EQ(divide_step(options, 4).rows, 1);
  options.exact = true;
  options.accumulate = 1;
  EXPECT_EQ(divide_step(options, 1).total, 4);
  EXPECT_EQ(divide_step(options, 4).rows, 3);
  EXPECT_THROW(divide_step(options, 3), UsageError);
  EXPECT_THROW(divide_step(options, 8), UsageError);
}

/// All that a checkpoint holds, on the root.
std::map<std::string, std::vector<float>> gathered_tensors(Ranks& ranks, Engine& engine) {
  const GatheredTensors gathered = gather(ranks, engine.tensors());
  std::map<std::string, std::vector<float>> tensors;
  for (const NamedTensor& tensor : gathered.tensors)
    tensors[tensor.name].assign(tensor.values.begin(), tensor.values.end());
  return tensors;
}

/// With a table so large that its rows belong to several ranks.
void checkpoints_pass_between_ranks(const fs::path& folder, const EngineOptions& options) {
  constexpr int64_t kWords = 9000;
  const Outcome whole = train(1, options, 5, kWords);
  std::map<std::string, std::vector<float>> saved;  // by one rank
  const auto expect_as_saved = [&](const auto& tensors) {
    ASSERT_EQ(tensors.size(), saved.size());
    for (const auto& [name, values] : tensors) EXPECT_TRUE(same_bits(values, saved[name])) << name;
  };
  for (const int before : {1, 2, 4}) {
    SCOPED_TRACE(before);
    as_ranks(before, [&](Ranks& ranks) {
      const auto problem = make_problem(kWords);
      ThreadPool pool(1);
      Engine engine(*problem, options, pool, ranks);
      for (int64_t step = 0; step < 3; ++step) {
        engine.step(step, 1e-3);
        if (step == 1) engine.keep_best();
      }
      const auto tensors = gathered_tensors(ranks, engine);
      const GatheredTensors gathered = gather(ranks, engine.tensors());
      if (!ranks.root()) return;
      if (before == 1) saved = tensors;
      expect_as_saved(tensors);
      Progress progress;
      progress.step = before;
      save_checkpoint(folder, progress, gathered.tensors);
    });
    const fs::path path = folder / ("step-" + std::to_string(before) + ".safetensors");
    for (const int after : {1, 2, 8}) {
      SCOPED_TRACE(after);
      as_ranks(after, [&](Ranks& ranks) {
        const auto problem = make_problem(kWords);
        ThreadPool pool(1);
        Engine engine(*problem, options, pool, ranks);
        load_checkpoint(path, engine.tensors());
        const auto tensors = gathered_tensors(ranks, engine);
        if (ranks.root()) expect_as_saved(tensors);
        for (int64_t step = 3; step < 5; ++step) engine.step(step, 1e-3);
        EXPECT_TRUE(same_bits(whole.values, engine.parameters().values()));
      });
    }
  }
}

TEST(Checkpoint, OfAnyNumberOfRanksLoadsInAnyOther) {
  const fs::path folder =
      fs::temp_directory_path() / ("quern_ranks_test." + std::to_string(getpid()));
  for (const bool muon : {false, true}) {
    SCOPED_TRACE(muon);
    fs::create_directories(folder);
    checkpoints_pass_between_ranks(folder, rank_options(true, muon));
    fs::remove_all(folder);
  }
}

}  // namespace
}  // namespace quern::train
