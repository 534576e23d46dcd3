// Convolutions of 1x1 and 3x3 pixels, the deconvolution of 4x4 and its
// gradient.
//
// Included by convolutions.cc only, once per instruction set.

#ifndef KERAS_RADN_CPU_CONVOLUTION_H_
#define KERAS_RADN_CPU_CONVOLUTION_H_

#include <cstdint>
#include <cstring>

#include "cpu/convolutions.h"
#include "cpu/lanes.h"
#include "cpu/lines.h"
#include "cpu/products.h"

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

// The bias lies before the weights, in whole vectors.
inline int64_t PaddedBias(int64_t filters) {
  return (filters + kLanes - 1) / kLanes * kLanes;
}

template <typename T>
const float* Bias(const Convolution<T>& conv) {
  return static_cast<const float*>(conv.weights);
}

template <typename T>
const FactorOf<T>* Weights(const Convolution<T>& conv) {
  return reinterpret_cast<const FactorOf<T>*>(Bias(conv) +
                                              PaddedBias(conv.filters));
}

// Returns where the weights begin.
template <typename T>
FactorOf<T>* PackBias(const float* bias, int64_t filters, void* packed) {
  float* out = static_cast<float*>(packed);
  memset(out, 0, PaddedBias(filters) * sizeof(float));
  if (bias != nullptr) Copy(bias, out, filters);
  return reinterpret_cast<FactorOf<T>*>(out + PaddedBias(filters));
}

template <typename T>
void PackConvolution(const float* kernel, const float* bias, int64_t size,
                     int64_t channels, int64_t filters, void* packed) {
  Pack<T>(
      size * size, channels, Depth(channels), filters,
      [&](int64_t tap, int64_t channel, int64_t filter) {
        return kernel[(tap * channels + channel) * filters + filter];
      },
      PackBias<T>(bias, filters, packed));
}

// Ends a product: adds the bias, rectifies and stores.
template <typename O, bool kAdd>
struct Finish {
  const float* bias;
  float floor;  // of which what lies below becomes 0
  int64_t filters;
  O* out;
  int64_t pixel;

  template <typename T>
  Finish(const Convolution<T>& conv, O* out, int64_t pixel)
      : bias(Bias(conv)),
        floor(conv.relu ? 0 : -__builtin_inff()),
        filters(conv.filters),
        out(out),
        pixel(pixel) {}

  template <int kCount>
  void Store(const VectorOf<float, kCount>& sums, int64_t p,
             int64_t filter) const {
    auto v = Relu(sums + Io<kCount>::Load(bias + filter), floor);
    O* to = out + p * pixel + filter;
    const int64_t count = filters - filter;
    if (count >= kCount) {
      if constexpr (kAdd) v += Io<kCount>::Load(to);
      Io<kCount>::Store(v, to);
    } else {
      O some[kCount] = {};
      if constexpr (kAdd) {
        CopySome<kCount / 2>(to, some, count);
        v += Io<kCount>::Load(some);
      }
      Io<kCount>::Store(v, some);
      CopySome<kCount / 2>(some, to, count);
    }
  }
};

// Pixels that are factors as they lie in memory.
inline const float* AsFactors(const float* pixels, float*) { return pixels; }
inline const Bfloat16* AsFactors(const Bfloat16* pixels, Bfloat16*) {
  return pixels;
}
inline const float* AsFactors(const Bfloat16*, float*) { return nullptr; }

template <typename T, typename End>
void Multiply1x1(const Convolution<T>& conv, const T* pixels, int64_t pixel,
                 int64_t count, FactorOf<T>* tile, const End& finish) {
  using E = FactorOf<T>;
  const int64_t depth = Depth(conv.channels);
  Window<E> window{{AsFactors(pixels, tile)}, 1, depth, pixel};
  if (conv.scale != nullptr || conv.channels < depth ||
      window.line[0] == nullptr) {
    Read(conv, pixels, pixel, count, depth, tile);
    window.line[0] = tile, window.step = depth;
  }
  Multiply<T>(window, count, Weights(conv), conv.filters, finish);
}

// Pixels [begin, end), a tile at a time.
template <typename T, typename O, bool kAdd>
void Convolve1x1(const Convolution<T>& conv, const Pixels<const T>& inputs,
                 int64_t begin, int64_t end, FactorOf<T>* tile, O* out,
                 int64_t out_pixel) {
  for (int64_t p = begin; p < end;
       p += kTilePixels, out += kTilePixels * out_pixel) {
    Multiply1x1(conv, inputs.data + p * inputs.pixel, inputs.pixel,
                p + kTilePixels < end ? kTilePixels : end - p, tile,
                Finish<O, kAdd>(conv, out, out_pixel));
  }
}

template <typename T, typename O, bool kAdd>
void Convolve3x3(const Convolution<T>* first, const Convolution<T>& conv,
                 const Pixels<const T>& inputs, const Pixels<O>& outputs,
                 int64_t begin, int64_t end, FactorOf<T>* scratch) {
  using E = FactorOf<T>;
  const int64_t depth = Depth(conv.channels), width = inputs.width;
  E* lines = scratch;
  if (first != nullptr) lines += kTilePixels * Depth(first->channels);
  const auto read = [&](int64_t pixel, int64_t count, E* line) {
    if (first != nullptr) {
      Convolve1x1<T, E, false>(*first, inputs, pixel, pixel + count, scratch,
                               line, depth);
    } else {
      Read(conv, inputs.data + pixel * inputs.pixel, inputs.pixel, count, depth,
           line);
    }
  };
  ForLines(inputs, depth, begin, end, lines, read,
           [&](int64_t row, int64_t x, int64_t columns, const E* const* line) {
             Multiply<T>(
                 Window<E>{{line[0], line[1], line[2]}, 3, 3 * depth, depth},
                 columns, Weights(conv), conv.filters,
                 Finish<O, kAdd>(
                     conv, outputs.data + (row * width + x) * outputs.pixel,
                     outputs.pixel));
           });
}

// The lines from the one before to the one behind a pair of rows: all that the
// two rows of a deconvolution and their neighbours give back.
template <typename T, typename O, bool kAdd>
void Convolve4x4(const Convolution<T>& conv, const Pixels<const T>& inputs,
                 const Pixels<O>& outputs, int64_t begin, int64_t end,
                 FactorOf<T>* scratch) {
  using E = FactorOf<T>;
  const int64_t depth = Depth(conv.channels), width = outputs.width;
  const int64_t step = TileColumns(conv.channels) / 2;
  const auto read = [&](int64_t pixel, int64_t count, E* line) {
    Read(conv, inputs.data + pixel * inputs.pixel, inputs.pixel, count, depth,
         line);
  };
  for (int64_t x = 0; x < width; x += step) {
    const int64_t last = x + step < width ? x + step : width;
    const int64_t length = (2 * (last - x) + 2) * depth;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / outputs.height, y = row % outputs.height;
      const auto line = [&](int64_t i) {
        return scratch + (2 * y + i) % 4 * length;
      };
      for (int64_t i = row == begin || y == 0 ? 0 : 2; i < 4; ++i) {
        MakeLine(inputs, image, 2 * y + i - 1, 2 * x, 2 * last, depth, read,
                 line(i));
      }
      Multiply<T>(
          Window<E>{
              {line(0), line(1), line(2), line(3)}, 4, 4 * depth, 2 * depth},
          last - x, Weights(conv), conv.filters,
          Finish<O, kAdd>(conv,
                          outputs.data + (row * width + x) * outputs.pixel,
                          outputs.pixel));
    }
  }
}

template <typename T, typename O, bool kAdd>
void Convolve(const Convolution<T>* first, const Convolution<T>& conv,
              const Pixels<const T>& inputs, const Pixels<O>& outputs,
              int64_t begin, int64_t end, void* scratch) {
  auto* factors = static_cast<FactorOf<T>*>(scratch);
  const int64_t width = inputs.width;
  if (conv.size == 1) {
    Convolve1x1<T, O, kAdd>(conv, inputs, begin * width, end * width, factors,
                            outputs.data + begin * width * outputs.pixel,
                            outputs.pixel);
  } else if (conv.size == 3) {
    Convolve3x3<T, O, kAdd>(first, conv, inputs, outputs, begin, end, factors);
  } else {
    Convolve4x4<T, O, kAdd>(conv, inputs, outputs, begin, end, factors);
  }
}

// A deconvolution of 4x4 with stride 2 is four convolutions of 2x2, one for the
// even and the odd rows and columns each. In the line above, of or below
// (0, 1, 2) of which tap i = 0, 1 lies, and the tap of the deconvolution there.
constexpr int Line(int odd, int i) { return odd + i; }
constexpr int Tap(int odd, int i) { return 3 - odd - 2 * i; }

template <typename T>
void PackDeconvolution(const float* kernel, const float* bias, int64_t channels,
                       int64_t filters, void* packed) {
  FactorOf<T>* weights = PackBias<T>(bias, filters, packed);
  for (int phase = 0; phase < 4; ++phase) {
    Pack<T>(
        4, channels, Depth(channels), filters,
        [&](int64_t tap, int64_t channel, int64_t filter) {
          const int64_t at =
              4 * Tap(phase / 2, tap / 2) + Tap(phase % 2, tap % 2);
          return kernel[(at * filters + filter) * channels + channel];
        },
        weights);
    weights += PackedSize(4, Depth(channels), filters);
  }
}

template <typename T>
void Deconvolve(const Convolution<T>& conv, const Part<T>* parts, int64_t count,
                const Pixels<T>& outputs, int64_t begin, int64_t end,
                void* scratch) {
  using E = FactorOf<T>;
  const int64_t depth = Depth(conv.channels), filters = conv.filters;
  const Pixels<T> size{nullptr, outputs.height / 2, outputs.width / 2, 0};
  const auto read = [&](int64_t pixel, int64_t pixels, E* line) {
    for (int64_t i = 0; i < count; line += parts[i++].channels) {
      const int64_t channels = parts[i].channels;
      const T* from = parts[i].data + pixel * channels;
      for (int64_t p = 0; p < pixels; ++p) {
        Copy(from + p * channels, line + p * depth, channels);
      }
    }
  };
  const auto visit = [&](int64_t row, int64_t x, int64_t columns,
                         const E* const* line) {
    const E* weights = Weights(conv);
    for (int phase = 0; phase < 4; ++phase) {
      const int64_t odd_y = phase / 2, odd_x = phase % 2;
      const Window<E> window{{line[Line(odd_y, 0)] + odd_x * depth,
                              line[Line(odd_y, 1)] + odd_x * depth},
                             2,
                             2 * depth,
                             depth};
      const int64_t at = (2 * row + odd_y) * outputs.width + 2 * x + odd_x;
      Multiply<T>(window, columns, weights, filters,
                  Finish<T, false>(conv, outputs.data + at * outputs.pixel,
                                   2 * outputs.pixel));
      weights += PackedSize(4, depth, filters);
    }
  };
  ForLines(size, depth, begin, end, static_cast<E*>(scratch), read, visit);
}

template <int kCount, typename T>
inline void BiasRelu(const float* bias, int64_t channels, T* pixel) {
  int64_t c = 0;
  for (; c + kCount <= channels; c += kCount) {
    const auto sum = Io<kCount>::Load(pixel + c) + Io<kCount>::Load(bias + c);
    Io<kCount>::Store(Relu(sum, 0.0f), pixel + c);
  }
  if constexpr (kCount > 1) {
    if (c < channels) BiasRelu<kCount / 2>(bias + c, channels - c, pixel + c);
  }
}

template <typename T>
void BiasReluPixels(const float* bias, int64_t channels,
                    const Pixels<T>& pixels, int64_t begin, int64_t end) {
  for (int64_t p = begin * pixels.width; p < end * pixels.width; ++p) {
    BiasRelu<kLanes>(bias, channels, pixels.data + p * pixels.pixel);
  }
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_CONVOLUTION_H_
