#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quern/data/table.h"
#include "quern/features/columns.h"

namespace quern::explain {

/// Population stability index of two histograms over the same bins: Σ (q - p) ln(q / p) of their
/// shares, half a row added to every bin.
double population_stability(std::span<const double> before, std::span<const double> after);
/// What that index stays under in 999 of 1,000 samples of one population: it is near χ² of bins - 1
/// degrees of freedom, times 1/n + 1/m (Yurdakul 2018).
double stability_by_chance(size_t bins, double before_rows, double after_rows);

/// The largest difference of two empirical distributions (Kolmogorov-Smirnov). NaN where one is
/// empty.
double kolmogorov_smirnov(std::vector<double> a, std::vector<double> b);

/// How far a column of new rows is from that of the training rows.
struct ColumnDrift {
  std::string name;
  bool number = false;       // else a category
  double stability = 0;      // population stability index; missing values are a bin of their own
  double by_chance = 0;      // what it may be without drift
  std::optional<double> ks;  // of numbers
  double missing_before = 0, missing_after = 0;  // shares
  bool drifted = false;                          // above the limit, and above chance
};

/// Rows of a table.
struct RowsOf {
  const data::Table* table = nullptr;
  std::span<const size_t> rows;
};
/// The columns that the model reads as numbers, dates or categories, the most drifted first. Ten
/// bins of equal share of training values, or the categories that the model knows.
std::vector<ColumnDrift> column_drift(const features::ColumnEncoder& columns,
                                      const RowsOf& training, const RowsOf& fresh, double limit);

}  // namespace quern::explain
