// The end of the network: context, the last convolution, the image.
//
// Included by kernels.cc only, once per instruction set.

#ifndef KERAS_RADN_CPU_RECONSTRUCT_H_
#define KERAS_RADN_CPU_RECONSTRUCT_H_

#include <cstdint>
#include <cstring>

#include "cpu/kernels.h"
#include "cpu/lanes.h"

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

// Row `y` of a map that is enlarged bilinearly, `size` times (an even number),
// as TensorFlow's ResizeBilinear does with half_pixel_centers. `cells` is
// scratch of map.width elements.
template <typename C>
inline void EnlargeRow(const ContextMap<C>& map, const C* pixels, int64_t y,
                       int64_t width, C* cells, C* out) {
  const int64_t size = map.size, half = size / 2;
  const int64_t above = (y + half) / size - 1;  // -1 over the first center
  const int64_t top = above > 0 ? above : 0;
  const int64_t bottom = above + 1 < map.height ? above + 1 : map.height - 1;
  const C fraction = ((y + half) % size + C(0.5)) / size;
  const C* first = pixels + top * map.width;
  const C* second = pixels + bottom * map.width;
  for (int64_t i = 0; i < map.width; ++i) {
    cells[i] = first[i] + (second[i] - first[i]) * fraction;
  }
  for (int64_t i = -1; i < map.width; ++i) {
    const C left = cells[i > 0 ? i : 0];
    const C slope = cells[i + 1 < map.width ? i + 1 : i] - left;
    const int64_t start = i * size + half;
    const int64_t begin = start > 0 ? 0 : -start;
    const int64_t end = start + size < width ? size : width - start;
    for (int64_t k = begin; k < end; ++k) {
      out[start + k] = left + slope * ((k + C(0.5)) / size);
    }
  }
}

// What the enlarged maps add to some pixels of a row, of each color. `lines`
// holds three rows of all maps, each with a zero at both ends.
template <int kLanes, typename C>
inline void ContextBlock(const C* lines, int64_t stride, int64_t count,
                         const C* weights, int64_t x, C* const* sums) {
  VectorOf<C, kLanes> acc[kColors] = {};
  for (int64_t line = 0; line < 3 * count; ++line) {
    const C* values = lines + line * stride + x;
    for (int64_t dx = 0; dx < 3; ++dx, weights += kColors) {
      const auto value = Io<kLanes>::Load(values + dx);
      for (int k = 0; k < kColors; ++k) acc[k] += value * weights[k];
    }
  }
  for (int k = 0; k < kColors; ++k) Io<kLanes>::Store(acc[k], sums[k] + x);
}

// Adds the products of some taps of a pixel with the weights of each color.
template <int kLanes, typename T, typename C>
inline void Taps(const T* pixel, int64_t line, const C* weights,
                 int64_t channels, int64_t depth, int64_t first_y,
                 int64_t last_y, int64_t first_x, int64_t last_x,
                 C (&sums)[kColors]) {
  int64_t c = 0;
  for (; c + kLanes <= depth; c += kLanes) {
    VectorOf<C, kLanes> acc[kColors] = {};
    for (int64_t dy = first_y; dy <= last_y; ++dy) {
      for (int64_t dx = first_x; dx <= last_x; ++dx) {
        const auto value =
            Io<kLanes>::Load(pixel + dy * line + dx * channels + c);
        const C* w = weights + (3 * (dy + 1) + dx + 1) * kColors * channels + c;
        for (int k = 0; k < kColors; ++k) {
          acc[k] += value * Io<kLanes>::Load(w + k * channels);
        }
      }
    }
    for (int k = 0; k < kColors; ++k) {
      sums[k] += HorizontalSum<C, kLanes>(acc[k]);
    }
  }
  if constexpr (kLanes > 1) {
    if (c < depth) {
      Taps<kLanes / 2>(pixel + c, line, weights + c, channels, depth - c,
                       first_y, last_y, first_x, last_x, sums);
    }
  }
}

template <typename T, typename C>
void Reconstruct(const Reconstruction<T>& r, int64_t begin, int64_t end,
                 void* scratch) {
  constexpr int kLanes = kVectorBytes / sizeof(C);
  const int64_t stride = r.line_stride();
  C* lines = static_cast<C*>(scratch);
  C* sums[kColors];
  for (int k = 0; k < kColors; ++k) sums[k] = lines + (3 * r.maps + k) * stride;
  C* cells = lines + (3 * r.maps + kColors) * stride;
  memset(scratch, 0, r.scratch_bytes());  // the ends of the lines stay zero
  const int64_t line = r.width * r.channels;
  int64_t ready = -1;  // rows up to this one of the image are in `lines`
  for (int64_t row = begin; row < end; ++row) {
    const int64_t image = row / r.out_height, y = row % r.out_height;
    if (row == begin || y == 0) ready = y - 2;
    // Move up what is still needed, then make what is new.
    const int64_t missing = y + 1 - ready;
    if (missing < 3) {
      memmove(lines, lines + missing * r.maps * stride,
              (3 - missing) * r.maps * stride * sizeof(C));
    }
    for (int64_t i = 3 - missing; i < 3; ++i) {
      const int64_t from = y - 1 + i;
      for (int64_t m = 0; m < r.maps; ++m) {
        C* out = lines + (i * r.maps + m) * stride + 1;
        const ContextMap<C>& map = r.map[m];
        if (from >= 0 && from < r.height) {
          EnlargeRow(map, map.pixels + image * map.height * map.width, from,
                     r.width, cells, out);
        } else {
          memset(static_cast<void*>(out), 0, r.width * sizeof(C));
        }
      }
    }
    ready = y + 1;
    // Vectors may reach into the end of the lines' padding.
    for (int64_t x = 0; x < r.out_width; x += kLanes) {
      ContextBlock<kLanes>(lines, stride, r.maps, r.map_weights, x, sums);
    }
    const int64_t first_y = y > 0 ? -1 : 0, last_y = y + 1 < r.height ? 1 : 0;
    const T* pixels = r.features + (image * r.height + y) * line;
    const int64_t at = row * r.out_width * kColors;
    for (int64_t x = 0; x < r.out_width; ++x) {
      const int64_t first_x = x > 0 ? -1 : 0, last_x = x + 1 < r.width ? 1 : 0;
      C color[kColors];
      for (int k = 0; k < kColors; ++k) color[k] = r.bias[k] + sums[k][x];
      Taps<kLanes>(pixels + x * r.channels, line, r.weights, r.channels,
                   r.channels, first_y, last_y, first_x, last_x, color);
      for (int k = 0; k < kColors; ++k) {
        const int64_t i = at + x * kColors + k;
        r.outputs[i] = r.images[i] + color[k];
      }
    }
  }
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_RECONSTRUCT_H_
