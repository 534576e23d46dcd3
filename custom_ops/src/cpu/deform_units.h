// The units of a dense deformable module, in inference and in training.

#ifndef KERAS_RADN_CPU_DEFORM_UNITS_H_
#define KERAS_RADN_CPU_DEFORM_UNITS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/convolutions.h"
#include "cpu/kernels.h"
#include "sampling.h"

namespace keras_radn {

constexpr int64_t kTaps = 9;
constexpr int64_t kUnitOffsets = 2 * kTaps;  // of a unit, per pixel

// A 3x3 kernel over a padded map, whose outputs are as large as the map.
inline Geometry UnitGeometry(int64_t batch, int64_t height, int64_t width) {
  Geometry g = {};
  g.batch = batch;
  g.height = g.out_height = height;
  g.width = g.out_width = width;
  g.rows = batch * height;
  g.kernel_height = g.kernel_width = 3;
  g.stride_y = g.stride_x = 1;
  g.dilation_y = g.dilation_x = 1;
  g.pad_top = g.pad_left = 1;
  g.offset_groups = 1;
  return g;
}

// Clips the offsets of these rows in place and sums the samples of a projection
// [pixels, taps, filters].
template <typename B>
void SumRows(const Geometry& g, const B* products, int64_t filters,
             const Pixels<float>& offsets, float max_offset,
             const Pixels<B>& outputs, int64_t begin, int64_t end) {
  Layout layout = Layout::Sum(g, filters);
  layout.out_pixel = outputs.pixel;
  layout.offset_pixel = offsets.pixel;
  for (int64_t p = begin * g.width; p < end * g.width; ++p) {
    float* offset = offsets.data + p * offsets.pixel;
    for (int64_t k = 0; k < kUnitOffsets; ++k) {
      offset[k] = std::min(std::max(offset[k], -max_offset), max_offset);
    }
  }
  std::vector<char> scratch(ScratchBytes(g));
  BestKernels<B>().sum({g, layout, products, offsets.data, nullptr},
                       outputs.data, begin, end, scratch.data());
}

}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_DEFORM_UNITS_H_
