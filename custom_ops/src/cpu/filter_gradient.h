// The gradient of a convolution's kernel, with the sums in registers.
//
// Included by convolutions.cc only, once per instruction set.

#ifndef KERAS_RADN_CPU_FILTER_GRADIENT_H_
#define KERAS_RADN_CPU_FILTER_GRADIENT_H_

#include <cstdint>
#include <cstring>

#include "cpu/convolutions.h"
#include "cpu/lanes.h"
#include "cpu/lines.h"
#include "cpu/products.h"

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

// Positions whose channels and gradients stay in the L1 cache.
constexpr int64_t kRun = 64;

// Adds x[channel] * w[filter] of `steps` positions, or of as many pairs.
template <typename T, int kVectors, int kCount, int kChannels, typename E>
__attribute__((noinline)) void AddOuterBlock(const E* x, int64_t x_step,
                                             const E* w, int64_t w_step,
                                             int64_t steps, float* sums,
                                             int64_t stride) {
  using F = Factor<T>;
  using V = VectorOf<float, kCount>;
  V s[kChannels][kVectors];
#pragma GCC unroll 16
  for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      memcpy(&s[c][v], sums + c * stride + v * kCount, sizeof(V));
    }
  }
  for (int64_t i = 0; i < steps; ++i, x += x_step, w += w_step) {
    V filters[kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      memcpy(&filters[v], w + v * F::kPair * kCount, sizeof(V));
    }
#pragma GCC unroll 16
    for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        F::MultiplyAdd(filters[v], x + c * F::kPair, s[c][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      memcpy(sums + c * stride + v * kCount, &s[c][v], sizeof(V));
    }
  }
}

// Some channels of a kernel's gradient at a time, for all taps: what these
// taps read of the lines is the same.
template <typename T, int kVectors, int kCount, int kChannels, typename Taps>
inline void AddOuter(const Taps& taps, int64_t filter, int64_t channel,
                     int64_t channels) {
  for (; channel + kChannels <= channels; channel += kChannels) {
    taps([&](const auto* x, int64_t x_step, const auto* w, int64_t w_step,
             int64_t steps, float* sums, int64_t stride) {
      constexpr int kPair = Factor<T>::kPair;
      AddOuterBlock<T, kVectors, kCount, kChannels>(
          x + channel * kPair, x_step, w + filter * kPair, w_step, steps,
          sums + channel * stride + filter, stride);
    });
  }
  if constexpr (kChannels > 1) {
    AddOuter<T, kVectors, kCount, kChannels / 2>(taps, filter, channel,
                                                 channels);
  }
}

// The values of each channel at two positions, beside each other.
template <int kCount, typename E>
inline void InterleaveChannels(const E* even, const E* odd, int64_t channels,
                               E* pairs) {
  using S = VectorOf<uint16_t, kCount>;
  using U = VectorOf<uint32_t, kCount>;
  int64_t c = 0;
  for (; c + kCount <= channels; c += kCount) {
    S low, high;
    memcpy(&low, even + c, sizeof(low));
    memcpy(&high, odd + c, sizeof(high));
    const U pair = __builtin_convertvector(low, U) |
                   __builtin_convertvector(high, U) << 16;
    memcpy(static_cast<void*>(pairs + 2 * c), &pair, sizeof(pair));
  }
  if constexpr (kCount > 1) {
    if (c < channels) {
      InterleaveChannels<kCount / 2>(even + c, odd + c, channels - c,
                                     pairs + 2 * c);
    }
  }
}

// Two positions of a line become one of pairs: [position / 2, channels, 2].
template <typename E>
inline void Interleave(const E* line, int64_t positions, int64_t depth,
                       E* pairs) {
  for (int64_t p = 0; p + 1 < positions; p += 2) {
    InterleaveChannels<kLanes>(line + p * depth, line + (p + 1) * depth, depth,
                               pairs + p * depth);
  }
}

// Lines of several rows, one behind the other: all of a tap's products are then
// those of one run of positions. Gradients have zeros where a line ends.
template <typename T>
class GradientPiece {
 public:
  using E = FactorOf<T>;
  static constexpr int kPair = Factor<T>::kPair;
  // Zeros before the gradients, which a tap to the right of the first reads.
  static constexpr int64_t kLead = 2;

  GradientPiece(const Convolution<T>& conv, int64_t width, int64_t rows,
                void* scratch)
      : conv_(conv),
        width_(width),
        pitch_(GradientPitch(conv.size, width)),
        depth_(LineDepth(conv.channels)),
        stride_(LineDepth(conv.filters)),
        line_(static_cast<E*>(scratch)),
        lines_(line_ + pitch_ * depth_),
        gradients_(lines_ + (rows + conv.size - 1) * pitch_ * depth_),
        phase_(GradientPositions(pitch_, rows) * stride_) {}

  // Rows [begin, end) of one image.
  void Add(const Pixels<const T>& inputs, const Pixels<const T>& gradients,
           int64_t begin, int64_t end, float* sums) {
    const int64_t rows = end - begin, image = begin / inputs.height;
    const int64_t y = begin % inputs.height, border = conv_.size / 2;
    for (int64_t i = 0; i < rows + 2 * border; ++i) {
      ReadLine(inputs, image, y + i - border, lines_ + i * pitch_ * depth_);
    }
    ReadGradients(gradients, begin, rows);
    const int64_t positions = rows * pitch_;
    const int64_t padded = PaddedFilters(conv_.filters);
    for (int64_t p = 0; p < positions; p += kRun) {
      const int64_t steps =
          (p + kRun < positions ? kRun : positions - p) / kPair;
      const auto taps = [&](const auto& visit) {
        for (int64_t tap = 0; tap < conv_.size * conv_.size; ++tap) {
          const int64_t lead = kLead - tap % conv_.size;
          visit(lines_ + (tap / conv_.size * pitch_ + p) * depth_,
                kPair * depth_,
                gradients_ + lead % kPair * phase_ +
                    (p + lead / kPair * kPair) * stride_,
                kPair * stride_, steps, sums + tap * conv_.channels * padded,
                padded);
        }
      };
      ForGroups(0, conv_.filters, [&](auto group, int64_t filter) {
        using G = decltype(group);
        AddOuter<T, G::kVectors, G::kCount, G::kPixels>(taps, filter, 0,
                                                        conv_.channels);
      });
    }
  }

 private:
  void ReadLine(const Pixels<const T>& inputs, int64_t image, int64_t y,
                E* line) {
    E* plain = kPair == 1 ? line : line_;
    const auto read = [&](int64_t pixel, int64_t count, E* to) {
      Read(conv_, inputs.data + pixel * inputs.pixel, inputs.pixel, count,
           depth_, to);
    };
    int64_t length = width_;
    if (conv_.size == 1) {
      read((image * inputs.height + y) * width_, width_, plain);
    } else {
      MakeLine(inputs, image, y, 0, width_, depth_, read, plain);
      length += 2;
    }
    memset(static_cast<void*>(plain + length * depth_), 0,
           (pitch_ - length) * depth_ * sizeof(E));
    if constexpr (kPair == 2) Interleave(plain, pitch_, depth_, line);
  }

  // In pairs there are two phases: those that begin at even and at odd
  // positions.
  void ReadGradients(const Pixels<const T>& gradients, int64_t begin,
                     int64_t rows) {
    const int64_t positions = GradientPositions(pitch_, rows);
    E* plain = gradients_ + (kPair == 1 ? 0 : 2 * phase_);
    memset(static_cast<void*>(plain), 0, positions * stride_ * sizeof(E));
    for (int64_t i = 0; i < rows; ++i) {
      const T* from = gradients.data + (begin + i) * width_ * gradients.pixel;
      E* to = plain + (kLead + i * pitch_) * stride_;
      for (int64_t p = 0; p < width_; ++p) {
        Copy(from + p * gradients.pixel, to + p * stride_, conv_.filters);
      }
    }
    if constexpr (kPair == 2) {
      Interleave(plain, positions, stride_, gradients_);
      Interleave(plain + stride_, positions - 1, stride_, gradients_ + phase_);
    }
  }

  const Convolution<T>& conv_;
  const int64_t width_, pitch_, depth_, stride_;
  E* const line_;       // of a row, before its pixels become pairs
  E* const lines_;      // [rows + size - 1, pitch, depth]
  E* const gradients_;  // [phases, positions, stride]
  const int64_t phase_;
};

template <typename T>
void FilterGradient(const Convolution<T>& conv, const Pixels<const T>& inputs,
                    const Pixels<const T>& gradients, int64_t begin,
                    int64_t end, float* sums, void* scratch) {
  const int64_t step = GradientRows(conv.size, inputs.width);
  GradientPiece<T> piece(conv, inputs.width, step, scratch);
  while (begin < end) {
    const int64_t image_end = (begin / inputs.height + 1) * inputs.height;
    int64_t last = begin + step < end ? begin + step : end;
    if (last > image_end) last = image_end;
    piece.Add(inputs, gradients, begin, last, sums);
    begin = last;
  }
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_FILTER_GRADIENT_H_
