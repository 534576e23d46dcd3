// Stands in for CUDA's header; see cuda_runtime.h.

#ifndef KERAS_RADN_CUDA_ON_HOST_CUDA_BF16_H_
#define KERAS_RADN_CUDA_ON_HOST_CUDA_BF16_H_

#include <cmath>
#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
  uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 bfloat16) {
  const uint32_t bits = uint32_t{bfloat16.bits} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Rounds to nearest, ties to even.
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  if (std::isnan(value)) return {0x7fff};
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  bits += 0x7fff + (bits >> 16 & 1);
  return {static_cast<uint16_t>(bits >> 16)};
}

#endif  // KERAS_RADN_CUDA_ON_HOST_CUDA_BF16_H_
