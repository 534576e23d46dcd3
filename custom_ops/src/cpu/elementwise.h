// What stands between the convolutions of inference.
//
// Included by kernels.cc only, once per instruction set.

#ifndef KERAS_RADN_CPU_ELEMENTWISE_H_
#define KERAS_RADN_CPU_ELEMENTWISE_H_

#include "cpu/kernels.h"
#include "cpu/lanes.h"

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

// Pixels that are done of a part before the next one: a part is then read, and
// the output written, in stretches that the processor foresees.
constexpr int64_t kBlockPixels = 16;

// Positive numbers, and NaN.
template <typename V>
inline V Relu(const V& v) {
  using I = decltype(v < 0);
  return BitCast<V>(BitCast<I>(v) & ~(v < 0));
}

template <int kLanes, typename T, typename C>
inline void AffineRelu(const T* input, const C* scale, const C* offset,
                       T* output, int64_t depth) {
  int64_t c = 0;
  for (; c + kLanes <= depth; c += kLanes) {
    Io<kLanes>::Store(
        Relu(Io<kLanes>::Load(input + c) * Io<kLanes>::Load(scale + c) +
             Io<kLanes>::Load(offset + c)),
        output + c);
  }
  if constexpr (kLanes > 1) {
    if (c < depth) {
      AffineRelu<kLanes / 2>(input + c, scale + c, offset + c, output + c,
                             depth - c);
    }
  }
}

template <typename T, typename C>
void ConcatAffineRelu(const Part<T>* parts, int64_t count, int64_t channels,
                      const C* scale, const C* offset, T* outputs,
                      int64_t begin, int64_t end) {
  for (int64_t first = begin; first < end; first += kBlockPixels) {
    const int64_t last = first + kBlockPixels < end ? first + kBlockPixels : end;
    int64_t channel = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t depth = parts[i].channels;
      for (int64_t p = first; p < last; ++p) {
        AffineRelu<kVectorBytes / sizeof(C)>(
            parts[i].data + p * depth, scale + channel, offset + channel,
            outputs + p * channels + channel, depth);
      }
      channel += depth;
    }
  }
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_ELEMENTWISE_H_
