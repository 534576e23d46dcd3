// Products of pixels with a matrix of weights, with the sums in the tiles of
// AMX.
//
// Included by products.h only, once per instruction set.

#ifndef KERAS_RADN_CPU_TILES_H_
#define KERAS_RADN_CPU_TILES_H_

#include <cstdint>

#include "cpu/lanes.h"
#include "cpu/tile_registers.h"

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

// Rows of a tile, and floats of a row; bfloat16 of a row.
constexpr int64_t kTileRows = 16, kTileDepth = 32;

// A tile each for the sums and the factors of two times 16 pixels, which share
// those of 16 filters. What remains of a line has other tiles, with fewer rows
// or columns.
constexpr int kBlockPixels = 2 * kTileRows;
constexpr int kSums0 = 0, kSums1 = 1, kPixels0 = 2, kPixels1 = 3, kWeights = 4;
constexpr int kRestPixels0 = 5, kRestPixels1 = 6, kRestWeights = 7;

inline void ConfigureBlocks(int64_t pixels, int64_t depth) {
  const int64_t first = pixels < kTileRows ? pixels : kTileRows;
  const int64_t rest = depth % kTileDepth;
  TileConfig config;
  const auto set = [&](int tile, int64_t rows, int64_t row_bytes) {
    config.rows[tile] = row_bytes > 0 ? rows : 0;
    config.row_bytes[tile] = rows > 0 ? row_bytes : 0;
  };
  set(kSums0, first, 64);
  set(kSums1, pixels - first, 64);
  set(kPixels0, first, 64);
  set(kPixels1, pixels - first, 64);
  set(kWeights, kTileRows, 64);
  set(kRestPixels0, first, 2 * rest);
  set(kRestPixels1, pixels - first, 2 * rest);
  set(kRestWeights, rest / 2, 64);
  ConfigureTiles(config);
}

// Adds the products of a tile's depth to the sums of one block of 16 pixels, or
// of both.
template <int kPixelsTile0, int kPixelsTile1, int kWeightsTile>
inline void AddProducts(const Bfloat16* x, int64_t step,
                        const Bfloat16* weights, int64_t row, bool both) {
  constexpr int64_t kBytes = sizeof(Bfloat16);
  LoadTile<kWeightsTile>(weights, row * kBytes);
  LoadTile<kPixelsTile0>(x, step * kBytes);
  MultiplyAddTiles<kSums0, kPixelsTile0, kWeightsTile>();
  if (both) {
    LoadTile<kPixelsTile1>(x + kTileRows * step, step * kBytes);
    MultiplyAddTiles<kSums1, kPixelsTile1, kWeightsTile>();
  }
}

// `weights` are those of 16 filters, of which two rows, pairs of channels, are
// `row` elements apart.
template <typename Window, typename Finish>
void MultiplyTiles(const Window& window, int64_t pixel, int64_t pixels,
                   const Bfloat16* weights, int64_t row, int64_t filter,
                   const Finish& finish) {
  const int64_t step = window.step, rest = window.depth % kTileDepth;
  const bool both = pixels > kTileRows;
  ZeroTile<kSums0>();
  if (both) ZeroTile<kSums1>();
  for (int64_t i = 0; i < window.lines; ++i) {
    const Bfloat16* x = window.line[i] + pixel * step;
    const Bfloat16* last = x + window.depth - rest;
    for (; x < last; x += kTileDepth, weights += kTileRows * row) {
      AddProducts<kPixels0, kPixels1, kWeights>(x, step, weights, row, both);
    }
    if (rest > 0) {
      AddProducts<kRestPixels0, kRestPixels1, kRestWeights>(x, step, weights,
                                                            row, both);
      weights += rest / 2 * row;
    }
  }
  alignas(64) float sums[kBlockPixels * kTileRows];
  StoreTile<kSums0>(sums, 64);
  if (both) StoreTile<kSums1>(sums + kTileRows * kTileRows, 64);
  for (int64_t p = 0; p < pixels; ++p) {
    finish.template Store<kTileRows>(Io<kTileRows>::Load(sums + p * kTileRows),
                                     pixel + p, filter);
  }
}

// The products of `kVectors` times 16 filters.
template <int kVectors, typename Window, typename Finish>
void MultiplyInTiles(const Window& window, int64_t pixels,
                     const Bfloat16* weights, int64_t filter,
                     const Finish& finish) {
  constexpr int64_t kRow = kVectors * kTileDepth;
  const int64_t whole = pixels / kBlockPixels * kBlockPixels;
  const auto multiply = [&](int64_t begin, int64_t end, int64_t block) {
    if (begin == end) return;
    ConfigureBlocks(block, window.depth);
    for (int v = 0; v < kVectors; ++v) {
      for (int64_t p = begin; p < end; p += block) {
        MultiplyTiles(window, p, block, weights + v * kTileDepth, kRow,
                      filter + v * kTileRows, finish);
      }
    }
  };
  multiply(0, whole, kBlockPixels);
  multiply(whole, pixels, pixels - whole);
  ReleaseTiles();
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_TILES_H_
