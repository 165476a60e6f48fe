#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "quern/base/error.h"
#include "quern/explain/estimate.h"
#include "quern/explain/history_explainer.h"
#include "quern/model/decoder.h"

namespace quern::explain {
namespace {

/// A small model with random weights over four items, the last of which nobody took.
run::ItemRun make_run() {
  run::ItemRun run;
  run.config.layers = 1;
  run.config.heads = run.config.kv_heads = 2;
  run.config.width = 16;
  run.config.ffn_width = 32;
  run.config.context = 8;
  run.config.vocabulary = 5;
  model::apply_preset(run.config, "sasrec");
  model::declare_parameters(run.config, run.parameters);
  run.parameters.allocate();
  model::initialise(run.config, run.parameters, 3);
  run.pipeline.items = features::ItemVocabulary({"a", "b", "c", "new"}, {5, 3, 2, 0});
  return run;
}

TEST(History, AnItemThatNobodyTookHasAFiniteBase) {
  run::ItemRun run = make_run();
  ThreadPool pool(1);
  HistoryQuestion question;
  question.history = {1, 2};
  question.target = "new";
  const Explanation found = explain_history(run, pool, question).front();
  // Counts 5, 3, 2, and a half for what was never taken.
  EXPECT_NEAR(found.attribution.base, std::log(0.5 / 10.5), 1e-6);
  EXPECT_LT(found.attribution.completeness_error(), 1e-9);
  question.against = "a";
  EXPECT_NEAR(explain_history(run, pool, question).front().attribution.base, std::log(0.5 / 5),
              1e-6);
}

TEST(History, TheAuditNeedsNoFolder) {
  run::ItemRun run = make_run();
  run.folder = "/nowhere";
  ThreadPool pool(1);
  HistoryQuestion question;
  question.history = {1, 2, 3};
  question.audit = true;
  const Explanation found = explain_history(run, pool, question).front();
  EXPECT_TRUE(found.audit.asked);
  EXPECT_LE(std::abs(found.audit.randomised_correlation), 1);
}

}  // namespace
}  // namespace quern::explain
