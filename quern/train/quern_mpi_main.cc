// libquern_mpi: the functions of MPI that training with ranks uses, as a table. Compiled with the
// machine's mpi.h, whose types differ from one MPI to another.
#include <mpi.h>

#include <memory>
#include <string>

#include "quern/train/mpi_library.h"

namespace {

constexpr int kTag = 1;  // messages of a pair arrive in order, so one is enough

std::string& error_text() {
  static std::string text;
  return text;
}

bool failed(int code) {
  if (code == MPI_SUCCESS) return false;
  char buffer[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, buffer, &length);
  error_text().assign(buffer, static_cast<size_t>(length));
  return true;
}

template <typename Start>
void* begin(Start start) {
  auto request = std::make_unique<MPI_Request>(MPI_REQUEST_NULL);
  return failed(start(request.get())) ? nullptr : request.release();
}

int start(int* rank, int* size, int* local_rank, int* local_size) {
  int provided = 0;
  const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  if (failed(code)) return code;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, rank);
  MPI_Comm_size(MPI_COMM_WORLD, size);
  MPI_Comm local = MPI_COMM_NULL;
  const int split =
      MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, *rank, MPI_INFO_NULL, &local);
  if (failed(split)) return split;
  MPI_Comm_rank(local, local_rank);
  MPI_Comm_size(local, local_size);
  MPI_Comm_free(&local);
  return 0;
}

void* send(const void* data, size_t bytes, int to) {
  return begin([&](MPI_Request* request) {
    return MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, kTag, MPI_COMM_WORLD, request);
  });
}

void* receive(void* data, size_t bytes, int from) {
  return begin([&](MPI_Request* request) {
    return MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, from, kTag, MPI_COMM_WORLD, request);
  });
}

void* broadcast(void* data, size_t bytes, int from) {
  return begin([&](MPI_Request* request) {
    return MPI_Ibcast(data, static_cast<int>(bytes), MPI_BYTE, from, MPI_COMM_WORLD, request);
  });
}

void* sum(double* values, size_t count) {
  return begin([&](MPI_Request* request) {
    return MPI_Iallreduce(MPI_IN_PLACE, values, static_cast<int>(count), MPI_DOUBLE, MPI_SUM,
                          MPI_COMM_WORLD, request);
  });
}

int done(void* opaque) {
  auto* request = static_cast<MPI_Request*>(opaque);
  int flag = 0;
  if (failed(MPI_Test(request, &flag, MPI_STATUS_IGNORE))) return -1;
  if (flag == 0) return 0;
  const std::unique_ptr<MPI_Request> owned(request);
  return 1;
}

const char* last_error() { return error_text().c_str(); }
void finish() { MPI_Finalize(); }
void abort_all(int exit_code) { MPI_Abort(MPI_COMM_WORLD, exit_code); }

constexpr QuernMpiLibrary kLibrary = {quern::train::kMpiLibraryVersion,
                                      start,
                                      send,
                                      receive,
                                      broadcast,
                                      sum,
                                      done,
                                      last_error,
                                      finish,
                                      abort_all};

}  // namespace

extern "C" const QuernMpiLibrary* quern_mpi_library() { return &kLibrary; }
