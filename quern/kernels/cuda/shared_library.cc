#include "quern/kernels/cuda/shared_library.h"

#include <dlfcn.h>

namespace quern::kernels::cuda {

SharedLibrary::SharedLibrary(std::initializer_list<const char*> names) {
  // Never unloaded: what the vendor's libraries hold at their end would leak each time.
  for (const char* name : names) {
    handle_ = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle_ != nullptr) return;
    if (reason_.empty()) reason_ = dlerror();
  }
}

SharedLibrary::~SharedLibrary() {
  if (handle_ != nullptr) dlclose(handle_);
}

void* SharedLibrary::find_symbol(const char* name) const {
  return handle_ == nullptr ? nullptr : dlsym(handle_, name);
}

}  // namespace quern::kernels::cuda
