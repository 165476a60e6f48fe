#pragma once

#include "quern/kernels/cuda/nccl.h"

namespace quern::kernels::cuda {

/// An imitation of NCCL over EmulatedDrivers, of one process or of several on one machine: ranks
/// meet at Unix sockets named by the id. A transfer runs when its queue comes to it, and waits for
/// its peers. Calls of two ranks that do not match, and a peer that is gone, are asynchronous
/// errors.
const Nccl& emulated_nccl();

/// Communicators that were ended by comm_abort, in this process.
int emulated_nccl_aborts();

}  // namespace quern::kernels::cuda
