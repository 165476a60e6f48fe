#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "quern/base/strings.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/cli/row_input.h"
#include "quern/data/csv_parser.h"
#include "quern/formats/json.h"
#include "quern/infer/row_predictor.h"
#include "quern/run/row_run.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

struct Flags {
  std::string run, input, output = "-";
};

void note_other_columns(const Invocation& invocation, const data::Table& table,
                        const run::RowPipeline& pipeline) {
  const std::vector<std::string> known = pipeline.columns.columns();
  std::string ignored;
  for (const std::string& name : table.columns()) {
    if (name == pipeline.target || std::find(known.begin(), known.end(), name) != known.end())
      continue;
    ignored += ignored.empty() ? name : ", " + name;
  }
  if (!ignored.empty()) {
    invocation.reporter->note(fmt::format("columns that the model does not read: {}", ignored));
  }
}

/// One row of output, as CSV or as a line of JSON.
class PredictionWriter {
 public:
  PredictionWriter(const run::RowPipeline& pipeline, bool json) : p_(pipeline), json_(json) {
    if (json_) return;
    out_ = "prediction";
    if (p_.task == "regress") {
      out_ += ",interval_low,interval_high";
    } else {
      for (const std::string& name : p_.classes)
        out_ += "," + data::csv_field("probability " + name);
    }
    out_ += '\n';
  }

  void add(std::span<const float> answer) {
    if (p_.task == "regress") {
      add_value(p_.mean + p_.deviation * static_cast<double>(answer.front()));
    } else {
      add_class(answer);
    }
  }

  const std::string& text() const { return out_; }

 private:
  void add_value(double value) {
    const double low = value - p_.interval;
    const double high = value + p_.interval;
    if (json_) {
      out_ += ordered_json{{"prediction", value}, {"interval", {low, high}}}.dump() + "\n";
    } else {
      out_ += fmt::format("{:.9g},{:.9g},{:.9g}\n", value, low, high);
    }
  }

  void add_class(std::span<const float> probabilities) {
    const std::string& name = p_.classes[run::chosen_class(p_, probabilities)];
    if (!json_) {
      out_ += data::csv_field(name);
      for (const float p : probabilities) out_ += fmt::format(",{:.6g}", p);
      out_ += '\n';
      return;
    }
    ordered_json each;
    for (size_t i = 0; i < probabilities.size(); ++i) each[p_.classes[i]] = probabilities[i];
    out_ += formats::json_text({{"prediction", name}, {"probability", std::move(each)}});
  }

  const run::RowPipeline& p_;
  bool json_;
  std::string out_;
};

int run_predict(Invocation& invocation, const Flags& flags) {
  run::RowRun run = run::load_row_run(flags.run);
  const data::Table table = read_rows(invocation, flags.input);
  note_other_columns(invocation, table, run.pipeline);
  ThreadPool pool(static_cast<int>(invocation.options.integer("threads")));
  run.parameters.use(invocation.gpu.get());
  infer::RowPredictor predictor(run.config, run.parameters, pool);
  const bool json = flags.output.ends_with(".jsonl") || (flags.output == "-" && invocation.json);
  PredictionWriter writer(run.pipeline, json);
  const auto begin = std::chrono::steady_clock::now();
  constexpr size_t kPiece = 8192;  // rows in memory at a time
  const auto outputs = static_cast<size_t>(run.config.outputs);
  std::vector<size_t> rows;
  for (size_t first = 0; first < table.rows(); first += kPiece) {
    rows.resize(std::min(kPiece, table.rows() - first));
    std::iota(rows.begin(), rows.end(), first);
    const task::RowInputs inputs =
        task::make_row_inputs(run.pipeline.columns.encode(table, rows, &pool), run);
    const std::vector<float> answers = predictor.predict(inputs, run.pipeline.temperature);
    for (size_t i = 0; i < rows.size(); ++i)
      writer.add(std::span(answers).subspan(i * outputs, outputs));
    invocation.reporter->progress(fmt::format("{} of {} rows", first + rows.size(), table.rows()));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (invocation.json) {
    ordered_json report{{"rows", table.rows()},
                        {"output", flags.output},
                        {"seconds", seconds},
                        {"rows_per_second", static_cast<double>(table.rows()) / seconds}};
    if (flags.output == "-") {
      ordered_json predictions = ordered_json::array();
      for (const std::string& line : split(writer.text(), '\n'))
        if (!line.empty()) predictions.push_back(ordered_json::parse(line));
      report["predictions"] = std::move(predictions);
    }
    if (flags.output != "-") write_output(invocation, flags.output, writer.text());
    invocation.print(report.dump() + "\n");
  } else {
    write_output(invocation, flags.output, writer.text());
    invocation.reporter->note(fmt::format("{} rows in {}: {:.0f} a second", table.rows(),
                                          format_duration(seconds),
                                          static_cast<double>(table.rows()) / seconds));
  }
  return 0;
}

}  // namespace

Action declare_predict(Arguments& arguments, Invocation& invocation) {
  auto flags = std::make_shared<Flags>();
  arguments.value("RUN", flags->run, "The run folder that quern train wrote").required();
  arguments
      .value("INPUT", flags->input, "A table of rows, or pictures; - reads CSV from standard input")
      .required();
  arguments
      .value("-o,--output", flags->output, "Where to write: .csv or .jsonl; - is standard output")
      .type_name("FILE");
  add_table_flag(arguments, invocation);
  return [flags](Invocation& in) { return run_predict(in, *flags); };
}

}  // namespace quern::cli
