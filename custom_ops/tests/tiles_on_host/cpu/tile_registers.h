// Stand-in for src/cpu/tile_registers.h: tiles in memory. What a processor
// refuses ends the process.

#ifndef KERAS_RADN_CPU_TILE_REGISTERS_H_
#define KERAS_RADN_CPU_TILE_REGISTERS_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

struct TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

constexpr int kTiles = 8, kMostRows = 16, kMostBytes = 64;

struct Tiles {
  TileConfig config;
  uint8_t bytes[kTiles][kMostRows][kMostBytes];
};
Tiles tiles;
int64_t tile_products = 0;

inline void Require(bool condition) {
  if (!condition) std::abort();
}

inline void ConfigureTiles(const TileConfig& config) {
  static_assert(sizeof(config) == 64, "the size that is loaded");
  Require(config.palette == 1 && config.start_row == 0);
  for (int i = 0; i < 16; ++i) {
    Require(config.rows[i] <= kMostRows && config.row_bytes[i] <= kMostBytes);
    Require((config.rows[i] == 0) == (config.row_bytes[i] == 0));
    Require(i < kTiles || config.rows[i] == 0);
  }
  tiles.config = config;
  std::memset(tiles.bytes, 0, sizeof(tiles.bytes));
}

inline void ReleaseTiles() { tiles.config = {}; }

template <int kTile>
inline int Rows() {
  static_assert(kTile >= 0 && kTile < kTiles, "there are eight");
  Require(tiles.config.rows[kTile] > 0);
  return tiles.config.rows[kTile];
}

template <int kTile>
inline void ZeroTile() {
  Rows<kTile>();
  std::memset(tiles.bytes[kTile], 0, sizeof(tiles.bytes[kTile]));
}

template <int kTile>
inline void LoadTile(const void* from, int64_t stride) {
  for (int i = 0; i < Rows<kTile>(); ++i) {
    std::memcpy(tiles.bytes[kTile][i],
                static_cast<const uint8_t*>(from) + i * stride,
                tiles.config.row_bytes[kTile]);
  }
}

template <int kTile>
inline void StoreTile(void* to, int64_t stride) {
  for (int i = 0; i < Rows<kTile>(); ++i) {
    std::memcpy(static_cast<uint8_t*>(to) + i * stride, tiles.bytes[kTile][i],
                tiles.config.row_bytes[kTile]);
  }
}

inline float Widened(const uint8_t* bfloat16) {
  uint8_t bytes[4] = {0, 0, bfloat16[0], bfloat16[1]};
  float value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

template <int kSums, int kA, int kB>
inline void MultiplyAddTiles() {
  const int rows = Rows<kSums>(), pairs = Rows<kB>();
  const int columns = tiles.config.row_bytes[kSums] / 4;
  Require(Rows<kA>() == rows && tiles.config.row_bytes[kA] == 4 * pairs);
  Require(tiles.config.row_bytes[kB] == 4 * columns);
  for (int i = 0; i < rows; ++i) {
    for (int k = 0; k < pairs; ++k) {
      const uint8_t* a = tiles.bytes[kA][i] + 4 * k;
      for (int j = 0; j < columns; ++j) {
        const uint8_t* b = tiles.bytes[kB][k] + 4 * j;
        uint8_t* to = tiles.bytes[kSums][i] + 4 * j;
        float sum;
        std::memcpy(&sum, to, sizeof(sum));
        sum += Widened(a) * Widened(b);
        sum += Widened(a + 2) * Widened(b + 2);
        std::memcpy(to, &sum, sizeof(sum));
      }
    }
  }
  ++tile_products;
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_TILE_REGISTERS_H_
