#include "quern/graph/staging.h"

namespace quern::graph {

void Staging::add_input(Value value, TensorView place) {
  inputs_.push_back({value, place, bytes_});
  bytes_ += Buffer::align(place.type.bytes());
}

void Staging::allocate() {
  kernels::cuda::Driver& driver = gpu_.driver();
  pinned_ = Buffer(bytes_, &driver, Memory::kPinned);
  landing_ = Buffer(bytes_, &driver, Memory::kDevice);
  uploaded_ = driver.make_event();
  landed_ = driver.make_event();
}

TensorView Staging::input(Value value) {
  for (const Input& input : inputs_) {
    if (!(input.value == value)) continue;
    if (pending_) gpu_.driver().wait_for(uploaded_);
    pending_ = false;
    return {pinned_.data() + input.offset, input.place.type};
  }
  return {};
}

TensorView Staging::output(TensorView place) {
  Output& output = outputs_[place.data];
  if (output.buffer.size() == 0 && place.type.bytes() > 0) {
    output.place = place;
    output.buffer = Buffer(place.type.bytes(), &gpu_.driver(), Memory::kPinned);
    gpu_.driver().copy(output.buffer.data(), place.data, place.type.bytes(), Queue::kCompute);
    gpu_.driver().synchronize();
  }
  return {output.buffer.data(), place.type};
}

void Staging::upload() {
  if (bytes_ == 0) return;
  kernels::cuda::Driver& driver = gpu_.driver();
  driver.wait(landed_, Queue::kCopy);
  driver.copy(landing_.data(), pinned_.data(), bytes_, Queue::kCopy);
  driver.record(uploaded_, Queue::kCopy);
  driver.wait(uploaded_, Queue::kCompute);
  for (const Input& input : inputs_) {
    driver.copy(input.place.data, landing_.data() + input.offset, input.place.type.bytes(),
                Queue::kCompute);
  }
  driver.record(landed_, Queue::kCompute);
  pending_ = true;
}

void Staging::download() {
  for (const auto& [data, output] : outputs_) {
    gpu_.driver().copy(output.buffer.data(), output.place.data, output.place.type.bytes(),
                       Queue::kCompute);
  }
}

}  // namespace quern::graph
