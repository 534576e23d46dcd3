// The tile registers of AMX, tmm0 to tmm7: up to 16 rows of 64 bytes each.
//
// Compilers' own functions for them do not say that they read memory.

#ifndef KERAS_RADN_CPU_TILE_REGISTERS_H_
#define KERAS_RADN_CPU_TILE_REGISTERS_H_

#include <cstdint>

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

// Which part of each register is used; what is not is not to be named.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Until `ReleaseTiles`. Tiles lose what they held.
inline void ConfigureTiles(const TileConfig& config) {
  __asm__ volatile("ldtilecfg %0" ::"m"(config) : "memory");
}

inline void ReleaseTiles() { __asm__ volatile("tilerelease" ::: "memory"); }

template <int kTile>
inline void ZeroTile() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(kTile));
}

// Rows are `stride` bytes apart.
template <int kTile>
inline void LoadTile(const void* from, int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride),
                   "i"(kTile)
                   : "memory");
}

template <int kTile>
inline void StoreTile(void* to, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride),
                   "i"(kTile)
                   : "memory");
}

// sums[i][j] += a[i][2k] * b[k][2j] + a[i][2k + 1] * b[k][2j + 1], for all k;
// of bfloat16, summed in float32.
template <int kSums, int kA, int kB>
inline void MultiplyAddTiles() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums),
                   "i"(kA), "i"(kB));
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_TILE_REGISTERS_H_
