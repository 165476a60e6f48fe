// A program of someone else's, built against an installed Quern.
#include <cstdio>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/base/strings.h"

int main() {
  try {
    quern::parse_bytes("16 bananas");
  } catch (const quern::Error& error) {
    std::printf("%llu %08x %s\n", static_cast<unsigned long long>(quern::parse_bytes("16GB")),
                quern::crc32c("123456789"), error.code().c_str());
    return 0;
  }
  return 1;
}
