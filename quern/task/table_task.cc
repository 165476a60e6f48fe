#include "quern/task/table_task.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/data/table_reader.h"
#include "quern/run/defaults.h"

namespace quern::task {
namespace {

using data::ColumnFacts;
using data::ColumnType;

class TableTaskMaker {
 public:
  TableTaskMaker(const run::Options& options, Reporter& reporter)
      : options_(options), reporter_(reporter) {}

  TableTask make(std::span<const fs::path> paths) {
    read(paths);
    note_sources(paths);
    find_target();
    choose_task();
    keep_rows_with_target();
    if (task_.pipeline.task == "classify") find_classes();
    divide();
    fit();
    note();
    return std::move(task_);
  }

 private:
  void read(std::span<const fs::path> paths) {
    std::vector<fs::path> all(paths.begin(), paths.end());
    const std::string validation(options_.text("data.validation"));
    validation_is_file_ = !validation.empty() && !data::parse_number(validation);
    if (validation_is_file_) all.emplace_back(validation);
    task_.table =
        data::read_table(all, {.table = std::string(options_.text("data.table"))}, reporter_);
    if (validation_is_file_) {
      validation_begin_ = task_.table.rows();
      while (validation_begin_ > 0 &&
             task_.table.where(validation_begin_ - 1).starts_with(fmt::format("'{}'", validation)))
        --validation_begin_;
    }
    task_.facts =
        data::infer_types(task_.table, data::parse_type_overrides(options_.text("data.types")));
  }

  /// Where the data stood, so that it can be looked at again: one path a line.
  void note_sources(std::span<const fs::path> paths) {
    std::string& sources = task_.pipeline.record.split["sources"];
    for (const fs::path& path : paths) {
      sources += (sources.empty() ? "" : "\n") + fs::absolute(path).lexically_normal().string();
    }
  }

  void find_target() {
    const std::string target(options_.text("data.target"));
    const int found = task_.table.find(target);
    if (found < 0 && target == data::kLabelColumn && task_.table.columns().size() == 1 &&
        task_.table.find(data::kImageColumn) == 0) {
      throw Error("no_classes", "the pictures have no classes to learn",
                  "put them into folders named by class (class/file.jpg), give an IDX file's "
                  "labels beside it, or a table of pictures with --target");
    }
    if (found < 0) {
      const std::vector<std::string> names(task_.table.columns().begin(),
                                           task_.table.columns().end());
      const auto near = nearest(target, names);
      throw UsageError(
          "unknown_column",
          fmt::format(
              "--target {}: the data has no such column; it has {}", target,
              fmt::join(names.begin(),
                        names.begin() + static_cast<ptrdiff_t>(std::min<size_t>(names.size(), 12)),
                        ", ")),
          near ? fmt::format("did you mean '{}'?", *near) : "name one of the columns");
    }
    task_.target = static_cast<size_t>(found);
    task_.pipeline.target = target;
  }

  void keep_rows_with_target() {
    for (size_t row = 0; row < task_.table.rows(); ++row) {
      if (!lacks_target(row)) rows_.push_back(row);
    }
    const size_t without = task_.table.rows() - rows_.size();
    if (without > 0) {
      reporter_.note(
          fmt::format("{} rows without a '{}' are left out", without, task_.pipeline.target));
    }
  }

  bool lacks_target(size_t row) const {
    return data::lacks_target(task_.table.cell(row, task_.target),
                              task_.pipeline.task == "classify");
  }

  void choose_task() {
    const ColumnFacts& facts = task_.facts[task_.target];
    if (facts.distinct < 2) {
      throw Error("constant_target",
                  facts.distinct == 0 ? fmt::format("no row has a '{}'", facts.name)
                                      : fmt::format("every row has the same '{}': {}", facts.name,
                                                    facts.examples.front()),
                  "give a target with at least two values");
    }
    const std::string_view asked = options_.text("data.task");
    if (asked == "classify" || asked == "regress") {
      task_.pipeline.task = asked;
      task_.task_reason = "set by --task";
    } else if (data::is_class_target(facts)) {
      task_.pipeline.task = "classify";
      task_.task_reason = fmt::format("'{}' has {} values", facts.name, facts.distinct);
    } else {
      task_.pipeline.task = "regress";
      task_.task_reason = fmt::format("'{}' is a number with {}{} values", facts.name,
                                      facts.distinct, facts.distinct_more ? "+" : "");
    }
    if (task_.pipeline.task == "regress") require_numbers(facts);
  }

  void require_numbers(const ColumnFacts& facts) const {
    if (facts.type == ColumnType::kNumber && facts.unreadable == 0) return;
    for (size_t row = 0; row < task_.table.rows(); ++row) {
      const std::string_view cell = task_.table.cell(row, task_.target);
      if (lacks_target(row) || data::parse_written_number(cell)) continue;
      const std::string message =
          fmt::format("{}: '{}' in the target '{}' is no number", task_.table.where(row),
                      cell.substr(0, 60), facts.name);
      if (options_.text("data.task") == "regress")
        throw UsageError("bad_target", message, "leave --task out, or choose another target");
      throw Error("bad_target", message,
                  "mend the value or leave it empty; --task classify takes values as classes");
    }
  }

  void find_classes() {
    std::map<std::string, size_t, std::less<>> counts;
    for (const size_t row : rows_) ++counts[std::string(task_.table.cell(row, task_.target))];
    if (counts.size() > data::kMostClasses) {
      throw Error("too_many_classes",
                  fmt::format("'{}' has {} different values; {} classes are the most",
                              task_.pipeline.target, counts.size(), data::kMostClasses),
                  "choose another target, or join rare values");
    }
    for (const auto& [value, count] : counts) {
      if (count < 2) {
        throw Error("class_too_small",
                    fmt::format("class '{}' has one row only, so it cannot be both learnt and "
                                "checked",
                                value),
                    "add rows of that class, join it with another, or leave its row out");
      }
      task_.pipeline.classes.push_back(value);
    }
    choose_positive(counts);
  }

  /// Of two classes, the one that scores, threshold and costs speak of: said, or the rarer.
  void choose_positive(const std::map<std::string, size_t, std::less<>>& counts) {
    run::RowPipeline& p = task_.pipeline;
    if (p.classes.size() != 2) {
      for (const char* key : {"data.positive", "data.metric", "data.costs"}) {
        if (!options_.is_explicit(key) || options_.is_auto(key)) continue;
        throw UsageError("bad_value",
                         fmt::format("{} = {} speaks of one of two classes, and '{}' has {}", key,
                                     options_.text(key), p.target, p.classes.size()),
                         "leave it out");
      }
      return;
    }
    const std::string said(options_.text("data.positive"));
    const auto named = std::find(p.classes.begin(), p.classes.end(), said);
    if (!said.empty() && named == p.classes.end()) {
      throw UsageError("bad_value",
                       fmt::format("data.positive = {} is no class of '{}'", said, p.target),
                       fmt::format("give {} or {}", p.classes[0], p.classes[1]));
    }
    p.positive = said.empty() ? (counts.begin()->second < std::next(counts.begin())->second ? 0 : 1)
                              : static_cast<int>(named - p.classes.begin());
    reporter_.note(
        fmt::format("scores, threshold and costs speak of {} = {}{}", p.target,
                    p.classes[static_cast<size_t>(p.positive)],
                    said.empty() ? " (the rarer; override with --set data.positive=)" : ""));
  }

  void divide() {
    data::RowSplitOptions split;
    split.mode = options_.text("data.split");
    split.test = options_.number("data.test");
    split.classes = task_.pipeline.task == "classify";
    split.seed = static_cast<uint64_t>(options_.integer("seed"));
    const bool pictures =
        std::any_of(task_.facts.begin(), task_.facts.end(),
                    [](const ColumnFacts& facts) { return facts.type == ColumnType::kImage; });
    const int64_t folds = run::folds_of(options_, rows_.size(), pictures);
    if (folds > 1) {
      divide_into_folds(static_cast<uint32_t>(folds), split);
      return;
    }
    if (validation_is_file_) {
      for (const char* key : {"data.test", "data.split"}) {
        if (key == std::string_view("data.test") ? options_.number(key) == 0
                                                 : options_.text(key) == "auto")
          continue;
        throw UsageError("bad_value",
                         fmt::format("{} = {} divides rows, and data.validation = {} has done so",
                                     key, options_.text(key), options_.text("data.validation")),
                         "leave one of them out");
      }
      for (const size_t row : rows_)
        (row < validation_begin_ ? task_.split.train : task_.split.validation).push_back(row);
      task_.split.reason = fmt::format("validation is {}", options_.text("data.validation"));
      if (task_.split.train.empty() || task_.split.validation.empty())
        throw Error("too_few_rows", "one of the files has no row with a target", "give both");
      return;
    }
    split.validation = run::validation_share(options_);
    // Of very many rows a smaller share says as much.
    constexpr double kEnough = 50'000;
    if (!options_.is_explicit("data.validation"))
      split.validation = std::min(split.validation, kEnough / static_cast<double>(rows_.size()));
    task_.split = data::split_rows(task_.table, rows_, task_.target, split,
                                   data::beside_the_point(task_.facts));
  }

  /// Every row outside the test part is in one fold.
  void divide_into_folds(uint32_t count, data::RowSplitOptions split) {
    if (validation_is_file_ || split.mode.find(':') != std::string::npos ||
        split.mode == "contiguous") {
      throw UsageError("bad_value",
                       fmt::format("data.folds = {} divides rows at random, against {}", count,
                                   validation_is_file_ ? "data.validation" : "data.split"),
                       "leave one of them out");
    }
    split.validation = 0;
    task_.split = data::split_rows(task_.table, rows_, task_.target, split,
                                   data::beside_the_point(task_.facts));
    task_.split.folds = data::fold_of_rows(task_.table, task_.split.train, task_.target,
                                           split.classes && split.mode != "random", count,
                                           split.seed, data::beside_the_point(task_.facts));
    task_.split.reason += fmt::format(
        "; {} folds, each validated by a model that did not see "
        "it; override with --folds",
        count);
  }

  void fit() {
    run::RowPipeline& p = task_.pipeline;
    p.columns = features::ColumnEncoder::fit(task_.table, task_.facts, p.target, task_.split.train);
    if (p.columns.columns().empty()) {
      throw Error("no_columns",
                  fmt::format("no column is left to predict '{}' from: {}", p.target, left_out()),
                  "override with data.types, such as \"NAME = category\"");
    }
    if (p.task == "regress") {
      double sum = 0;
      double squares = 0;
      for (const size_t row : task_.split.train) sum += value_of(row);
      p.mean = sum / static_cast<double>(task_.split.train.size());
      for (const size_t row : task_.split.train) squares += std::pow(value_of(row) - p.mean, 2);
      p.deviation = std::sqrt(squares / static_cast<double>(task_.split.train.size()));
      if (!(p.deviation > 0)) {
        throw Error("constant_target", "every training row has the same target",
                    "give more rows, or another data.split");
      }
      if (!std::isfinite(p.deviation)) {
        throw Error(
            "target_range",
            fmt::format("'{}' reaches from {:.3g} to {:.3g}: too far to scale", p.target,
                        task_.facts[task_.target].minimum, task_.facts[task_.target].maximum),
            "mend the slip, or give the target in other units");
      }
    }
    p.record.task = p.task;
    p.record.data_fingerprint = task_.table.fingerprint();
    p.record.split["data.split"] = options_.text("data.split");
    p.record.split["how"] = task_.split.reason;
    p.record.counts = {{"train.rows", task_.split.train.size()},
                       {"validation.rows", task_.split.validation.size()},
                       {"test.rows", task_.split.test.size()}};
  }

  double value_of(size_t row) const {
    return data::parse_written_number(task_.table.cell(row, task_.target)).value();
  }

  std::string left_out() const {
    std::vector<std::string> parts;
    for (const ColumnFacts& facts : task_.facts) {
      if (facts.name == task_.pipeline.target) continue;
      if (facts.type == ColumnType::kId || facts.type == ColumnType::kConstant ||
          facts.type == ColumnType::kIgnore) {
        parts.push_back(
            fmt::format("{} ({}: {})", facts.name, data::name(facts.type), facts.reason));
      }
    }
    return parts.empty() ? "there is none" : fmt::format("{}", fmt::join(parts, "; "));
  }

  void note() {
    const run::RowPipeline& p = task_.pipeline;
    reporter_.note(fmt::format("task: {} ({}; override with --task)", p.task, task_.task_reason));
    std::map<ColumnType, std::vector<std::string>> by_type;
    for (const ColumnFacts& facts : task_.facts) {
      if (facts.name != p.target) by_type[facts.type].push_back(facts.name);
      if (facts.name != p.target && facts.unreadable > 0) {
        reporter_.note(fmt::format("{}: '{}' is no {}; {} such values of '{}' count as missing",
                                   facts.unreadable_where, facts.unreadable_example,
                                   data::name(facts.type), facts.unreadable, facts.name));
      }
    }
    for (const auto& [type, names] : by_type) {
      if (type == ColumnType::kId || type == ColumnType::kConstant || type == ColumnType::kIgnore)
        continue;
      constexpr size_t kShown = 20;
      const size_t shown = std::min(names.size(), kShown);
      reporter_.note(fmt::format(
          "{} columns: {}{}", data::name(type),
          fmt::join(names.begin(), names.begin() + static_cast<ptrdiff_t>(shown), ", "),
          shown < names.size() ? fmt::format(" and {} more", names.size() - shown) : ""));
    }
    if (left_out() != "there is none") {
      reporter_.note(fmt::format("left out: {}; override with data.types", left_out()));
    }
    reporter_.note(fmt::format("rows: {} to train on, {} to validate on{} ({})",
                               task_.split.train.size(), task_.split.validation.size(),
                               task_.split.test.empty()
                                   ? ""
                                   : fmt::format(", {} kept for a test", task_.split.test.size()),
                               task_.split.reason));
  }

  const run::Options& options_;
  Reporter& reporter_;
  TableTask task_;
  std::vector<size_t> rows_;  // with a target
  bool validation_is_file_ = false;
  size_t validation_begin_ = 0;
};

}  // namespace

RowTargets TableTask::targets(std::span<const size_t> rows) const {
  std::vector<size_t> copy(rows.begin(), rows.end());
  return read_targets(table, pipeline, copy);
}

RowTargets TableTask::weighted_targets(std::span<const size_t> rows,
                                       const run::Options& options) const {
  RowTargets out = targets(rows);
  if (options.text("data.class_weights") == "balanced") balance_classes(out);
  return out;
}

TableTask make_table_task(std::span<const fs::path> paths, const run::Options& options,
                          Reporter& reporter) {
  return TableTaskMaker(options, reporter).make(paths);
}

RowTargets read_targets(const data::Table& table, const run::RowPipeline& pipeline,
                        std::vector<size_t>& rows) {
  const int column = table.find(pipeline.target);
  if (column < 0) {
    throw Error("missing_column",
                fmt::format("the data lacks the target '{}' to score against", pipeline.target),
                "give labelled data, or use quern predict");
  }
  std::map<std::string, int32_t, std::less<>> ids;
  for (const std::string& value : pipeline.classes)
    ids.emplace(value, static_cast<int32_t>(ids.size()));
  RowTargets targets;
  std::vector<size_t> kept;
  for (const size_t row : rows) {
    const std::string_view cell = table.cell(row, static_cast<size_t>(column));
    const bool classes = pipeline.task == "classify";
    if (data::lacks_target(cell, classes)) continue;
    kept.push_back(row);
    if (classes) {
      const auto found = ids.find(cell);
      if (found == ids.end()) {
        throw Error(
            "unknown_class",
            fmt::format(
                "{}: '{}' is no class of the model, which knows {}", table.where(row), cell,
                fmt::join(pipeline.classes.begin(),
                          pipeline.classes.begin() +
                              static_cast<ptrdiff_t>(std::min<size_t>(pipeline.classes.size(), 12)),
                          ", ")),
            "mend the label, or train on data that has it");
      }
      targets.classes.push_back(found->second);
    } else {
      const auto value = data::parse_written_number(cell);
      if (!value) {
        throw Error("unreadable_target",
                    fmt::format("{}: '{}' is no number", table.where(row), cell),
                    "mend the value, or leave the row out");
      }
      targets.values.push_back(static_cast<float>((*value - pipeline.mean) / pipeline.deviation));
    }
  }
  rows = std::move(kept);
  return targets;
}

}  // namespace quern::task
