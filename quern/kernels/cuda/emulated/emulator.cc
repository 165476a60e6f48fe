#include "quern/kernels/cuda/emulator.h"

#include <fmt/format.h>
#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "quern/base/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// A block of a cooperative kernel is as many fibres as it has threads, switched where they wait for
// each other; other kernels are plain loops.
namespace quern::kernels::cuda {
namespace emulator {
namespace {

constexpr size_t kStackBytes = size_t{64} << 10;
constexpr int kLanes = 32;

enum class Waiting : uint8_t { kNothing, kWarp, kBlock, kDone };

/// A switch from one stack to another, which AddressSanitizer wants to be told of.
struct Switch {
  void* fake_stack = nullptr;
  const void* other_stack = nullptr;  // of who switched here
  size_t other_bytes = 0;
  void begin([[maybe_unused]] const void* stack, [[maybe_unused]] size_t bytes,
             [[maybe_unused]] bool leaves_for_good = false) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(leaves_for_good ? nullptr : &fake_stack, stack, bytes);
#endif
  }
  void end() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, &other_stack, &other_bytes);
#endif
  }
};

/// What is to be copied once it is waited for.
struct Copy {
  void* to;
  const void* from;  // null: zeros
  size_t bytes;
};

struct Fibre {
  ucontext_t context{};
  Switch at_switch;
  std::vector<char> stack;
  Waiting waiting = Waiting::kNothing;
  Place place;
  // Two turns of published words: a lane is at most one turn ahead of its warp.
  Words words[2]{};
  uint32_t turn = 0;
  std::vector<Copy> copies;
};

struct Block {
  ucontext_t scheduler{};
  Switch scheduler_switch;
  const void* scheduler_stack = nullptr;
  size_t scheduler_bytes = 0;
  std::deque<Fibre> fibres;
  Fibre* running = nullptr;
  const Kernel* kernel = nullptr;
  const void* arguments = nullptr;
};
Block& block() {
  static Block the_block;
  return the_block;
}
Place& plain_place() {
  static Place the_place;
  return the_place;
}

std::vector<Kernel>& kernels() {
  static std::vector<Kernel> known;
  return known;
}

/// The fibre of the running thread. Throws Error where threads do not run as fibres.
Fibre& running() {
  Fibre* fibre = block().running;
  if (fibre == nullptr)
    throw Error("emulator", "a kernel that is not cooperative asks for its warp",
                "define it with QUERN_COOPERATIVE_KERNEL");
  return *fibre;
}

void enter_fibre() {
  Block& b = block();
  Fibre& fibre = running();
  fibre.at_switch.end();
  b.scheduler_stack = fibre.at_switch.other_stack;
  b.scheduler_bytes = fibre.at_switch.other_bytes;
  b.kernel->run(b.arguments);
  fibre.waiting = Waiting::kDone;
  fibre.at_switch.begin(b.scheduler_stack, b.scheduler_bytes, true);
  swapcontext(&fibre.context, &b.scheduler);
}

void wait(Waiting what) {
  Block& b = block();
  if (b.running == nullptr)
    throw Error("emulator", "a kernel that is not cooperative waits", "declare it cooperative");
  b.running->waiting = what;
  b.running->at_switch.begin(b.scheduler_stack, b.scheduler_bytes);
  swapcontext(&b.running->context, &b.scheduler);
  b.running->at_switch.end();
}

/// Lets the threads first .. end - 1 go on if all that are left of them wait for `what`.
bool release(Block& b, size_t first, size_t end, Waiting what) {
  bool any = false;
  for (size_t i = first; i < end; ++i) {
    const Waiting waiting = b.fibres[i].waiting;
    if (waiting != what && waiting != Waiting::kDone) return false;
    any = any || waiting == what;
  }
  for (size_t i = first; any && i < end; ++i) {
    if (b.fibres[i].waiting == what) b.fibres[i].waiting = Waiting::kNothing;
  }
  return any;
}

/// Runs those of the threads first .. end - 1 that wait for nothing until they do, or are done.
bool run_each(Block& b, size_t first, size_t end) {
  bool ran = false;
  for (size_t i = first; i < end; ++i) {
    Fibre& fibre = b.fibres[i];
    if (fibre.waiting != Waiting::kNothing) continue;
    ran = true;
    b.running = &fibre;
    b.scheduler_switch.begin(fibre.stack.data(), fibre.stack.size());
    swapcontext(&b.scheduler, &fibre.context);
    b.scheduler_switch.end();
  }
  b.running = nullptr;
  return ran;
}

/// A warp goes on as far as it can before the next begins, so that one that is not waited for where
/// it should be has long overwritten, or not yet written, what others read.
void run_fibres(Block& b, size_t threads) {
  for (;;) {
    bool ran = false;
    for (size_t first = 0; first < threads; first += kLanes) {
      const size_t end = std::min(threads, first + kLanes);
      do {
        ran = run_each(b, first, end) || ran;
      } while (release(b, first, end, Waiting::kWarp));
    }
    const auto done = [](const Fibre& fibre) { return fibre.waiting == Waiting::kDone; };
    if (std::all_of(b.fibres.begin(), b.fibres.begin() + static_cast<int64_t>(threads), done))
      return;
    if (!release(b, 0, threads, Waiting::kBlock) && !ran) {
      throw Error("emulator",
                  fmt::format("{}: threads of a block wait for each other forever", b.kernel->name),
                  "let every thread reach the same barriers");
    }
  }
}

void start_fibre(Fibre& fibre, const Place& place) {
  if (fibre.stack.empty()) fibre.stack.resize(kStackBytes);
  fibre.place = place;
  fibre.waiting = Waiting::kNothing;
  fibre.turn = 0;
  fibre.copies.clear();
  fibre.at_switch = {};
  getcontext(&fibre.context);
  fibre.context.uc_stack.ss_sp = fibre.stack.data();
  fibre.context.uc_stack.ss_size = fibre.stack.size();
  fibre.context.uc_link = nullptr;
  makecontext(&fibre.context, enter_fibre, 0);
}

void run_block(const Kernel& kernel, const Place& first, const void* arguments) {
  if (!kernel.cooperative) {
    for (int64_t thread = 0; thread < first.threads; ++thread) {
      plain_place() = first;
      plain_place().thread = thread;
      kernel.run(arguments);
    }
    return;
  }
  Block& b = block();
  b.kernel = &kernel;
  b.arguments = arguments;
  const auto threads = static_cast<size_t>(first.threads);
  while (b.fibres.size() < threads) b.fibres.emplace_back();
  for (size_t i = 0; i < threads; ++i) {
    Place place = first;
    place.thread = static_cast<int64_t>(i);
    start_fibre(b.fibres[i], place);
  }
  run_fibres(b, threads);
}

}  // namespace

Place& place() {
  Block& b = block();
  return b.running != nullptr ? b.running->place : plain_place();
}

void wait_for_block() { wait(Waiting::kBlock); }

void publish(const Words& words) {
  Fibre& fibre = running();
  ++fibre.turn;
  fibre.words[fibre.turn % 2] = words;
  wait(Waiting::kWarp);
}

Words published(int lane) {
  Block& b = block();
  const Fibre& fibre = running();
  const int64_t first = fibre.place.thread / kLanes * kLanes;
  return b.fibres[static_cast<size_t>(first + lane)].words[fibre.turn % 2];
}

void copy_async(void* to, const void* from, size_t bytes, bool inside) {
  const auto misaligned = [&](const void* data) {
    return reinterpret_cast<uintptr_t>(data) % bytes != 0;
  };
  if (misaligned(to) || misaligned(from))
    throw Error("emulator", "an asynchronous copy is not aligned", "align rows to its bytes");
  std::memset(to, 0xFF, bytes);
  running().copies.push_back({to, inside ? from : nullptr, bytes});
}

bool add_kernel(const Kernel& kernel) {
  kernels().push_back(kernel);
  return true;
}

const Kernel& find_kernel(std::string_view name) {
  for (const Kernel& kernel : kernels()) {
    if (name == kernel.name) return kernel;
  }
  throw Error("emulator", fmt::format("no kernel is called {}", name), "correct the name");
}

void run(const Kernel& kernel, const Grid& grid, const void* arguments) {
  // Fibres and shared memory are static: devices of several threads take turns.
  static std::mutex turn;
  const std::lock_guard lock(turn);
  // What shared memory holds at the start is not defined: here, NaN.
  std::vector<float> shared(grid.shared_bytes / sizeof(float) + 1);
  Place place;
  place.threads = grid.threads;
  place.blocks_x = grid.x;
  place.shared = shared.data();
  for (uint32_t z = 0; z < grid.z; ++z) {
    for (uint32_t y = 0; y < grid.y; ++y) {
      for (uint32_t x = 0; x < grid.x; ++x) {
        std::memset(shared.data(), 0xFF, shared.size() * sizeof(float));
        place.block_x = x;
        place.block_y = y;
        place.block_z = z;
        run_block(kernel, place, arguments);
      }
    }
  }
}

}  // namespace emulator

uint32_t shuffle_xor(uint32_t value, int lanes) {
  emulator::publish({{value}});
  return emulator::published(static_cast<int>(thread_index() % 32) ^ lanes).word[0];
}
float shuffle_xor(float value, int lanes) {
  return std::bit_cast<float>(shuffle_xor(std::bit_cast<uint32_t>(value), lanes));
}

void wait_copies() {
  std::vector<emulator::Copy>& copies = emulator::running().copies;
  for (const emulator::Copy& copy : copies) {
    if (copy.from != nullptr) {
      std::memcpy(copy.to, copy.from, copy.bytes);
    } else {
      std::memset(copy.to, 0, copy.bytes);
    }
  }
  copies.clear();
}

}  // namespace quern::kernels::cuda
