// Divides the work of an OpKernel among TensorFlow's threads.

#ifndef KERAS_RADN_CPU_PARALLEL_H_
#define KERAS_RADN_CPU_PARALLEL_H_

#include <cstdint>

#include "tensorflow/core/framework/op_kernel.h"

namespace keras_radn {

// Calls work(begin, end) for ranges of [0, total).
template <typename Work>
void Parallel(tensorflow::OpKernelContext* context, int64_t total,
              int64_t nanoseconds_each, const Work& work) {
  using tensorflow::thread::ThreadPool;
  context->device()->tensorflow_cpu_worker_threads()->workers->ParallelFor(
      total, ThreadPool::SchedulingParams::Adaptive(nanoseconds_each), work);
}

}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_PARALLEL_H_
