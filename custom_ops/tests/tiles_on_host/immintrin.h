// Stand-in for Intel's header: what AVX-512 BF16 does, for any processor.

#ifndef KERAS_RADN_IMMINTRIN_H_
#define KERAS_RADN_IMMINTRIN_H_

#include <cstdint>
#include <cstring>

typedef float __m512 __attribute__((vector_size(64)));
typedef float __m256 __attribute__((vector_size(32)));
typedef int32_t __m512i __attribute__((vector_size(64)));
typedef int32_t __m256i __attribute__((vector_size(32)));
typedef uint16_t __m512bh __attribute__((vector_size(64)));
typedef uint16_t __m256bh __attribute__((vector_size(32)));

namespace stand_in {

inline float Widen(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

inline uint16_t Round(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

template <int kCount, typename F, typename B>
F Dot(F sum, const B& a, const B& b) {
  for (int i = 0; i < kCount; ++i) {
    sum[i] += Widen(a[2 * i]) * Widen(b[2 * i]);
    sum[i] += Widen(a[2 * i + 1]) * Widen(b[2 * i + 1]);
  }
  return sum;
}

}  // namespace stand_in

inline __m512 _mm512_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b) {
  return stand_in::Dot<16>(sum, a, b);
}
inline __m256 _mm256_dpbf16_ps(__m256 sum, __m256bh a, __m256bh b) {
  return stand_in::Dot<8>(sum, a, b);
}
inline __m512i _mm512_set1_epi32(int32_t value) { return __m512i{} + value; }
inline __m256i _mm256_set1_epi32(int32_t value) { return __m256i{} + value; }
inline __m256bh _mm512_cvtneps_pbh(__m512 values) {
  __m256bh rounded;
  for (int i = 0; i < 16; ++i) rounded[i] = stand_in::Round(values[i]);
  return rounded;
}

#endif  // KERAS_RADN_IMMINTRIN_H_
