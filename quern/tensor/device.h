#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "quern/base/error.h"

namespace quern {

/// The column of the op table that computes.
enum class DeviceKind : uint8_t { kCpu, kCuda };

/// Whose memory a buffer is.
enum class Memory : uint8_t {
  kHost,    // this process's pages
  kDevice,  // the device's own: the host cannot read it
  kShared,  // one address on both sides; pages move to who touches them
  kPinned,  // the host's, locked in place: the device copies from and to it while it computes
};

/// What a device is asked to do runs in order within a queue, and side by side across them.
enum class Queue : uint8_t { kCompute, kCopy, kExchange };
inline constexpr size_t kQueues = 3;

/// A point in a queue that another queue, or the host, can wait for.
struct Event {
  uint32_t index = 0;
};

/// What went wrong on a device, in its own words; the executor adds the op and its shapes.
class DeviceError : public Error {
 public:
  DeviceError(const std::string& message, std::string hint)
      : Error("cuda", message, std::move(hint)) {}
};

/// A processor with memory of its own. Every call but synchronize() and wait_for() returns before
/// the work is done, and throws DeviceError when the device refuses. Used by one thread at a time.
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  /// "NVIDIA H200, compute 9.0, 141 GB".
  virtual std::string describe() const = 0;
  virtual size_t free_bytes() const = 0;

  /// Zero-filled, aligned to 256 bytes. Throws Error("out_of_memory") naming size and what is free.
  virtual std::byte* allocate(size_t bytes, Memory memory) = 0;
  virtual void release(std::byte* data, size_t bytes, Memory memory) noexcept = 0;

  virtual void copy(void* to, const void* from, size_t bytes, Queue queue) = 0;
  virtual void fill_zero(void* to, size_t bytes, Queue queue) = 0;

  virtual Event make_event() = 0;
  virtual void record(Event event, Queue queue) = 0;
  virtual void wait(Event event, Queue queue) = 0;  // `queue` goes on when the event is reached
  virtual void wait_for(Event event) = 0;           // the host does
  virtual bool reached(Event event) = 0;            // the host looks, and goes on
  virtual void synchronize() = 0;                   // all queues
};

}  // namespace quern
