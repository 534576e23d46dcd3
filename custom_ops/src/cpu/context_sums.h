// Sums over windows of pixels, and what they give back to the pixels.
//
// Included by convolutions.cc only, once per instruction set.

#ifndef KERAS_RADN_CPU_CONTEXT_SUMS_H_
#define KERAS_RADN_CPU_CONTEXT_SUMS_H_

#include <cstdint>

#include "cpu/convolutions.h"
#include "cpu/lanes.h"
#include "cpu/norms.h"

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

template <typename T>
void SumWindow(int64_t channels, const Pixels<const T>& x, int64_t first,
               int64_t rows, int64_t columns, float* sums) {
  ForVectors(0, channels, [&](auto count, int64_t c) {
    constexpr int kCount = decltype(count)::kValue;
    VectorOf<float, kCount> sum = {};
    for (int64_t y = 0; y < rows; ++y) {
      const T* pixel = x.data + (first + y * x.width) * x.pixel + c;
      for (int64_t i = 0; i < columns; ++i, pixel += x.pixel) {
        sum += Io<kCount>::Load(pixel);
      }
    }
    Io<kCount>::Store(sum, sums + c);
  });
}

template <typename T>
void AddToPixels(int64_t channels, const float* vector,
                 const Pixels<const T>& x, const Pixels<T>& outputs,
                 int64_t begin, int64_t end) {
  ForVectors(0, channels, [&](auto count, int64_t c) {
    constexpr int kCount = decltype(count)::kValue;
    const auto added = Io<kCount>::Load(vector + c);
    for (int64_t p = begin; p < end; ++p) {
      Io<kCount>::Store(Io<kCount>::Load(x.data + p * x.pixel + c) + added,
                        outputs.data + p * outputs.pixel + c);
    }
  });
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_CONTEXT_SUMS_H_
