// Time of one row of a loaded run: encoded and answered alone, and its ratio to a row of a batch.
// row_latency RUN DATA [THREADS]: RUN is a run over rows, DATA a table of its columns. The first
// answer, which makes the plan, is not counted.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/progress.h"
#include "quern/data/table_reader.h"
#include "quern/infer/row_predictor.h"
#include "quern/run/row_run.h"

namespace {

using namespace quern;

/// Microseconds that the rows take, asked together.
double time_of(std::span<const size_t> rows, const data::Table& table, run::RowRun& run,
               infer::RowPredictor& predictor, ThreadPool& pool) {
  const auto begin = std::chrono::steady_clock::now();
  const auto inputs = task::make_row_inputs(run.pipeline.columns.encode(table, rows, &pool), run);
  predictor.predict(inputs, run.pipeline.temperature);
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
      .count();
}

int measure(const char* folder, const char* data, int threads) {
  run::RowRun run = run::load_row_run(folder);
  const std::array<std::filesystem::path, 1> paths = {data};
  const data::Table table = data::read_table(paths, {}, silent_reporter());
  ThreadPool pool(threads);
  infer::RowPredictor predictor(run.config, run.parameters, pool);
  std::vector<size_t> rows(std::min<size_t>(table.rows(), 4096));
  std::iota(rows.begin(), rows.end(), size_t{0});
  if (rows.size() < 2) throw Error("too_few_rows", "the table has fewer than two rows", "");
  std::vector<double> alone;
  for (const size_t row : rows)
    alone.push_back(time_of(std::span(&row, 1), table, run, predictor, pool));
  alone.erase(alone.begin());
  std::ranges::sort(alone);
  time_of(rows, table, run, predictor, pool);
  const double together =
      time_of(rows, table, run, predictor, pool) / static_cast<double>(rows.size());
  const double median = alone[alone.size() / 2];
  std::printf("one row alone: median %.0f us, 99 of 100 within %.0f us; %.1f times a row of %zu\n",
              median, alone[alone.size() * 99 / 100], median / together, rows.size());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: row_latency RUN DATA [THREADS]\n");
    return 2;
  }
  try {
    return measure(argv[1], argv[2], argc > 3 ? std::atoi(argv[3]) : 1);
  } catch (const Error& error) {
    std::fprintf(stderr, "row_latency: %s\n", error.what());
    return 1;
  }
}
