#include <unistd.h>

#include "quern/cli/command.h"

int main(int argc, char** argv) {
  quern::cli::Streams streams;
  streams.error_is_terminal = isatty(STDERR_FILENO) == 1;
  return quern::cli::run_command_line({argv, static_cast<size_t>(argc)}, streams);
}
