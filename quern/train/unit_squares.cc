#include "quern/train/unit_squares.h"

#include <algorithm>
#include <cstring>

#include "quern/kernels/cpu/optimizer.h"
#include "quern/kernels/cuda/exchange.h"
#include "quern/kernels/cuda/gpu.h"

namespace quern::train {
namespace {

struct Units {
  size_t first = 0, count = 0;
};
Units owned_units(const Shards& shards, int rank) {
  const Shards::Range owned = shards.owned(rank);
  Units units;
  for (size_t i = 0; i < shards.units().size(); ++i) {
    const Shards::Range range = shards.units()[i].range;
    if (range.begin < owned.begin || range.end > owned.end) continue;
    if (units.count++ == 0) units.first = i;
  }
  return units;
}

}  // namespace

UnitSquares::UnitSquares(const Shards& shards, int rank, const graph::ParameterStore& parameters,
                         ThreadPool& pool)
    : shards_(shards), parameters_(parameters), pool_(pool) {
  const Units units = owned_units(shards, rank);
  first_ = units.first;
  count_ = units.count;
  if (parameters_.gpu() == nullptr || count_ == 0) return;
  table_ = Buffer(planned_bytes(shards, rank, DeviceKind::kCuda), &parameters_.gpu()->driver(),
                  Memory::kShared);
  auto* bounds = reinterpret_cast<int64_t*>(table_.data());
  for (size_t i = 0; i < count_; ++i)
    bounds[i] = static_cast<int64_t>(shards.units()[first_ + i].range.begin);
  bounds[count_] = static_cast<int64_t>(shards.units()[first_ + count_ - 1].range.end);
}

size_t UnitSquares::planned_bytes(const Shards& shards, int rank, DeviceKind device) {
  const size_t count = owned_units(shards, rank).count;
  if (device == DeviceKind::kCpu || count == 0) return 0;
  return (count + 1) * sizeof(int64_t) + count * sizeof(double);
}

std::vector<double> UnitSquares::measure() const {
  std::vector<double> squares(shards_.units().size());
  const auto owned = std::span(squares).subspan(first_, count_);
  if (owned.empty()) return squares;
  parameters_.gpu() == nullptr ? measure_here(owned) : measure_on_gpu(owned);
  return squares;
}

void UnitSquares::measure_here(std::span<double> squares) const {
  const kernels::cpu::Context context{pool_};
  std::vector<std::byte> scratch(
      kernels::cpu::sum_of_squares_scratch(static_cast<int64_t>(Shards::kUnit)));
  for (size_t i = 0; i < squares.size(); ++i) {
    const Shards::Range range = shards_.units()[first_ + i].range;
    squares[i] =
        kernels::cpu::sum_of_squares(context, parameters_.gradients().data() + range.begin,
                                     static_cast<int64_t>(range.end - range.begin), scratch.data());
  }
}

void UnitSquares::measure_on_gpu(std::span<double> squares) const {
  kernels::cuda::Gpu& gpu = *parameters_.gpu();
  const auto* bounds = reinterpret_cast<const int64_t*>(table_.data());
  auto* results = reinterpret_cast<double*>(table_.data() + (count_ + 1) * sizeof(int64_t));
  kernels::cuda::unit_squares(gpu.context(), parameters_.gradients().data(), bounds,
                              static_cast<int64_t>(count_), results);
  gpu.driver().synchronize();
  std::copy_n(results, count_, squares.begin());
}

}  // namespace quern::train
