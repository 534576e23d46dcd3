// Batch norms in training: statistics of a batch, and gradients.
//
// Included by convolutions.cc only, once per instruction set.

#ifndef KERAS_RADN_CPU_NORMS_H_
#define KERAS_RADN_CPU_NORMS_H_

#include <cstdint>
#include <cstring>

#include "cpu/convolutions.h"
#include "cpu/lanes.h"
#include "cpu/products.h"

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

// Pixels that are summed in float before the sums are added in double.
constexpr int64_t kSumPixels = 64;

template <int kVectorLanes>
struct Count {
  static constexpr int kValue = kVectorLanes;
};

// Calls visit(lanes, first channel) for whole vectors, then ever smaller ones.
template <int kCount = kLanes, typename Visit>
inline void ForVectors(int64_t channel, int64_t channels, const Visit& visit) {
  for (; channel + kCount <= channels; channel += kCount) {
    visit(Count<kCount>(), channel);
  }
  if constexpr (kCount > 1) {
    if (channel < channels) ForVectors<kCount / 2>(channel, channels, visit);
  }
}

// Calls visit(lanes, first channel, first pixel, last pixel) for the pixels of
// the rows, some at a time.
template <typename Visit>
inline void ForSums(int64_t channels, int64_t first, int64_t last,
                    const Visit& visit) {
  for (int64_t p = first; p < last; p += kSumPixels) {
    const int64_t end = p + kSumPixels < last ? p + kSumPixels : last;
    ForVectors(0, channels, [&](auto count, int64_t channel) {
      visit(count, channel, p, end);
    });
  }
}

template <int kCount>
inline void AddTo(const VectorOf<float, kCount>& v, double* sums) {
  for (int i = 0; i < kCount; ++i) sums[i] += v[i];
}

// Adds up x - shift and its square, [2, channels].
template <typename T>
void Moments(int64_t channels, const float* shift, const Pixels<const T>& x,
             int64_t begin, int64_t end, double* sums) {
  ForSums(channels, begin * x.width, end * x.width,
          [&](auto count, int64_t c, int64_t p, int64_t last) {
            constexpr int kCount = decltype(count)::kValue;
            using V = VectorOf<float, kCount>;
            const V center = Io<kCount>::Load(shift + c);
            V sum = {}, squares = {};
            for (; p < last; ++p) {
              const V v = Io<kCount>::Load(x.data + p * x.pixel + c) - center;
              sum += v;
              squares += v * v;
            }
            AddTo<kCount>(sum, sums + c);
            AddTo<kCount>(squares, sums + channels + c);
          });
}

template <typename T>
void Rectify(const Norm& norm, const Pixels<const T>& x,
             const Pixels<T>& outputs, int64_t begin, int64_t end) {
  for (int64_t p = begin * x.width; p < end * x.width; ++p) {
    AffineRelu<kLanes>(x.data + p * x.pixel, norm.scale, norm.offset,
                       outputs.data + p * outputs.pixel, norm.channels);
  }
}

// Where the norm's result is negative the gradient, of x from the same row on,
// becomes zero.
template <int kCount, typename T, typename G>
inline VectorOf<float, kCount> Rectified(const VectorOf<float, kCount>& scale,
                                         const VectorOf<float, kCount>& offset,
                                         const T* x, const G* gradient,
                                         VectorOf<float, kCount>* value) {
  using V = VectorOf<float, kCount>;
  using I = decltype(scale > offset);
  *value = Io<kCount>::Load(x);
  const I passes = *value * scale + offset > 0.0f;
  return BitCast<V>(BitCast<I>(Io<kCount>::Load(gradient)) & passes);
}

// Adds up the rectified gradient and its product with x - mean, [2, channels].
template <typename T, typename G, typename Put>
inline void RectifyBack(const Norm& norm, const Pixels<const T>& x,
                        const G* gradient, int64_t pixel, int64_t begin,
                        int64_t end, double* sums, const Put& put) {
  const int64_t channels = norm.channels, first = begin * x.width;
  ForSums(channels, first, end * x.width,
          [&](auto count, int64_t c, int64_t p, int64_t last) {
            constexpr int kCount = decltype(count)::kValue;
            using V = VectorOf<float, kCount>;
            const V scale = Io<kCount>::Load(norm.scale + c);
            const V offset = Io<kCount>::Load(norm.offset + c);
            const V mean = Io<kCount>::Load(norm.mean + c);
            V sum = {}, products = {};
            for (; p < last; ++p) {
              V v;
              const V rectified =
                  Rectified<kCount>(scale, offset, x.data + p * x.pixel + c,
                                    gradient + (p - first) * pixel + c, &v);
              sum += rectified;
              products += rectified * (v - mean);
              put(count, rectified, scale, p - first, c);
            }
            AddTo<kCount>(sum, sums + c);
            AddTo<kCount>(products, sums + channels + c);
          });
}

template <typename T>
void RectifyGradient(const Norm& norm, const Pixels<const T>& x,
                     float* gradient, int64_t pixel, int64_t begin, int64_t end,
                     double* sums) {
  RectifyBack(
      norm, x, gradient, pixel, begin, end, sums,
      [&](auto count, const auto& v, const auto&, int64_t p, int64_t c) {
        Io<decltype(count)::kValue>::Store(v, gradient + p * pixel + c);
      });
}

template <typename T>
void RectifiedSums(const Norm& norm, const Pixels<const T>& x,
                   const Pixels<const T>& gradient, int64_t begin, int64_t end,
                   double* sums) {
  RectifyBack(norm, x, gradient.data + begin * gradient.width * gradient.pixel,
              gradient.pixel, begin, end, sums,
              [](auto, const auto&, const auto&, int64_t, int64_t) {});
}

template <typename T>
void RectifiedGradient(const Norm& norm, const float* constant,
                       const float* slope, const Pixels<const T>& x,
                       const Pixels<const T>& gradient,
                       const Pixels<T>& outputs, int64_t begin, int64_t end) {
  ForSums(norm.channels, begin * x.width, end * x.width,
          [&](auto count, int64_t c, int64_t p, int64_t last) {
            constexpr int kCount = decltype(count)::kValue;
            using V = VectorOf<float, kCount>;
            const V scale = Io<kCount>::Load(norm.scale + c);
            const V offset = Io<kCount>::Load(norm.offset + c);
            const V mean = Io<kCount>::Load(norm.mean + c);
            const V k1 = Io<kCount>::Load(constant + c);
            const V k2 = Io<kCount>::Load(slope + c);
            for (; p < last; ++p) {
              V v;
              const V g =
                  Rectified<kCount>(scale, offset, x.data + p * x.pixel + c,
                                    gradient.data + p * gradient.pixel + c, &v);
              Io<kCount>::Store(scale * g - k1 - k2 * (v - mean),
                                outputs.data + p * outputs.pixel + c);
            }
          });
}

template <typename T>
void AddRectified(const Norm& norm, const Pixels<const T>& x,
                  const float* gradient, int64_t begin, int64_t end,
                  double* sums, float* total, int64_t total_pixel) {
  RectifyBack(
      norm, x, gradient, norm.channels, begin, end, sums,
      [&](auto count, const auto& v, const auto& scale, int64_t p, int64_t c) {
        constexpr int kCount = decltype(count)::kValue;
        float* to = total + p * total_pixel + c;
        Io<kCount>::Store(Io<kCount>::Load(to) + v * scale, to);
      });
}

template <typename T>
void CenterGradient(const Norm& norm, const float* constant, const float* slope,
                    const Pixels<const T>& x,
                    const Pixels<const float>& gradient,
                    const Pixels<T>& outputs, int64_t begin, int64_t end) {
  ForSums(norm.channels, begin * x.width, end * x.width,
          [&](auto count, int64_t c, int64_t p, int64_t last) {
            constexpr int kCount = decltype(count)::kValue;
            using V = VectorOf<float, kCount>;
            const V ones = V{} + 1.0f;
            const V scale =
                norm.scale == nullptr ? ones : Io<kCount>::Load(norm.scale + c);
            const V mean = Io<kCount>::Load(norm.mean + c);
            const V k1 = Io<kCount>::Load(constant + c);
            const V k2 = Io<kCount>::Load(slope + c);
            for (; p < last; ++p) {
              const V v = Io<kCount>::Load(x.data + p * x.pixel + c);
              const V g =
                  Io<kCount>::Load(gradient.data + p * gradient.pixel + c);
              Io<kCount>::Store(scale * g - k1 - k2 * (v - mean),
                                outputs.data + p * outputs.pixel + c);
            }
          });
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_NORMS_H_
