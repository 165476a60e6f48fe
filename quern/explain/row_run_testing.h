#pragma once

#include <numeric>
#include <string>

#include "quern/base/random.h"
#include "quern/data/table_reader.h"
#include "quern/model/encoder.h"
#include "quern/run/row_run.h"
#include "quern/task/table_task.h"

namespace quern::explain {

/// A small encoder with random weights over two numbers, and the rows that it is held against.
struct Small {
  task::TableTask training;
  run::RowRun run;

  explicit Small(bool classify, int64_t copies = 1) {
    Random random(2, Stream::kTest);
    std::string text = "a,b,y\n";
    for (int i = 0; i < 12; ++i) {
      const uint64_t a = random.below(100), b = random.below(100);
      text += std::to_string(a) + "," + std::to_string(b) + (a + b < 100 ? ",0\n" : ",1\n");
    }
    training.table = data::read_csv_text(text, "rows");
    training.target = 2;
    training.split.train.resize(training.table.rows());
    std::iota(training.split.train.begin(), training.split.train.end(), size_t{0});
    run::RowPipeline& pipeline = training.pipeline;
    pipeline.task = classify ? "classify" : "regress";
    pipeline.target = "y";
    if (classify) pipeline.classes = {"0", "1"};
    pipeline.columns = features::ColumnEncoder::fit(
        training.table, data::infer_types(training.table, {}), "y", training.split.train, 4);
    run.folder = "/nowhere";
    run.pipeline = pipeline;
    model::apply_preset(run.config.trunk, "ft-transformer");
    run.config.trunk.layers = 1;
    run.config.trunk.heads = run.config.trunk.kv_heads = 1;
    run.config.trunk.width = run.config.trunk.ffn_width = 4;
    run.config.trunk.vocabulary = 0;
    run.config.numbers = 2;
    run.config.number_bins = pipeline.columns.number_bins();
    run.config.head_width = 4;
    run.config.answer = classify ? model::Answer::kClass : model::Answer::kValue;
    run.config.outputs = classify ? 2 : 1;
    run.config.copies = copies;
    model::declare_encoder(run.config, run.parameters);
    run.parameters.allocate();
    model::initialise_encoder(run.config, run.parameters, 1);
    for (size_t i = 0; i < run.parameters.parameters().size(); ++i)
      for (float& value : run.parameters.value(static_cast<int32_t>(i)).f32_span())
        value += 0.2F * static_cast<float>(random.normal());
  }
};

}  // namespace quern::explain
