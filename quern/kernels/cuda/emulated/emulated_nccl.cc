#include "quern/kernels/cuda/emulated/emulated_nccl.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "quern/kernels/cuda/emulated/emulated_driver.h"

namespace quern::kernels::cuda {
namespace {

constexpr int kSystemError = 2, kInvalidArgument = 4;
constexpr auto kPatience = std::chrono::seconds(60);
constexpr int kLookMilliseconds = 20;  // for an abort

std::atomic<int>& aborts() {
  static std::atomic<int> count = 0;
  return count;
}

enum class Kind : uint32_t { kReduce, kBroadcast, kSend };

/// What stands before each message, so that calls which do not match are noticed.
struct Header {
  Kind kind;
  uint32_t root;
  uint64_t bytes;
  bool operator==(const Header&) const = default;
};

/// A message that a rank sends or expects.
struct Message {
  Header header;  // sent, or expected
  Header got;     // received
  std::byte* payload;
  size_t done = 0;  // bytes, header included
  size_t size() const { return sizeof(Header) + header.bytes; }
};

class Comm {
 public:
  Comm(const NcclId& id, int ranks, int rank) : rank_(rank), sockets_(index(ranks), -1) {
    const std::string name(id.bytes, strnlen(id.bytes, sizeof(id.bytes)));
    const int listener = listen_at(address(name, rank));
    if (listener < 0) {
      fail(kSystemError);
      return;
    }
    for (int peer = 0; peer < rank; ++peer) connect_to(address(name, peer), peer);
    for (int peer = rank + 1; peer < ranks; ++peer) accept_at(listener);
    close(listener);
  }
  ~Comm() {
    for (const int socket : sockets_)
      if (socket >= 0) close(socket);
  }
  Comm(const Comm&) = delete;
  Comm& operator=(const Comm&) = delete;

  int error() const { return error_; }
  int ranks() const { return static_cast<int>(sockets_.size()); }
  void abort() { aborted_ = true; }

  struct Call {
    Kind kind;
    const std::byte* from;
    std::byte* to;
    size_t bytes;
    int peer;  // or root
    bool receives = false;
  };

  /// Does the calls of a group, all at once.
  void run(const std::vector<Call>& calls) {
    if (error_ != nccl::kSuccess) return;
    out_.assign(sockets_.size(), {});
    in_.assign(sockets_.size(), {});
    parts_.clear();
    for (const Call& call : calls) start(call);
    exchange();
    if (error_ != nccl::kSuccess) return;
    for (const Call& call : calls) finish(call);
  }

 private:
  static size_t index(int value) { return static_cast<size_t>(value); }
  void fail(int error) { error_ = error; }

  static sockaddr_un address(const std::string& name, int rank) {
    sockaddr_un made{};
    made.sun_family = AF_UNIX;
    const std::string path = name + "." + std::to_string(rank);  // in the abstract name space
    std::memcpy(made.sun_path + 1, path.data(), std::min(path.size(), sizeof(made.sun_path) - 1));
    return made;
  }
  static int listen_at(const sockaddr_un& at) {
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, reinterpret_cast<const sockaddr*>(&at), sizeof(at)) == 0 &&
        listen(listener, 128) == 0) {
      return listener;
    }
    close(listener);
    return -1;
  }
  void connect_to(const sockaddr_un& at, int peer) {
    const auto begin = std::chrono::steady_clock::now();
    const int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (connect(made, reinterpret_cast<const sockaddr*>(&at), sizeof(at)) != 0) {
      if (std::chrono::steady_clock::now() - begin > kPatience) {
        close(made);
        return fail(kSystemError);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const int32_t rank = rank_;
    if (write(made, &rank, sizeof(rank)) != sizeof(rank)) fail(kSystemError);
    sockets_[index(peer)] = made;
  }
  void accept_at(int listener) {
    pollfd waiting{listener, POLLIN, 0};
    const auto most = std::chrono::duration_cast<std::chrono::milliseconds>(kPatience);
    if (poll(&waiting, 1, static_cast<int>(most.count())) <= 0) return fail(kSystemError);
    const int made = accept(listener, nullptr, nullptr);
    int32_t rank = -1;
    if (read(made, &rank, sizeof(rank)) != sizeof(rank) || rank <= rank_ || rank >= ranks())
      return fail(kSystemError);
    sockets_[index(rank)] = made;
  }

  void start(const Call& call) {
    const bool root = rank_ == call.peer;
    if (call.kind == Kind::kSend) {
      call.receives ? expect(call, call.peer, call.to) : send(call, call.peer);
    } else if (!root) {
      call.kind == Kind::kReduce ? send(call, call.peer) : expect(call, call.peer, call.to);
    } else {
      for (int peer = 0; peer < ranks(); ++peer) {
        if (peer == rank_) continue;
        if (call.kind == Kind::kBroadcast) {
          send(call, peer);
        } else {
          auto& part = parts_.emplace_back(call.bytes / sizeof(float));
          expect(call, peer, reinterpret_cast<std::byte*>(part.data()));
        }
      }
    }
  }
  void finish(const Call& call) {
    if (call.kind == Kind::kSend || rank_ != call.peer) return;
    if (call.kind == Kind::kReduce) {
      add(call);
    } else if (call.to != call.from) {
      std::memcpy(call.to, call.from, call.bytes);
    }
  }

  void send(const Call& call, int peer) {
    const Header header{call.kind, root_of(call), call.bytes};
    out_[index(peer)].push_back({header, {}, const_cast<std::byte*>(call.from)});
  }
  void expect(const Call& call, int peer, std::byte* to) {
    const Header header{call.kind, root_of(call), call.bytes};
    in_[index(peer)].push_back({header, {}, to});
  }
  static uint32_t root_of(const Call& call) {
    return call.kind == Kind::kSend ? 0 : static_cast<uint32_t>(call.peer);
  }

  /// In the order of the ranks; takes the parts of this call, which stand first.
  void add(const Call& call) {
    std::vector<float> sum(call.bytes / sizeof(float));
    for (int rank = 0; rank < ranks(); ++rank) {
      const auto* own = reinterpret_cast<const float*>(call.from);
      const float* part = rank == rank_ ? own : parts_.front().data();
      for (size_t i = 0; i < sum.size(); ++i) sum[i] = rank == 0 ? part[i] : sum[i] + part[i];
      if (rank != rank_) parts_.pop_front();
    }
    std::memcpy(call.to, sum.data(), call.bytes);
  }

  /// Sends and receives until nothing is left, or the first error.
  void exchange() {
    while (error_ == nccl::kSuccess) {
      std::vector<pollfd> waiting;
      for (size_t peer = 0; peer < sockets_.size(); ++peer) {
        const int events = (in_[peer].empty() ? 0 : POLLIN) | (out_[peer].empty() ? 0 : POLLOUT);
        if (events != 0) waiting.push_back({sockets_[peer], static_cast<short>(events), 0});
      }
      if (waiting.empty()) return;
      if (aborted_) return fail(kSystemError);
      poll(waiting.data(), waiting.size(), kLookMilliseconds);
      for (size_t peer = 0; peer < sockets_.size(); ++peer) {
        while (error_ == nccl::kSuccess && !out_[peer].empty() && advance(peer, true)) {
        }
        while (error_ == nccl::kSuccess && !in_[peer].empty() && advance(peer, false)) {
        }
      }
    }
  }

  /// Moves some bytes of the first message; false where the socket would wait.
  bool advance(size_t peer, bool out) {
    Message& message = (out ? out_ : in_)[peer].front();
    const bool head = message.done < sizeof(Header);
    std::byte* data =
        head ? reinterpret_cast<std::byte*>(out ? &message.header : &message.got) + message.done
             : message.payload + (message.done - sizeof(Header));
    const size_t left = (head ? sizeof(Header) : message.size()) - message.done;
    const ssize_t moved = out ? ::send(sockets_[peer], data, left, MSG_DONTWAIT | MSG_NOSIGNAL)
                              : recv(sockets_[peer], data, left, MSG_DONTWAIT);
    if (moved < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (moved <= 0) {
      fail(nccl::kRemoteError);
      return false;
    }
    message.done += static_cast<size_t>(moved);
    if (!out && message.done == sizeof(Header) && !(message.got == message.header))
      fail(nccl::kInvalidUsage);
    if (message.done == message.size()) (out ? out_ : in_)[peer].pop_front();
    return true;
  }

  int rank_;
  std::vector<int> sockets_;  // one a rank; -1: this one
  std::atomic<int> error_ = nccl::kSuccess;
  std::atomic<bool> aborted_ = false;
  std::vector<std::deque<Message>> out_, in_;
  std::deque<std::vector<float>> parts_;  // of others, to be added here
};

/// The calls between group_start() and group_end() of a thread.
struct Group {
  int depth = 0;
  std::shared_ptr<Comm> comm;
  EmulatedStream* stream = nullptr;
  std::vector<Comm::Call> calls;
};
Group& group() {
  thread_local Group current;
  return current;
}

int group_start() {
  ++group().depth;
  return nccl::kSuccess;
}

int group_end() {
  Group& current = group();
  if (current.depth == 0) return nccl::kInvalidUsage;
  if (--current.depth > 0 || current.calls.empty()) return nccl::kSuccess;
  auto calls = std::make_shared<const std::vector<Comm::Call>>(std::move(current.calls));
  current.calls.clear();
  current.stream->driver.queue([comm = current.comm, calls] { comm->run(*calls); },
                               current.stream->queue);
  current.comm.reset();
  return nccl::kSuccess;
}

/// A handle is a share in the communicator; work that was captured holds another.
std::shared_ptr<Comm>& comm_of(void* comm) { return *static_cast<std::shared_ptr<Comm>*>(comm); }

int call(Comm::Call made, int type, void* comm, void* stream) {
  if (type != nccl::kFloat32) return kInvalidArgument;
  group_start();
  Group& current = group();
  const std::shared_ptr<Comm>& known = comm_of(comm);
  const bool another =
      !current.calls.empty() && (current.comm != known || current.stream != stream);
  const bool valid = made.peer >= 0 && made.peer < known->ranks() && !another;
  current.comm = known;
  current.stream = static_cast<EmulatedStream*>(stream);
  made.bytes *= sizeof(float);
  if (valid && made.bytes > 0) current.calls.push_back(made);
  const int ended = group_end();
  return valid ? ended : kInvalidArgument;
}

int unique_id(NcclId* id) {
  std::random_device random;
  *id = {};
  const std::string name = "quern-nccl-" + std::to_string(getpid()) + "-" +
                           std::to_string(random()) + std::to_string(random());
  std::memcpy(id->bytes, name.data(), name.size());
  return nccl::kSuccess;
}

int comm_init(void** made, int ranks, NcclId id, int rank) {
  auto comm = std::make_shared<Comm>(id, ranks, rank);
  if (comm->error() != nccl::kSuccess) return comm->error();
  *made = new std::shared_ptr<Comm>(std::move(comm));
  return nccl::kSuccess;
}

int comm_destroy(void* comm) {
  delete &comm_of(comm);
  return nccl::kSuccess;
}

int comm_abort(void* comm) {
  comm_of(comm)->abort();
  ++aborts();
  return comm_destroy(comm);
}

int async_error(void* comm, int* error) {
  *error = comm_of(comm)->error();
  return nccl::kSuccess;
}

const char* error_string(int error) {
  if (error == nccl::kRemoteError) return "remote process exited or there was a network error";
  return error == nccl::kInvalidUsage ? "invalid usage" : "an emulated error";
}
const char* last_error(void*) { return ""; }

const std::byte* bytes_of(const void* data) { return static_cast<const std::byte*>(data); }
std::byte* bytes_of(void* data) { return static_cast<std::byte*>(data); }

int reduce(const void* from, void* to, size_t count, int type, int op, int root, void* comm,
           void* stream) {
  if (op != nccl::kSum) return kInvalidArgument;
  return call({Kind::kReduce, bytes_of(from), bytes_of(to), count, root}, type, comm, stream);
}
int broadcast(const void* from, void* to, size_t count, int type, int root, void* comm,
              void* stream) {
  return call({Kind::kBroadcast, bytes_of(from), bytes_of(to), count, root}, type, comm, stream);
}
int send(const void* data, size_t count, int type, int peer, void* comm, void* stream) {
  return call({Kind::kSend, bytes_of(data), nullptr, count, peer}, type, comm, stream);
}
int receive(void* data, size_t count, int type, int peer, void* comm, void* stream) {
  return call({Kind::kSend, nullptr, bytes_of(data), count, peer, true}, type, comm, stream);
}

}  // namespace

int emulated_nccl_aborts() { return aborts(); }

const Nccl& emulated_nccl() {
  static constexpr Nccl kLibrary = {.unique_id = unique_id,
                                    .comm_init = comm_init,
                                    .comm_destroy = comm_destroy,
                                    .comm_abort = comm_abort,
                                    .async_error = async_error,
                                    .error_string = error_string,
                                    .last_error = last_error,
                                    .reduce = reduce,
                                    .broadcast = broadcast,
                                    .send = send,
                                    .receive = receive,
                                    .group_start = group_start,
                                    .group_end = group_end};
  return kLibrary;
}

}  // namespace quern::kernels::cuda
