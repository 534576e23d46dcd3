// Where samples lie and how much each of their corners counts. `Axis` in
// cpu/plan.h is the same rule.
//
// Included by kernels.cu.cc only.

#ifndef KERAS_RADN_CUDA_LOCATIONS_H_
#define KERAS_RADN_CUDA_LOCATIONS_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "sampling.h"

namespace keras_radn {
namespace cuda {
namespace {

// A coordinate between two pixels of an axis. A pixel outside of the image has
// weight and slope 0, and the index of its neighbor.
struct Axis {
  bool inside;
  int32_t pixel[2];
  float weight[2];
  float slope[2];  // derivative of the weight
};

// The integer part of the offset is added as an integer: a sum of floats would
// lose the fraction in wide images. Comparisons are false for NaN.
__device__ inline Axis LocateAxis(int64_t base, float offset, int64_t size) {
  constexpr float kLimit = kMaxCoordinate;
  const bool finite = offset >= -kLimit && offset <= kLimit;
  const float whole = finite ? floorf(offset) : 0.0f;
  const float fraction = finite ? offset - whole : 0.0f;
  const int32_t low = static_cast<int32_t>(base) + static_cast<int32_t>(whole);
  const int32_t end = static_cast<int32_t>(size);
  const bool has_low = low >= 0, has_high = low + 1 < end;
  return {finite && low >= -1 && low < end,
          {has_low ? low : 0, has_high ? low + 1 : low},
          {has_low ? 1.0f - fraction : 0.0f, has_high ? fraction : 0.0f},
          {has_low ? -1.0f : 0.0f, has_high ? 1.0f : 0.0f}};
}

struct Sample {
  Axis y, x;

  __device__ bool inside() const { return y.inside && x.inside; }
  // Number of the pixel at corner (i, j), from the first of the image.
  __device__ int64_t pixel(const Geometry& g, int i, int j) const {
    return y.pixel[i] * g.width + x.pixel[j];
  }
  __device__ float weight(int i, int j) const {
    return y.weight[i] * x.weight[j];
  }
};

// A position of the output, found from its index in the rows of the call.
struct Position {
  int64_t image, row, column;

  __device__ Position(const Geometry& g, int64_t index) {
    const int64_t batch_row = g.first_row + index / g.out_width;
    image = batch_row / g.out_height;
    row = batch_row % g.out_height;
    column = index % g.out_width;
  }

  // The sample of a tap; `offset` points at its (dy, dx).
  __device__ Sample Locate(const Geometry& g, int64_t tap_y, int64_t tap_x,
                           const float* offset) const {
    return {LocateAxis(row * g.stride_y + tap_y * g.dilation_y - g.pad_top,
                       offset[0], g.height),
            LocateAxis(column * g.stride_x + tap_x * g.dilation_x - g.pad_left,
                       offset[1], g.width)};
  }
};

// A sample, found from its index among those of a call.
struct Tap {
  int64_t position, group, tap, y, x;

  __device__ Tap(const Geometry& g, int64_t index) {
    const int64_t taps = g.kernel_height * g.kernel_width;
    const int64_t group_index = index / taps;
    tap = index % taps;
    position = group_index / g.offset_groups;
    group = group_index % g.offset_groups;
    y = tap / g.kernel_width;
    x = tap % g.kernel_width;
  }
  __device__ int64_t map_channel(const Layout& layout) const {
    return group * layout.map_group + tap * layout.map_tap;
  }
  __device__ int64_t out_channel(const Layout& layout) const {
    return group * layout.out_group + tap * layout.out_tap;
  }
};

}  // namespace
}  // namespace cuda
}  // namespace keras_radn

#endif  // KERAS_RADN_CUDA_LOCATIONS_H_
