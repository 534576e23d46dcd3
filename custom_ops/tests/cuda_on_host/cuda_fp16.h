// Stands in for CUDA's header; see cuda_runtime.h.

#ifndef KERAS_RADN_CUDA_ON_HOST_CUDA_FP16_H_
#define KERAS_RADN_CUDA_ON_HOST_CUDA_FP16_H_

struct __half {
  _Float16 value;
};

inline float __half2float(__half half) { return half.value; }
inline __half __float2half_rn(float value) {
  return {static_cast<_Float16>(value)};
}

#endif  // KERAS_RADN_CUDA_ON_HOST_CUDA_FP16_H_
