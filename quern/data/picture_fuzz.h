#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "quern/base/error.h"
#include "quern/data/picture.h"

namespace quern::data {

/// Decodes `begin` and the fuzzer's bytes, whole and reduced: nothing but quern::Error may come
/// out.
inline void fuzz_picture(std::string begin, const uint8_t* data, size_t size) {
  begin.append(reinterpret_cast<const char*>(data), size);
  for (const Cover& cover : {Cover{}, Cover{7, 9}}) {
    try {
      const Picture picture = decode_picture(begin, "fuzz", cover);
      if (picture.height * picture.width < 1 << 20) fit_picture(picture, 7, 9, 3);
    } catch (const Error&) {
    }
  }
}

}  // namespace quern::data
