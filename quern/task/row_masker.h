#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "quern/features/columns.h"
#include "quern/features/tokenizer.h"
#include "quern/model/encoder.h"
#include "quern/task/hiding.h"
#include "quern/task/linear_start.h"
#include "quern/task/rows.h"

namespace quern::task {

/// Hides random parts of training rows as explaining hides them, so that the rows which an
/// explanation puts together are like rows that training saw (missingness during training: Covert,
/// Lundberg & Lee 2021, "Explaining by Removing"). Of a masked row a share is drawn evenly between
/// 0 and 1, then each part is hidden by that chance: all hidden columns have the values of one
/// other row. Where answers start from a linear model, the one that did not see the row scores what
/// is left of it.
///
/// All draws follow from seed and sample.
class RowMasker {
 public:
  struct Fitted {
    const features::ColumnEncoder* columns = nullptr;
    const features::Tokenizer* tokenizer = nullptr;  // null: no texts
    const LinearStart* linear = nullptr;  // with its folds' weights; null: answers start from none
  };

  /// `rate`: share of the rows that are masked. What was fitted must outlive this. `texts`: of the
  /// rows, where there are any.
  RowMasker(const model::EncoderConfig& config, const Fitted& fitted,
            std::vector<std::string> texts, double rate, uint64_t seed);

  /// Whether the sample's row is masked.
  bool masks(uint64_t sample) const;
  /// That row alone, masked; hidden columns take their values from one of `lenders`, which are
  /// rows.
  RowInputs mask(const RowInputs& rows, size_t row, std::span<const int64_t> lenders,
                 uint64_t sample) const;

 private:
  model::EncoderConfig config_;
  Fitted fitted_;
  std::vector<std::string> texts_;
  double rate_;
  uint64_t seed_;
  std::vector<ColumnFeatures> columns_;
  std::vector<uint32_t> patches_;  // of each pixel
};

}  // namespace quern::task
