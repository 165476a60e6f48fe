#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "quern/base/hash.h"
#include "quern/data/check/check_pictures.h"
#include "quern/data/check/checking.h"
#include "quern/data/text_overlap.h"

namespace quern::data {
namespace {

constexpr size_t kNearTexts = 100'000;
constexpr double kMuch = 0.01;

/// The columns that two tables share, target, identifiers and ignored ones left out.
struct Shared {
  std::vector<size_t> here, there;
  std::vector<const ColumnFacts*> facts;  // of each, as they stand here
  int image_here = -1, image_there = -1;
  std::vector<std::string> lacking, further;
};

Shared shared_columns(const DataCheck& check, const Beside& beside) {
  Shared shared;
  for (size_t i = 0; i < check.columns.size(); ++i) {
    const ColumnFacts& facts = check.columns[i].facts;
    const int found = beside.other.find(facts.name);
    if (facts.name == check.target) continue;
    if (found < 0) {
      shared.lacking.push_back(facts.name);
      continue;
    }
    if (is_beside_the_point(facts.type)) continue;
    if (facts.type == ColumnType::kImage && shared.image_here < 0) {
      shared.image_here = static_cast<int>(i);
      shared.image_there = found;
    }
    shared.facts.push_back(&facts);
    shared.here.push_back(i);
    shared.there.push_back(static_cast<size_t>(found));
  }
  for (const std::string& column : beside.other.columns())
    if (beside.table.find(column) < 0) shared.further.push_back(column);
  return shared;
}

void report_columns(DataCheck& check, const Shared& shared, const std::string& other) {
  if (shared.lacking.empty() && shared.further.empty()) return;
  std::vector<std::string> parts;
  if (!shared.lacking.empty())
    parts.push_back(fmt::format("lacks columns: {}", fmt::join(shared.lacking, ", ")));
  if (!shared.further.empty())
    parts.push_back(fmt::format("has further columns: {}", fmt::join(shared.further, ", ")));
  check.findings.push_back(
      {"columns", Severity::kWarning, other, fmt::format("{}", fmt::join(parts, "; "))});
}

/// Of values, however they are written: 44 and 44.0 are the same, and every spelling of none.
std::vector<uint64_t> hashes(const Table& table, std::span<const size_t> columns,
                             std::span<const ColumnFacts* const> facts, int image,
                             const std::function<Picture(std::string_view)>& load) {
  std::vector<uint64_t> content;
  if (image >= 0 && load) content = picture_contents(table, static_cast<size_t>(image), load);
  std::vector<uint64_t> out(table.rows());
  for (size_t row = 0; row < out.size(); ++row)
    out[row] = row_hash(table, row, columns, image, content, facts);
  return out;
}

std::string place(const Table& table, size_t row, int image) {
  return image < 0 ? table.where(row)
                   : fmt::format("'{}'", table.cell(row, static_cast<size_t>(image)));
}

void report_rows(DataCheck& check, const CheckOptions& options, const Beside& beside,
                 const Shared& shared) {
  const std::vector<uint64_t> here =
      hashes(beside.table, shared.here, shared.facts, shared.image_here, options.load_picture);
  const std::vector<uint64_t> there =
      hashes(beside.other, shared.there, shared.facts, shared.image_there, beside.load_other);
  std::unordered_map<uint64_t, size_t> first;  // row of `there`
  for (size_t row = 0; row < there.size(); ++row) first.emplace(there[row], row);
  std::unordered_map<uint64_t, size_t> known;  // row of `here`
  size_t here_too = 0, there_too = 0;
  for (size_t row = 0; row < here.size(); ++row) {
    known.emplace(here[row], row);
    here_too += first.contains(here[row]) ? 1 : 0;
  }
  size_t example = 0;
  for (size_t row = 0; row < there.size(); ++row)
    if (known.contains(there[row]) && there_too++ == 0) example = row;
  if (there_too == 0) return;
  const double most = std::max(share(here_too, here.size()), share(there_too, there.size()));
  check.findings.push_back(
      {"shared_rows", most >= kMuch ? Severity::kSevere : Severity::kWarning,
       place(beside.other, example, shared.image_there),
       fmt::format("{} of {} rows of {} also stand in {}{}, and {} of {} the other way; as {}: "
                   "scores on them flatter a model that trained on the others",
                   there_too, there.size(), beside.other_name, beside.name,
                   check.target.empty() ? "" : " (in all but the target)", here_too, here.size(),
                   place(beside.table, known.at(there[example]), shared.image_here))});
}

/// A column of texts: evenly thinned, and a hash of every one.
struct Texts {
  Texts(const Table& of, size_t in) : table(of), column(in), rows(thinned(of.rows(), kNearTexts)) {
    shingled.reserve(rows.size());
    for (const size_t row : rows) shingled.push_back(shingles(of.cell(row, in)));
    for (size_t row = 0; row < of.rows(); ++row) known.insert(hash64(of.cell(row, in)));
  }
  /// Those of `near` that are no copy of one of the other's.
  std::vector<NearRepeat> without_copies(std::vector<NearRepeat> near, const Texts& other) const {
    std::erase_if(near, [&](const NearRepeat& one) {
      return other.known.contains(hash64(table.cell(rows[one.text], column)));
    });
    return near;
  }

  const Table& table;
  size_t column;
  std::vector<size_t> rows;
  std::vector<std::vector<uint64_t>> shingled;  // (rows)
  std::unordered_set<uint64_t> known;
};

/// Texts of each table that nearly repeat one of the other.
void report_near_texts(DataCheck& check, const Beside& beside, size_t here, size_t there) {
  const Texts ours(beside.table, here), theirs(beside.other, there);
  NearAcross near = near_across(ours.shingled, theirs.shingled);
  near.first = ours.without_copies(std::move(near.first), theirs);
  near.second = theirs.without_copies(std::move(near.second), ours);
  if (near.first.empty() && near.second.empty()) return;
  const double most = std::max(share(near.first.size(), ours.rows.size()),
                               share(near.second.size(), theirs.rows.size()));
  const auto [mine, other] = near.second.empty()
                                 ? std::pair(near.first.front().text, near.first.front().other)
                                 : std::pair(near.second.front().other, near.second.front().text);
  check.findings.push_back(
      {"shared_nearly", most >= kMuch ? Severity::kSevere : Severity::kWarning,
       check.columns[here].facts.name,
       fmt::format("{} of {} texts of {} nearly repeat one of {} without being the same, and {} of "
                   "{} the other way; as {} and {}",
                   near.second.size(), theirs.rows.size(), beside.other_name, beside.name,
                   near.first.size(), ours.rows.size(), beside.other.where(theirs.rows[other]),
                   beside.table.where(ours.rows[mine]))});
}

}  // namespace

void check_against(DataCheck& check, const CheckOptions& options, const Beside& beside) {
  const Shared shared = shared_columns(check, beside);
  report_columns(check, shared, beside.other_name);
  if (!shared.here.empty()) report_rows(check, options, beside, shared);
  if (check.kind == "texts" && std::min(beside.table.rows(), beside.other.rows()) == 1) {
    check.findings.push_back({"one_document", Severity::kNote, beside.other_name,
                              "a file that is one document is compared whole: see what parts stand "
                              "in both with --set data.documents=line"});
  }
  for (size_t i = 0; i < shared.here.size(); ++i) {
    if (check.columns[shared.here[i]].facts.type == ColumnType::kText)
      report_near_texts(check, beside, shared.here[i], shared.there[i]);
  }
  sort_by_severity(check.findings);
}

}  // namespace quern::data
