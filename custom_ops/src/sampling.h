// What the CPU and the CUDA kernels share: the geometry of a deformable
// convolution and the place of each sample in the tensors. Free of TensorFlow,
// so that it compiles with any flags and on the host shim of the CUDA tests.

#ifndef KERAS_RADN_SAMPLING_H_
#define KERAS_RADN_SAMPLING_H_

#include <cstdint>

namespace keras_radn {

// What coordinates, masks and sums are computed in.
template <typename T>
struct Wide {
  using Type = float;
};
template <>
struct Wide<double> {
  using Type = double;
};

// Bit patterns; the kernels know nothing of Eigen's types.
struct Half {
  uint16_t bits;
};
struct Bfloat16 {
  uint16_t bits;
};

// Beyond this size, or this many pixels of offset, a sum of two would leave
// int32. Such a sample lies outside of every image that is let in.
constexpr int32_t kMaxCoordinate = 1 << 29;

// A row of the output is counted over the whole batch: row r belongs to image
// r / out_height. `first_row` is where the rows of the tensors begin, for
// calls that compute a part of the output.
struct Geometry {
  int64_t batch, height, width;   // of the map that is sampled
  int64_t out_height, out_width;  // per image
  int64_t first_row, rows;
  int64_t kernel_height, kernel_width;
  int64_t stride_y, stride_x;
  int64_t dilation_y, dilation_x;
  int64_t pad_top, pad_left;
  int64_t offset_groups;

  int64_t taps() const { return kernel_height * kernel_width; }
  // Sample s is tap s % taps of offset group s / taps.
  int64_t samples() const { return offset_groups * taps(); }
};

// Where `depth` channels of sample s = (group, tap) stand in a pixel of the
// sampled map (and of its gradient), and in a position of the output (and of
// its gradient).
//
//   DeformableSum:     map [B, H, W, groups, taps, depth], output [..., depth]
//   DeformableColumns: map [B, H, W, groups, depth],
//                      output [..., taps, groups, depth]
struct Layout {
  int64_t depth;
  int64_t map_pixel, map_group, map_tap;
  int64_t out_pixel, out_group, out_tap;
  int64_t offset_pixel;  // of the offsets that the CPU reads

  static Layout Sum(const Geometry& g, int64_t filters) {
    return {
        filters, g.samples() * filters, g.taps() * filters, filters, filters, 0,
        0,       2 * g.samples()};
  }
  static Layout Columns(const Geometry& g, int64_t channels) {
    const int64_t depth = channels / g.offset_groups;
    return {depth, channels, depth,          0, g.taps() * channels,
            depth, channels, 2 * g.samples()};
  }
};

// A map and the samples that are taken of it: all that is read but gradients.
// The pointers are to the memory of one device, and the mask may be null.
template <typename T>
struct Samples {
  using C = typename Wide<T>::Type;

  Geometry geometry;
  Layout layout;
  const T* map;
  const C* offset;
  const C* mask;
};

}  // namespace keras_radn

#endif  // KERAS_RADN_SAMPLING_H_
