#include "quern/task/problem.h"

namespace quern::task {

double Problem::evaluation_loss(graph::Executor& executor) {
  double sum = 0;
  for (const float value : executor.output("nll").f32_span()) sum += static_cast<double>(value);
  return sum;
}

}  // namespace quern::task
