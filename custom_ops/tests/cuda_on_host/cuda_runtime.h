// Stands in for CUDA's header where there is no GPU: the kernels' text is
// compiled by a C++ compiler, and the threads of a grid run one after another.
// That checks indices and arithmetic, but neither races nor launches. The GPU
// is one of compute capability 9.0 with 1 GB; CUDA_ON_HOST_DEVICES is the
// number of them, CUDA_ON_HOST_DRIVER the CUDA that the driver is for (12040
// is 12.4).

#ifndef KERAS_RADN_CUDA_ON_HOST_CUDA_RUNTIME_H_
#define KERAS_RADN_CUDA_ON_HOST_CUDA_RUNTIME_H_

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
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

enum cudaError_t {
  cudaSuccess,
  cudaErrorMemoryAllocation,
  cudaErrorInvalidConfiguration,
  cudaErrorInsufficientDriver,
  cudaErrorNoDevice,
};
enum cudaMemcpyKind {
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyHostToDevice,
};
using cudaStream_t = struct CUstream_st*;

inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t error) {
  const char* const words[] = {"no error", "out of memory",
                               "invalid configuration argument",
                               "CUDA driver version is insufficient for CUDA "
                               "runtime version",
                               "no CUDA-capable device is detected"};
  return words[error];
}

inline int from_environment(const char* name, int otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoi(value);
}
inline cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = from_environment("CUDA_ON_HOST_DRIVER", 13000);
  return cudaSuccess;
}
inline cudaError_t cudaGetDeviceCount(int* count) {
  int driver;
  cudaDriverGetVersion(&driver);
  if (driver < 13000) return cudaErrorInsufficientDriver;
  *count = from_environment("CUDA_ON_HOST_DEVICES", 1);
  return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
}
struct cudaDeviceProp {
  char name[256] = "no GPU, but the host";
  int major = 9, minor = 0;
};
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = cudaDeviceProp();
  return cudaSuccess;
}

inline cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = size_t{1} << 30;
  return cudaSuccess;
}
inline cudaError_t cudaMalloc(void** memory, size_t bytes) {
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *memory == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes,
                              cudaMemcpyKind) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes,
                                   cudaStream_t) {
  std::memset(memory, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes,
                                   cudaMemcpyKind, cudaStream_t) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}

using cudaEvent_t = std::chrono::steady_clock::time_point*;

inline cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new std::chrono::steady_clock::time_point;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  *event = std::chrono::steady_clock::now();
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start,
                                        cudaEvent_t stop) {
  *milliseconds =
      std::chrono::duration<float, std::milli>(*stop - *start).count();
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
