// Stands in for CUDA's header where there is no GPU: the kernels' text is
// compiled by a C++ compiler, and the threads of a grid run one after another.
// That checks indices and arithmetic, but neither races nor launches.

#ifndef KERAS_RADN_CUDA_ON_HOST_CUDA_RUNTIME_H_
#define KERAS_RADN_CUDA_ON_HOST_CUDA_RUNTIME_H_

#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __launch_bounds__(threads)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3() = default;
  explicit dim3(unsigned x) : x(x) {}
};
inline dim3 gridDim, blockDim, blockIdx, threadIdx;

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

// So that tests know which instantiation they run.
inline int64_t vector_accesses = 0;

inline uint4 __ldg(const uint4* from) {
  ++vector_accesses;
  return *from;
}
inline void __stwb(uint4* to, uint4 value) {
  ++vector_accesses;
  *to = value;
}
inline float atomicAdd(float* to, float value) {
  const float before = *to;
  *to += value;
  return before;
}

enum cudaError_t { cudaSuccess, cudaErrorInvalidConfiguration };
enum cudaMemcpyKind { cudaMemcpyDeviceToDevice };
using cudaStream_t = struct CUstream_st*;

inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) {
  return "invalid configuration";
}
inline cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes,
                                   cudaStream_t) {
  std::memset(memory, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes,
                                   cudaMemcpyKind, cudaStream_t) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config,
                               void (*kernel)(Parameters...),
                               Arguments... arguments) {
  if (config->gridDim.x < 1 || config->gridDim.x > 0x7fffffff ||
      config->blockDim.x < 1 || config->blockDim.x > 1024) {
    return cudaErrorInvalidConfiguration;
  }
  // Any grid must do, and a small one runs the loops over the grid.
  gridDim.x = config->gridDim.x < 3 ? config->gridDim.x : 3;
  blockDim = config->blockDim;
  for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) {
    for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x) {
      kernel(arguments...);
    }
  }
  return cudaSuccess;
}

#endif  // KERAS_RADN_CUDA_ON_HOST_CUDA_RUNTIME_H_
