#pragma once

#include <cstdint>
#include <string_view>

#include "quern/explain/explanation.h"
#include "quern/explain/global.h"
#include "quern/formats/tensorboard.h"

namespace quern::explain {

inline constexpr std::string_view kAttributionText = "explain/attributions/text";
inline constexpr std::string_view kImportanceText = "explain/importance/text";
inline constexpr std::string_view kAttributionHeatMap = "explain/attributions/heatmap";

/// For TensorBoard: what was explained, each contribution with its interval and how sure they are,
/// as Markdown; of a picture its heat map too, as an image.
void write_events(formats::EventWriter& events, int64_t step, const Explanation& explanation);
/// Over a data set: each part's importance with its interval, as Markdown.
void write_events(formats::EventWriter& events, int64_t step, const GlobalExplanation& global);

}  // namespace quern::explain
