// Pixels as factors of products, and the three lines around a row.
//
// Included by convolutions.cc only, once per instruction set.

#ifndef KERAS_RADN_CPU_LINES_H_
#define KERAS_RADN_CPU_LINES_H_

#include <cstdint>
#include <cstring>

#include "cpu/convolutions.h"
#include "cpu/lanes.h"
#include "cpu/products.h"

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

inline void Copy(const float* from, float* to, int64_t count) {
  memcpy(to, from, count * sizeof(float));
}
inline void Copy(const Bfloat16* from, Bfloat16* to, int64_t count) {
  memcpy(static_cast<void*>(to), from, count * sizeof(Bfloat16));
}
inline void Copy(const Bfloat16* from, float* to, int64_t count) {
  int64_t c = 0;
  for (; c + kLanes <= count; c += kLanes) {
    Io<kLanes>::Store(Io<kLanes>::Load(from + c), to + c);
  }
  for (; c < count; ++c) Io<1>::Store(Io<1>::Load(from + c), to + c);
}

// With the norm and the ReLU before the convolution. The factors of a pixel are
// `depth` from those of the next one.
template <typename T>
inline void Read(const Convolution<T>& conv, const T* pixels, int64_t pixel,
                 int64_t count, int64_t depth, FactorOf<T>* factors) {
  const int64_t channels = conv.channels;
  for (int64_t p = 0; p < count; ++p, pixels += pixel, factors += depth) {
    if (conv.scale != nullptr) {
      AffineRelu<kLanes>(pixels, conv.scale, conv.offset, factors, channels);
    } else {
      Copy(pixels, factors, channels);
    }
    if (channels < depth) factors[channels] = {};
  }
}

// Makes a line of the columns [first - 1, last + 1) of row `y` of an image. All
// that lies outside of the image is zero; read(pixel of the batch, count,
// factors) makes the rest.
template <typename E, typename Size, typename Reader>
inline void MakeLine(const Size& size, int64_t image, int64_t y, int64_t first,
                     int64_t last, int64_t depth, const Reader& read, E* line) {
  const auto clear = [&](int64_t column, int64_t count) {
    memset(static_cast<void*>(line + column * depth), 0,
           count * depth * sizeof(E));
  };
  if (y < 0 || y >= size.height) return clear(0, last - first + 2);
  const int64_t begin = first > 0 ? first - 1 : 0;
  const int64_t end = last < size.width ? last + 1 : size.width;
  if (first == 0) clear(0, 1);
  if (last == size.width) clear(last - first + 1, 1);
  read((image * size.height + y) * size.width + begin, end - begin,
       line + (begin - first + 1) * depth);
}

// Calls visit(row, first column, columns, lines) for the rows [begin, end),
// each in pieces that fit the cache. `lines` are those above, of and below the
// row, from the column before the first one on.
template <typename E, typename Size, typename Reader, typename Visit>
inline void ForLines(const Size& size, int64_t depth, int64_t begin,
                     int64_t end, E* scratch, const Reader& read,
                     const Visit& visit) {
  const int64_t step = TileColumns(depth);
  for (int64_t x = 0; x < size.width; x += step) {
    const int64_t last = x + step < size.width ? x + step : size.width;
    const int64_t length = (last - x + 2) * depth;
    // An odd channel beside the last one is never written.
    memset(static_cast<void*>(scratch), 0, 3 * length * sizeof(E));
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / size.height, y = row % size.height;
      for (int64_t i = row == begin || y == 0 ? -1 : 1; i <= 1; ++i) {
        MakeLine(size, image, y + i, x, last, depth, read,
                 scratch + (y + i + 1) % 3 * length);
      }
      const E* lines[3];
      for (int i = 0; i < 3; ++i) lines[i] = scratch + (y + i) % 3 * length;
      visit(row, x, last - x, lines);
    }
  }
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_LINES_H_
