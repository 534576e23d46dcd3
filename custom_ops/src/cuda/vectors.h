// Channels in memory: read, written and added one by one or as vectors.
//
// Included by kernels.cu.cc only.

#ifndef KERAS_RADN_CUDA_VECTORS_H_
#define KERAS_RADN_CUDA_VECTORS_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace keras_radn {
namespace cuda {
namespace {

constexpr int kVectorBytes = 16;

__device__ inline float Widen(float value) { return value; }
__device__ inline float Widen(__half value) { return __half2float(value); }
__device__ inline float Widen(__nv_bfloat16 value) {
  return __bfloat162float(value);
}

__device__ inline void Round(float value, float* out) { *out = value; }
__device__ inline void Round(float value, __half* out) {
  *out = __float2half_rn(value);
}
__device__ inline void Round(float value, __nv_bfloat16* out) {
  *out = __float2bfloat16_rn(value);
}

// Channels are read and written one by one, or 16 bytes at a time. Intrinsics
// make that one instruction for sure: compilers split some stores of structs.
template <int kLanes, typename T>
__device__ inline void Load(const T* from, float (&values)[kLanes]) {
  if constexpr (kLanes == 1) {
    values[0] = Widen(*from);
  } else {
    T lanes[kLanes];
    const uint4 bits = __ldg(reinterpret_cast<const uint4*>(from));
    static_assert(sizeof(bits) == sizeof(lanes), "not a vector");
    memcpy(lanes, &bits, sizeof(bits));
#pragma unroll
    for (int i = 0; i < kLanes; ++i) values[i] = Widen(lanes[i]);
  }
}

template <int kLanes, typename T>
__device__ inline void Store(const float (&values)[kLanes], T* to) {
  if constexpr (kLanes == 1) {
    Round(values[0], to);
  } else {
    T lanes[kLanes];
#pragma unroll
    for (int i = 0; i < kLanes; ++i) Round(values[i], &lanes[i]);
    uint4 bits;
    static_assert(sizeof(bits) == sizeof(lanes), "not a vector");
    memcpy(&bits, lanes, sizeof(bits));
    __stwb(reinterpret_cast<uint4*>(to), bits);
  }
}

// Adds scale * values.
template <int kLanes>
__device__ inline void AtomicAdd(float scale, const float (&values)[kLanes],
                                 float* to) {
  int i = 0;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900 && CUDART_VERSION >= 12040
#pragma unroll
  for (; i + 4 <= kLanes; i += 4) {
    atomicAdd(reinterpret_cast<float4*>(to + i),
              make_float4(scale * values[i], scale * values[i + 1],
                          scale * values[i + 2], scale * values[i + 3]));
  }
#endif
#pragma unroll
  for (; i < kLanes; ++i) atomicAdd(to + i, scale * values[i]);
}

}  // namespace
}  // namespace cuda
}  // namespace keras_radn

#endif  // KERAS_RADN_CUDA_VECTORS_H_
