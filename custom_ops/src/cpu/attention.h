// Attention: for each position a mean of values, weighted by similarity.
//
// Included by convolutions.cc only, once per instruction set.

#ifndef KERAS_RADN_CPU_ATTENTION_H_
#define KERAS_RADN_CPU_ATTENTION_H_

#include <cstdint>
#include <cstring>

#include "cpu/convolutions.h"
#include "cpu/lanes.h"
#include "cpu/lines.h"
#include "cpu/products.h"

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

// For x <= 0, to some units in the last place; 1e-38 is as good as 0. A
// polynomial on [-ln(2) / 2, ln(2) / 2], as in Cephes, and a power of 2.
template <typename V>
inline V Exp(V x) {
  using I = decltype(x < x);
  x = BitCast<V>((BitCast<I>(x) & ~(x < -87.0f)) |
                 (BitCast<I>(V{} - 87.0f) & (x < -87.0f)));
  const V magic = V{} + 0x1.8p23f;  // a unit in the last place is 1
  const V shifted = x * 0x1.715476p0f + magic;
  const V whole = shifted - magic;
  const V r = x - whole * 0x1.62e4p-1f - whole * 0x1.7f7d1cp-20f;
  V sum = r * 1.9875691e-4f + 1.3981999e-3f;
  sum = sum * r + 8.3334519e-3f;
  sum = sum * r + 4.1665795e-2f;
  sum = sum * r + 1.6666665e-1f;
  sum = ((sum * r + 0.5f) * r + 1.0f) * r + 1.0f;
  return BitCast<V>(BitCast<I>(sum) + (BitCast<I>(shifted) << 23));
}

// Keeps sums as they are.
struct StoreScores {
  float* out;
  int64_t filters, row;

  template <int kCount>
  void Store(const VectorOf<float, kCount>& sums, int64_t p,
             int64_t filter) const {
    float* to = out + p * row + filter;
    if (filters - filter >= kCount) {
      Io<kCount>::Store(sums, to);
    } else {
      float some[kCount];
      Io<kCount>::Store(sums, some);
      CopySome<kCount / 2>(some, to, filters - filter);
    }
  }
};

// Scales the sums of each pixel and adds its features.
template <typename T>
struct StoreMeans {
  const float* scale;
  const T* features;
  T* out;
  int64_t channels;

  template <int kCount>
  void Store(const VectorOf<float, kCount>& sums, int64_t p,
             int64_t channel) const {
    const int64_t at = p * channels + channel, count = channels - channel;
    T some[kCount] = {};
    if (count >= kCount) {
      Io<kCount>::Store(sums * scale[p] + Io<kCount>::Load(features + at),
                        out + at);
    } else {
      CopySome<kCount / 2>(features + at, some, count);
      Io<kCount>::Store(sums * scale[p] + Io<kCount>::Load(some), some);
      CopySome<kCount / 2>(some, out + at, count);
    }
  }
};

using Floats = VectorOf<float, kLanes>;

inline int64_t PaddedScores(int64_t positions) {
  return (positions + kLanes - 1) / kLanes * kLanes;
}

// exp(scores - their maximum) as factors of a product; returns their sum.
template <typename E>
inline float ExpScores(float* scores, int64_t positions, E* factors) {
  const int64_t padded = PaddedScores(positions);
  for (int64_t i = positions; i < padded; ++i) scores[i] = -__builtin_inff();
  Floats largest = Io<kLanes>::Load(scores);
  for (int64_t i = kLanes; i < padded; i += kLanes) {
    const Floats v = Io<kLanes>::Load(scores + i);
    largest = v > largest ? v : largest;
  }
  float maximum = largest[0];
  for (int i = 1; i < kLanes; ++i) {
    maximum = largest[i] > maximum ? largest[i] : maximum;
  }
  Floats sum = {};
  for (int64_t i = 0; i < padded; i += kLanes) {
    const Floats v = Exp(Io<kLanes>::Load(scores + i) - maximum);
    sum += v;
    Io<kLanes>::Store(v, factors + i);
  }
  return HorizontalSum<float, kLanes>(sum);
}

template <typename T>
float Widen(const T& value) {
  return Io<1>::Load(&value)[0];
}

template <typename T>
void PackAttention(const T* keys, const T* values, int64_t positions,
                   int64_t depth, int64_t channels, void* packed) {
  auto* weights = static_cast<FactorOf<T>*>(packed);
  Pack<T>(
      1, depth, Depth(depth), positions,
      [&](int64_t, int64_t k, int64_t position) {
        return Widen(keys[position * depth + k]);
      },
      weights);
  Pack<T>(
      1, positions, Depth(positions), channels,
      [&](int64_t, int64_t position, int64_t channel) {
        return Widen(values[position * channels + channel]);
      },
      weights + PackedSize(1, Depth(depth), positions));
}

template <typename T>
void Attend(const Attention<T>& a, int64_t begin, int64_t end, void* scratch) {
  using E = FactorOf<T>;
  const int64_t depth = Depth(a.depth), row = PaddedScores(a.positions);
  const E* keys = static_cast<const E*>(a.packed);
  const E* values = keys + PackedSize(1, depth, a.positions);
  float* scores = static_cast<float*>(scratch);
  E* factors = reinterpret_cast<E*>(scores + kAttentionTile * row);
  E* queries = factors + kAttentionTile * row;
  for (int64_t first = begin; first < end; first += kAttentionTile) {
    const int64_t count =
        first + kAttentionTile < end ? kAttentionTile : end - first;
    for (int64_t p = 0; p < count; ++p) {
      Copy(a.queries + (first + p) * a.depth, queries + p * depth, a.depth);
      if (a.depth < depth) queries[p * depth + a.depth] = {};
    }
    Multiply<T>(Window<E>{{queries}, 1, depth, depth}, count, keys, a.positions,
                StoreScores{scores, a.positions, row});
    float scale[kAttentionTile];
    for (int64_t p = 0; p < count; ++p) {
      scale[p] =
          1 / ExpScores(scores + p * row, a.positions, factors + p * row);
    }
    Multiply<T>(Window<E>{{factors}, 1, Depth(a.positions), row}, count, values,
                a.channels,
                StoreMeans<T>{scale, a.features + first * a.channels,
                              a.outputs + first * a.channels, a.channels});
  }
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_ATTENTION_H_
