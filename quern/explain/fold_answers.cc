#include "quern/explain/fold_answers.h"

#include <algorithm>

#include "quern/infer/row_predictor.h"
#include "quern/task/linear_start.h"

namespace quern::explain {

graph::ParameterStore copy_of(const run::RowRun& run, int64_t copy) {
  graph::ParameterStore store;
  model::declare_encoder(run.config.single(), store);
  store.use(run.parameters.gpu());
  const std::string prefix = run.config.copy_prefix(copy);
  const auto count = static_cast<int32_t>(store.parameters().size());
  const auto original = [&](int32_t index) {
    const std::string& name = store.parameters()[static_cast<size_t>(index)].name;
    return run.parameters.value(run.parameters.find(prefix + name));
  };
  for (int32_t i = 0; i < count; ++i) {
    const DType dtype = original(i).type.dtype;
    if (is_quantized(dtype)) store.quantize(i, dtype);
  }
  store.allocate();
  for (int32_t i = 0; i < count; ++i) {
    const TensorView from = original(i);
    std::copy_n(from.data, from.type.bytes(), store.value(i).data);
  }
  return store;
}

namespace {

task::RowInputs fold_inputs(const run::RowRun& run, const task::TableTask& task,
                            const run::Options& options, ThreadPool& pool) {
  features::EncodedRows rows = run.pipeline.columns.encode(task.table, task.split.train, &pool);
  std::vector<float> linear;
  if (run.config.linear) {
    linear =
        task::fit_linear_start(run.pipeline, rows, task.weighted_targets(task.split.train, options),
                               task.split.folds, static_cast<uint32_t>(run.config.copies), pool)
            .scores;
  }
  return task::make_row_inputs(std::move(rows), run.config, run.tokenizer.get(), std::move(linear));
}

void append(task::RowAnswers& to, const std::vector<float>& answers,
            const task::RowTargets& targets) {
  const auto add = [](auto& all, const auto& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  add(to.answers, answers);
  add(to.targets.classes, targets.classes);
  add(to.targets.values, targets.values);
}

}  // namespace

FoldAnswers answer_folds(const run::RowRun& run, const task::TableTask& task,
                         const run::Options& options, ThreadPool& pool) {
  const task::RowInputs inputs = fold_inputs(run, task, options, pool);
  FoldAnswers out;
  for (int64_t copy = 0; copy < run.config.copies; ++copy) {
    graph::ParameterStore parameters = copy_of(run, copy);
    infer::RowPredictor predictor(run.config.single(), parameters, pool);
    const auto answer = [&](int64_t fold, task::RowAnswers& to) {
      std::vector<size_t> rows, places;
      for (size_t row = 0; row < task.split.train.size(); ++row) {
        if (task.split.folds[row] != static_cast<uint32_t>(fold)) continue;
        rows.push_back(row);
        places.push_back(task.split.train[row]);
      }
      append(to, predictor.predict(inputs.select(rows), run.pipeline.temperature),
             task.targets(places));
    };
    answer(copy, out.unseen);
    answer((copy + 1) % run.config.copies, out.seen);
  }
  return out;
}

}  // namespace quern::explain
