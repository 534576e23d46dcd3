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
    AddOuter<T, kVectors, kCount, SmallerBlock(kChannels)>(taps, filter,
                                                           channel, channels);
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
        depth_(LineDepth(LineChannels(conv))),
        stride_(LineDepth(conv.filters)),
        line_(static_cast<E*>(scratch)),
        lines_(line_ + pitch_ * depth_),
        gradients_(lines_ + (rows + 2) * pitch_ * depth_),
        phase_(GradientPositions(pitch_, rows) * stride_),
        zeros_(gradients_ + 2 * phase_) {
    const int64_t channels =
        conv.channels > conv.filters ? conv.channels : conv.filters;
    memset(static_cast<void*>(zeros_), 0, channels * sizeof(E));
  }

  // Rows [begin, end) of one image.
  void Add(const Pixels<const T>& inputs, const Pixels<const T>& gradients,
           int64_t begin, int64_t end, float* sums) {
    const int64_t rows = end - begin, image = begin / gradients.height;
    const int64_t y = begin % gradients.height, border = conv_.size > 1 ? 1 : 0;
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
          const Place place = Locate(tap);
          const int64_t lead = kLead - place.column;
          visit(lines_ + (place.line * pitch_ + p) * depth_ +
                    place.channel * kPair,
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
  // Where a tap reads: line and column around a position, and the first channel
  // there.
  struct Place {
    int64_t line, column, channel;
  };
  Place Locate(int64_t tap) const {
    const int64_t y = tap / conv_.size, x = tap % conv_.size;
    if (conv_.size != 4) return {y, x, 0};
    const int64_t phase = (y + 1) % 2 * 2 + (x + 1) % 2;
    return {(y + 1) / 2, (x + 1) / 2, phase * conv_.channels};
  }

  // A line of a map, with the columns beside it: with stride 2, those of 2x2
  // pixels are one position.
  void ReadLine(const Pixels<const T>& inputs, int64_t image, int64_t y,
                E* line) {
    const bool strided = conv_.size == 4;
    const int64_t height = strided ? inputs.height / 2 : inputs.height;
    if (y < 0 || y >= height) {
      memset(static_cast<void*>(line), 0, pitch_ * depth_ * sizeof(E));
      return;
    }
    const int64_t border = conv_.size > 1 ? 1 : 0, channels = conv_.channels;
    const T* row = inputs.data + (image * height + y) * width_ *
                                     (strided ? 4 : 1) * inputs.pixel;
    for (int phase = 0; phase < (strided ? 4 : 1); ++phase) {
      const T* first =
          row + (phase / 2 * 2 * width_ + phase % 2) * inputs.pixel;
      const int64_t step = (strided ? 2 : 1) * inputs.pixel;
      if constexpr (kPair == 2) {
        if (conv_.scale == nullptr) {
          PairPixels(first, step, -border, pitch_ - border, channels, depth_,
                     line + kPair * phase * channels);
          continue;
        }
      }
      E* to = (kPair == 1 ? line : line_) + phase * channels;
      for (int64_t p = -border; p < pitch_ - border; ++p, to += depth_) {
        if (p >= 0 && p < width_) {
          Read(conv_, first + p * step, step, 1, channels, to);
        } else {
          memset(static_cast<void*>(to), 0, channels * sizeof(E));
        }
      }
    }
    if constexpr (kPair == 2) {
      if (conv_.scale != nullptr) Interleave(line_, pitch_, depth_, line);
    }
  }

  // In pairs there are two phases: those that begin at even and at odd
  // positions. A kernel of 1x1 reads the even ones only.
  void ReadGradients(const Pixels<const T>& gradients, int64_t begin,
                     int64_t rows) {
    const int64_t filters = conv_.filters;
    memset(static_cast<void*>(gradients_), 0, kLead * stride_ * sizeof(E));
    for (int64_t i = 0; i < rows; ++i) {
      const T* from = gradients.data + (begin + i) * width_ * gradients.pixel;
      E* to = gradients_ + (kLead + i * pitch_) * stride_;
      if constexpr (kPair == 2) {
        PairPixels(from, gradients.pixel, 0, pitch_, filters, stride_, to);
        if (conv_.size == 1) continue;
        PairPixels(from, gradients.pixel, -1, pitch_ - 1, filters, stride_,
                   to + phase_ - 2 * stride_);
      } else {
        for (int64_t p = 0; p < width_; ++p) {
          Copy(from + p * gradients.pixel, to + p * stride_, filters);
        }
        memset(static_cast<void*>(to + width_ * stride_), 0,
               (pitch_ - width_) * stride_ * sizeof(E));
      }
    }
  }

  // The pixels [begin, end) of a row in pairs, with zeros outside of it.
  void PairPixels(const T* row, int64_t step, int64_t begin, int64_t end,
                  int64_t channels, int64_t depth, E* pairs) {
    const auto pixel = [&](int64_t p) {
      return p >= 0 && p < width_ ? row + p * step : zeros_;
    };
    for (int64_t p = begin; p + 1 < end; p += 2, pairs += 2 * depth) {
      InterleaveChannels<kLanes>(pixel(p), pixel(p + 1), channels, pairs);
    }
  }

  const Convolution<T>& conv_;
  const int64_t width_, pitch_, depth_, stride_;
  E* const line_;       // of a row, before its pixels become pairs
  E* const lines_;      // [rows + 2, pitch, depth]
  E* const gradients_;  // [phases, positions, stride]
  const int64_t phase_;
  E* const zeros_;  // a pixel
};

template <typename T>
void FilterGradient(const Convolution<T>& conv, const Pixels<const T>& inputs,
                    const Pixels<const T>& gradients, int64_t begin,
                    int64_t end, float* sums, void* scratch) {
  const int64_t step = GradientRows(conv.size, gradients.width);
  GradientPiece<T> piece(conv, gradients.width, step, scratch);
  while (begin < end) {
    const int64_t image_end = (begin / gradients.height + 1) * gradients.height;
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
