#include <fmt/format.h>

#include <algorithm>

#include "quern/base/error.h"
#include "quern/cli/check_output.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/data/check/data_check.h"
#include "quern/data/document_table.h"
#include "quern/data/picture_tables.h"
#include "quern/data/table_reader.h"
#include "quern/features/pictures.h"

namespace quern::cli {
namespace {

struct Flags {
  std::vector<std::string> data;
  std::string against, html;
};

/// Tables and pictures as they are, anything else as texts. A folder of IDX files is refused with
/// the tables, whose error names its files.
bool holds_texts(std::span<const fs::path> paths, const run::Options& options) {
  return options.text("data.task") == "generate" ||
         std::all_of(paths.begin(), paths.end(), [](const fs::path& path) {
           return data::table_layout(path) == data::TableLayout::kNone &&
                  data::idx_pictures_in(path).empty();
         });
}

data::Table read_data(const Invocation& invocation, std::span<const fs::path> paths, bool texts) {
  if (!texts) return data::read_table(paths, table_options(invocation), *invocation.reporter);
  data::ReadOptions options{std::string(invocation.options.text("data.column")), std::nullopt};
  const std::string_view documents = invocation.options.text("data.documents");
  if (documents != "auto") options.rule = data::parse_document_rule(documents);
  return data::document_table(paths, options, *invocation.reporter);
}

std::function<data::Picture(std::string_view)> picture_loader(const data::Table& table) {
  auto loader = std::make_shared<features::PictureLoader>(table.folder());
  return [loader](std::string_view name) { return loader->load(name); };
}

/// The columns of a log of who took what, where this is one: said, or no target and known names.
std::optional<data::LogColumns> log_columns(const Invocation& invocation, const data::Table& table,
                                            bool texts) {
  const run::Options& options = invocation.options;
  const std::string_view task = options.text("data.task");
  if (task == "recommend") {
    return data::LogColumns{std::string(options.text("data.user")),
                            std::string(options.text("data.item")),
                            std::string(options.text("data.time"))};
  }
  if (texts || task != "auto" || !options.text("data.target").empty()) return std::nullopt;
  std::optional<data::LogColumns> columns = data::log_columns_by_name(table);
  if (columns) {
    invocation.reporter->note(
        fmt::format("task: recommend (columns {} and {} and no --target: a log of who took what; "
                    "override with --target or --task classify)",
                    columns->user, columns->item));
  }
  return columns;
}

data::CheckOptions check_options(const Invocation& invocation, std::span<const fs::path> paths,
                                 const data::Table& table, bool texts) {
  data::CheckOptions options;
  options.target = invocation.options.text("data.target");
  options.task = invocation.options.text("data.task");
  options.types = data::parse_type_overrides(invocation.options.text("data.types"));
  options.load_picture = picture_loader(table);
  if (texts) options.types.emplace(data::kTextColumn, data::ColumnType::kText);
  const bool pictures = std::all_of(paths.begin(), paths.end(), data::holds_pictures);
  // One picture alone is a constant by its name, and opened all the same.
  if (pictures) options.types.emplace(data::kImageColumn, data::ColumnType::kImage);
  if (pictures && options.target.empty() && table.find(data::kLabelColumn) >= 0)
    options.target = data::kLabelColumn;
  return options;
}

int run_check(Invocation& invocation, const Flags& flags) {
  const std::vector<fs::path> paths(flags.data.begin(), flags.data.end());
  const bool texts = holds_texts(paths, invocation.options);
  const data::Table table = read_data(invocation, paths, texts);
  invocation.reporter->progress(
      fmt::format("looking at {} rows of {} columns", table.rows(), table.columns().size()));
  const data::CheckOptions options = check_options(invocation, paths, table, texts);
  const auto log = log_columns(invocation, table, texts);
  data::DataCheck check = log ? data::check_log(table, *log, *invocation.reporter)
                              : data::check_table(table, options, *invocation.reporter);
  if (texts) check.kind = "texts";
  const std::string name = fs::path(flags.data.front()).filename().string();
  if (!flags.against.empty()) {
    const std::vector<fs::path> other_path = {flags.against};
    const data::Table other = read_data(invocation, other_path, texts);
    data::check_against(
        check, options,
        {table, other, name, fs::path(flags.against).filename().string(), picture_loader(other)});
  }
  if (!flags.html.empty()) write_output(invocation, flags.html, data::check_html(check, name));
  if (flags.html != "-") invocation.print(invocation.json ? check_json(check) : check_text(check));
  return check.severe() ? static_cast<int>(ExitCode::kFound) : 0;
}

}  // namespace

Action declare_check(Arguments& arguments, Invocation& invocation) {
  auto flags = std::make_shared<Flags>();
  arguments
      .value("DATA", flags->data,
             "A table (or several with the same columns), pictures, texts, or a log of who "
             "took what")
      .required();
  add_option_flag(arguments, invocation, "--target", "data.target");
  add_table_flag(arguments, invocation);
  add_option_flag(arguments, invocation, "--task", "data.task");
  arguments.value("--against", flags->against, "Other data of the kind: tells what stands in both")
      .type_name("OTHER");
  arguments.value("--html", flags->html, "Also write the report as one HTML page")
      .type_name("FILE");
  arguments.footer("Exits with 3 when a finding is severe.");
  return [flags](Invocation& in) { return run_check(in, *flags); };
}

}  // namespace quern::cli
