// The CUDA kernels. Compiled by nvcc from kernels.cu.cc; this header needs
// neither CUDA nor TensorFlow, so that each side builds without the other.

#ifndef KERAS_RADN_CUDA_KERNELS_H_
#define KERAS_RADN_CUDA_KERNELS_H_

#include <cstdint>

#include "sampling.h"

namespace keras_radn {
namespace cuda {

// Null, or what went wrong, in words.
using Error = const char*;

// These are for T = float, Half and Bfloat16. They start work on `stream`, a
// cudaStream_t, and return. Pointers are to the device's memory; the output may
// be empty, and `mask_gradient` may be null.
template <typename T>
Error Sum(void* stream, const Samples<T>& samples, T* outputs);

template <typename T>
Error Columns(void* stream, const Samples<T>& samples, T* outputs);

// Gradients of either op. Adds to map_gradient, in an order that varies from
// run to run, and overwrites the others.
template <typename T>
Error Gradient(void* stream, const Samples<T>& samples, const T* gradient,
               float* map_gradient, float* offset_gradient,
               float* mask_gradient);

// Rounds sums to 16 bits.
template <typename T>
Error Narrow(void* stream, const float* values, T* outputs, int64_t count);

// The toolkit that compiled the kernels and ten times the compute capabilities
// that it compiled them for: "13000 800 900".
const char* Targets();

Error Zero(void* stream, void* memory, int64_t bytes);
Error Copy(void* stream, const void* from, void* to, int64_t bytes);

}  // namespace cuda
}  // namespace keras_radn

#endif  // KERAS_RADN_CUDA_KERNELS_H_
