// Products of pixels with a matrix of weights, with the sums in registers.
//
// Included by convolutions.cc only, once per instruction set.

#ifndef KERAS_RADN_CPU_PRODUCTS_H_
#define KERAS_RADN_CPU_PRODUCTS_H_

#include <cstdint>
#include <cstring>

#include "cpu/lanes.h"

#ifdef __AMX_BF16__
#include "cpu/tiles.h"
#endif

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

constexpr int kLanes = kVectorBytes / sizeof(float);

// A vector of filters for each of some pixels: as many sums as leave registers
// for the weights.
#if defined(__AVX512F__)
constexpr int kSums = 24, kMaxVectors = 4;
#elif defined(__AVX__)
constexpr int kSums = 12, kMaxVectors = 2;
#else
constexpr int kSums = 8, kMaxVectors = 2;
#endif
constexpr int kMaxPixels = 12;

// The size of the blocks for what blocks of `size` leave over: of the usual
// widths nothing is left for blocks of one, which wait for their own sums.
constexpr int SmallerBlock(int size) {
  return size > 8 ? 8 : size > 4 ? 4 : size / 2;
}

// What the products of maps of T multiply: E, of which kPair at a time.
template <typename T>
struct Factor {
  using E = float;
  static constexpr int kPair = 1;
  template <typename V>
  static void MultiplyAdd(const V& weights, const E* x, V& sum) {
    sum += weights * *x;
  }
};
#ifdef __AVX512BF16__
template <>
struct Factor<Bfloat16> {
  using E = Bfloat16;
  static constexpr int kPair = 2;
  template <typename V>
  static void MultiplyAdd(const V& weights, const E* x, V& sum) {
    int32_t pair;
    memcpy(&pair, x, sizeof(pair));
    if constexpr (sizeof(V) == 64) {
      sum = _mm512_dpbf16_ps(sum, BitCast<__m512bh>(weights),
                             BitCast<__m512bh>(_mm512_set1_epi32(pair)));
    } else {
      sum = _mm256_dpbf16_ps(sum, BitCast<__m256bh>(weights),
                             BitCast<__m256bh>(_mm256_set1_epi32(pair)));
    }
  }
};
#endif

template <typename T>
using FactorOf = typename Factor<T>::E;

// What is multiplied for a pixel: `depth` values of each line, from pixel *
// step on.
template <typename E>
struct Window {
  const E* line[4];
  int64_t lines, depth, step;
};

template <typename T, int kVectors, int kCount, int kPixels, typename E,
          typename Finish>
__attribute__((noinline)) void MultiplyBlock(const Window<E>& window,
                                             int64_t pixel, const E* weights,
                                             int64_t filter,
                                             const Finish& finish) {
  using F = Factor<T>;
  using V = VectorOf<float, kCount>;
  V sums[kPixels][kVectors] = {};
  const int64_t step = window.step;
  for (int64_t i = 0; i < window.lines; ++i) {
    const E* x = window.line[i] + pixel * step;
    for (int64_t k = 0; k < window.depth; k += F::kPair) {
      V w[kVectors];
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        memcpy(&w[v], weights + v * F::kPair * kCount, sizeof(w[v]));
      }
      weights += kVectors * F::kPair * kCount;
#pragma GCC unroll 16
      for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) {
          F::MultiplyAdd(w[v], x + p * step + k, sums[p][v]);
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      finish.template Store<kCount>(sums[p][v], pixel + p, filter + v * kCount);
    }
  }
}

template <typename T, int kVectors, int kCount, int kPixels, typename E,
          typename Finish>
inline void MultiplyPixels(const Window<E>& window, int64_t pixel,
                           int64_t pixels, const E* weights, int64_t filter,
                           const Finish& finish) {
  for (; pixel + kPixels <= pixels; pixel += kPixels) {
    MultiplyBlock<T, kVectors, kCount, kPixels>(window, pixel, weights, filter,
                                                finish);
  }
  if constexpr (kPixels > 1) {
    MultiplyPixels<T, kVectors, kCount, SmallerBlock(kPixels)>(
        window, pixel, pixels, weights, filter, finish);
  }
}

// Calls visit(group, first filter) for groups of filters: some whole vectors,
// then a half of one if that suffices for what is left.
template <int kGroupVectors, int kGroupCount>
struct Group {
  static constexpr int kVectors = kGroupVectors, kCount = kGroupCount;
  static constexpr int kFilters = kVectors * kCount;
  static constexpr int kPixels =
      kSums / kVectors < kMaxPixels ? kSums / kVectors : kMaxPixels;
};
template <int kVectors = kMaxVectors, int kCount = kLanes, typename Visit>
inline void ForGroups(int64_t filter, int64_t filters, const Visit& visit) {
  using G = Group<kVectors, kCount>;
  constexpr int kUnused = kCount == kLanes ? kLanes / 2 : kCount;
  for (; filters - filter > G::kFilters - kUnused; filter += G::kFilters) {
    visit(G(), filter);
  }
  if constexpr (kVectors > 1) {
    ForGroups<kVectors / 2, kCount>(filter, filters, visit);
  } else if constexpr (kCount == kLanes) {
    ForGroups<1, kLanes / 2>(filter, filters, visit);
  }
}

// The products of a group of filters with all pixels of the window.
template <typename T, typename G, typename E, typename Finish>
inline void MultiplyGroup(const Window<E>& window, int64_t pixels,
                          const E* weights, int64_t filter,
                          const Finish& finish) {
#ifdef __AMX_BF16__
  if constexpr (Factor<T>::kPair == 2 && G::kCount == kTileRows) {
    return MultiplyInTiles<G::kVectors>(window, pixels, weights, filter,
                                        finish);
  }
#endif
  MultiplyPixels<T, G::kVectors, G::kCount, G::kPixels>(
      window, 0, pixels, weights, filter, finish);
}

// Ends with finish.Store(vector of filters, pixel, first filter).
template <typename T, typename E, typename Finish>
inline void Multiply(const Window<E>& window, int64_t pixels, const E* weights,
                     int64_t filters, const Finish& finish) {
  ForGroups(0, filters, [&](auto group, int64_t filter) {
    using G = decltype(group);
    MultiplyGroup<T, G>(window, pixels, weights, filter, finish);
    weights += window.lines * window.depth * G::kFilters;
  });
}

// Writes weight(tap, channel, filter) in the order in which `Multiply` reads
// them, where each tap is padded to `depth` channels.
template <typename T, typename E, typename Weight>
void Pack(int64_t taps, int64_t channels, int64_t depth, int64_t filters,
          const Weight& weight, E* weights) {
  constexpr int kPair = Factor<T>::kPair;
  ForGroups(0, filters, [&](auto group, int64_t filter) {
    using G = decltype(group);
    constexpr int kSize = kPair * G::kFilters;
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t c = 0; c < depth; c += kPair, weights += kSize) {
        float values[kSize];
        for (int f = 0; f < G::kFilters; ++f) {
          for (int i = 0; i < kPair; ++i) {
            const bool inside = c + i < channels && filter + f < filters;
            values[f * kPair + i] =
                inside ? weight(tap, c + i, filter + f) : 0.0f;
          }
        }
        for (int v = 0; v < kSize; v += G::kCount) {
          Io<G::kCount>::Store(Io<G::kCount>::Load(values + v), weights + v);
        }
      }
    }
  });
}

// Elements of these weights.
inline int64_t PackedSize(int64_t taps, int64_t depth, int64_t filters) {
  constexpr int kHalf = kLanes / 2;
  return taps * depth * ((filters + kHalf - 1) / kHalf * kHalf);
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_PRODUCTS_H_
