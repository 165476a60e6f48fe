#include "quern/explain/superpixels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace quern::explain {
namespace {

using Lab = std::array<double, 3>;

/// CIE 15: sRGB under D65 to L*, a*, b*.
Lab to_lab(const uint8_t* rgb) {
  Lab linear;
  for (size_t i = 0; i < 3; ++i) {
    const double c = rgb[i] / 255.0;
    linear[i] = c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
  }
  const auto [r, g, b] = linear;
  const auto f = [](double t) { return t > 0.008856 ? std::cbrt(t) : 7.787 * t + 16.0 / 116; };
  const double x = f((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
  const double y = f(0.2126729 * r + 0.7151522 * g + 0.0721750 * b);
  const double z = f((0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883);
  return {116 * y - 16, 500 * (x - y), 200 * (y - z)};
}

struct Centre {
  Lab colour{};
  double row = 0, column = 0;
};

double square(double x) { return x * x; }

class Clustering {
 public:
  Clustering(const PictureView& picture, size_t segments, double compactness)
      : height_(picture.height), width_(picture.width), colours_(height_ * width_) {
    for (size_t i = 0; i < colours_.size(); ++i) colours_[i] = to_lab(&picture.pixels[3 * i]);
    const double pixels = static_cast<double>(colours_.size());
    step_ = std::max(1.0, std::sqrt(pixels / static_cast<double>(segments)));
    place_weight_ = square(compactness / step_);
    const auto along = [&](size_t length) {
      return std::max<size_t>(
          1, static_cast<size_t>(std::lround(static_cast<double>(length) / step_)));
    };
    const size_t rows = along(height_), columns = along(width_);
    for (size_t i = 0; i < rows * columns; ++i) {
      const size_t row = (2 * (i / columns) + 1) * height_ / (2 * rows);
      const size_t column = (2 * (i % columns) + 1) * width_ / (2 * columns);
      centres_.push_back(
          {colours_[row * width_ + column], static_cast<double>(row), static_cast<double>(column)});
    }
    labels_.assign(colours_.size(), 0);
  }

  std::vector<uint32_t> run() {
    constexpr int kIterations = 10;
    for (int i = 0; i < kIterations; ++i) {
      assign();
      move_centres();
    }
    return labels_;
  }
  size_t centres() const { return centres_.size(); }

 private:
  void assign() {
    std::vector<double> nearest(colours_.size(), std::numeric_limits<double>::infinity());
    for (size_t k = 0; k < centres_.size(); ++k) {
      const Centre& c = centres_[k];
      const auto low = [&](double at) {
        return static_cast<size_t>(std::max(0.0, at - 2 * step_));
      };
      const auto high = [&](double at, size_t end) {
        return std::min(end, static_cast<size_t>(at + 2 * step_) + 1);
      };
      for (size_t row = low(c.row); row < high(c.row, height_); ++row) {
        for (size_t column = low(c.column); column < high(c.column, width_); ++column) {
          const size_t at = row * width_ + column;
          const double d = distance(c, at, row, column);
          if (d >= nearest[at]) continue;
          nearest[at] = d;
          labels_[at] = static_cast<uint32_t>(k);
        }
      }
    }
  }

  double distance(const Centre& c, size_t at, size_t row, size_t column) const {
    double colour = 0;
    for (size_t i = 0; i < 3; ++i) colour += square(c.colour[i] - colours_[at][i]);
    return colour + place_weight_ * (square(c.row - static_cast<double>(row)) +
                                     square(c.column - static_cast<double>(column)));
  }

  void move_centres() {
    std::vector<Centre> sums(centres_.size());
    std::vector<double> counts(centres_.size(), 0);
    for (size_t at = 0; at < labels_.size(); ++at) {
      Centre& sum = sums[labels_[at]];
      for (size_t i = 0; i < 3; ++i) sum.colour[i] += colours_[at][i];
      sum.row += static_cast<double>(at / width_);
      sum.column += static_cast<double>(at % width_);
      ++counts[labels_[at]];
    }
    for (size_t k = 0; k < sums.size(); ++k) {
      if (counts[k] == 0) continue;
      for (double& one : sums[k].colour) one /= counts[k];
      centres_[k] = {sums[k].colour, sums[k].row / counts[k], sums[k].column / counts[k]};
    }
  }

  size_t height_, width_;
  std::vector<Lab> colours_;
  double step_ = 1, place_weight_ = 1;
  std::vector<Centre> centres_;
  std::vector<uint32_t> labels_;
};

/// Numbers connected regions in row order; a region below `least` pixels takes the number of the
/// region before it that it touches.
Superpixels connected(std::span<const uint32_t> labels, size_t height, size_t width, size_t least) {
  constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  Superpixels result{std::vector<uint32_t>(labels.size(), kNone), 0};
  std::vector<size_t> region;
  for (size_t start = 0; start < labels.size(); ++start) {
    if (result.labels[start] != kNone) continue;
    const auto fresh = static_cast<uint32_t>(result.count);
    uint32_t neighbour = kNone;
    region.assign(1, start);
    result.labels[start] = fresh;
    for (size_t i = 0; i < region.size(); ++i) {
      const size_t at = region[i], row = at / width, column = at % width;
      const auto visit = [&](size_t to) {
        if (result.labels[to] == kNone && labels[to] == labels[start]) {
          result.labels[to] = fresh;
          region.push_back(to);
        } else if (result.labels[to] < fresh && neighbour == kNone) {
          neighbour = result.labels[to];
        }
      };
      if (row > 0) visit(at - width);
      if (row + 1 < height) visit(at + width);
      if (column > 0) visit(at - 1);
      if (column + 1 < width) visit(at + 1);
    }
    if (region.size() < least && neighbour != kNone) {
      for (const size_t at : region) result.labels[at] = neighbour;
    } else {
      ++result.count;
    }
  }
  return result;
}

}  // namespace

Superpixels slic(const PictureView& picture, size_t segments, double compactness) {
  if (picture.pixels.empty() || segments == 0) return {};
  Clustering clustering(picture, segments, compactness);
  const std::vector<uint32_t> labels = clustering.run();
  const size_t mean_size = labels.size() / clustering.centres();
  return connected(labels, picture.height, picture.width, std::max<size_t>(1, mean_size / 4));
}

}  // namespace quern::explain
