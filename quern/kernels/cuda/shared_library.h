#pragma once

#include <initializer_list>
#include <string>

namespace quern::kernels::cuda {

/// A library found when the program runs; closed with it.
class SharedLibrary {
 public:
  /// The first of these names that is found; open() is false where none is.
  explicit SharedLibrary(std::initializer_list<const char*> names);
  ~SharedLibrary();
  SharedLibrary(const SharedLibrary&) = delete;
  SharedLibrary& operator=(const SharedLibrary&) = delete;

  bool open() const { return handle_ != nullptr; }
  const std::string& reason() const { return reason_; }  // why not

  /// Sets `function` to the symbol of that name; false where the library lacks it.
  template <typename Function>
  bool find(const char* name, Function*& function) const {
    void* symbol = find_symbol(name);
    function = reinterpret_cast<Function*>(symbol);
    return symbol != nullptr;
  }

 private:
  void* find_symbol(const char* name) const;

  void* handle_ = nullptr;
  std::string reason_;
};

}  // namespace quern::kernels::cuda
