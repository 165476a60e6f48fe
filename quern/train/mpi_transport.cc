#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/file.h"
#include "quern/train/mpi_library.h"
#include "quern/train/transport.h"

namespace quern::train {
namespace {

/// The library's table, behind the interface.
class MpiTransport : public Transport {
 public:
  explicit MpiTransport(const QuernMpiLibrary& mpi) : mpi_(mpi) {
    if (mpi_.start(&rank_, &size_, &local_rank_, &local_size_) != 0) fail();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }
  int local_size() const override { return local_size_; }
  Request send(std::span<const std::byte> data, int to) override {
    return started(mpi_.send(data.data(), data.size(), to));
  }
  Request receive(std::span<std::byte> data, int from) override {
    return started(mpi_.receive(data.data(), data.size(), from));
  }
  Request broadcast(std::span<std::byte> data, int from) override {
    return started(mpi_.broadcast(data.data(), data.size(), from));
  }
  Request sum(std::span<double> values) override {
    return started(mpi_.sum(values.data(), values.size()));
  }
  bool done(Request request) override {
    const int state = mpi_.done(request);
    if (state < 0) fail();
    return state == 1;
  }
  void finish() override { mpi_.finish(); }
  void abort(int exit_code) override { mpi_.abort(exit_code); }

 private:
  [[noreturn]] void fail() const {
    throw Error("mpi", fmt::format("MPI: {}", mpi_.last_error()),
                "look at what mpirun says; go on with --resume");
  }
  Request started(Request request) const {
    if (request == nullptr) fail();
    return request;
  }

  const QuernMpiLibrary& mpi_;
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
};

int number_of(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return 0;
  const std::string_view view(text);
  int value = 0;
  std::from_chars(view.data(), view.data() + view.size(), value);
  return value;
}

/// How many processes the launcher says that it started: Open MPI, MPICH and its kin, Slurm.
int launched() {
  constexpr std::array<const char*, 4> kNames = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                                                 "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"};
  for (const char* name : kNames) {
    if (const int count = number_of(name); count > 0) return count;
  }
  return 1;
}

/// Never closed: MPI leaves threads and handlers behind.
const QuernMpiLibrary& load(int count) {
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  std::vector<fs::path> places = {here / kMpiLibraryFile,
                                  here.parent_path() / "lib" / "quern" / kMpiLibraryFile};
  if (const char* named = std::getenv("QUERN_MPI_LIBRARY")) places = {named};
  std::string reason = "libquern_mpi.so is neither beside the program nor in ../lib/quern";
  for (const fs::path& place : places) {
    if (!fs::exists(place, error)) continue;
    // Global: Open MPI loads components that look for its symbols.
    void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_GLOBAL);
    void* symbol = library != nullptr ? dlsym(library, kMpiLibrarySymbol) : nullptr;
    if (symbol == nullptr) {
      reason = dlerror();
      continue;
    }
    const QuernMpiLibrary* table = reinterpret_cast<decltype(&quern_mpi_library)>(symbol)();
    if (table->version == kMpiLibraryVersion) return *table;
    reason = fmt::format("{} is of another version of Quern", place.string());
  }
  throw Error("no_mpi",
              fmt::format("this is one of {} ranks, and they cannot meet: {}", count, reason),
              "build where MPI's development files are (Debian: libopenmpi-dev), or start one "
              "process without mpirun");
}

}  // namespace

std::unique_ptr<Transport> join_mpi() {
  const int count = launched();
  if (count <= 1) return nullptr;
  auto transport = std::make_unique<MpiTransport>(load(count));
  if (transport->size() == 1) {
    throw Error("no_mpi",
                fmt::format("{} processes were started, and this one finds itself alone", count),
                "start them by the mpirun of the MPI that Quern was built with, or by srun "
                "--mpi=pmix");
  }
  return transport;
}

}  // namespace quern::train
