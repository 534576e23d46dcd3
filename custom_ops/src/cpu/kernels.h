// The CPU kernels, one table per instruction set. The arithmetic is in
// kernels.cc, which is compiled once for each.

#ifndef KERAS_RADN_CPU_KERNELS_H_
#define KERAS_RADN_CPU_KERNELS_H_

#include <cstdint>

#include "sampling.h"

namespace keras_radn {

// Part of the gradient of the map that one task owns: the channels of one slot
// (see Slots) in the rows [begin, end) of one image. `sums` points at the
// first channel of the slot in row `begin`.
template <typename T>
struct Band {
  using C = typename Wide<T>::Type;
  int64_t image, slot, begin, end;
  C* sums;
  int64_t pixel_stride, row_stride;
};

// A row of the output touches the rows [first, last] of the map.
struct Extent {
  int64_t first, last;
};

// Samples that add to the same channels of the map share a slot.
struct Slots {
  int64_t count, samples;

  Slots(const Geometry& g, const Layout& layout)
      : count(layout.map_tap == 0 ? g.offset_groups : g.samples()),
        samples(layout.map_tap == 0 ? g.taps() : 1) {}
  int64_t channel(const Geometry& g, const Layout& layout, int64_t slot) const {
    const int64_t first = slot * samples;
    return first / g.taps() * layout.map_group +
           first % g.taps() * layout.map_tap;
  }
};

constexpr int kColors = 3;

// A map of averages over windows of `size` pixels: [batch, height, width].
template <typename C>
struct ContextMap {
  const C* pixels;
  int64_t height, width, size;
};

// A 3x3 convolution of features and enlarged maps, added to images.
template <typename T>
struct Reconstruction {
  using C = typename Wide<T>::Type;
  const T* features;  // [batch, height, width, channels]
  int64_t height, width, channels;
  const ContextMap<C>* map;
  int64_t maps;
  const C* weights;      // [taps, kColors, channels]
  const C* map_weights;  // [rows of taps, maps, columns of taps, kColors]
  const C* bias;
  const C* images;  // [batch, out_height, out_width, kColors]
  C* outputs;
  int64_t out_height, out_width;

  // Lines in scratch have zeros at both ends, and room for a vector.
  int64_t line_stride() const { return width + 2 + 16; }
  int64_t scratch_bytes() const {
    return (3 * maps + kColors + 1) * line_stride() * sizeof(C);
  }
};

// Every function computes the rows [begin, end) of its output; `mask` may be
// null. The result of a row does not depend on what else is in the range, so
// that any division among threads gives the same bits.
template <typename T>
struct Kernels {
  using C = typename Wide<T>::Type;

  void (*sum)(const Samples<T>&, T* outputs, int64_t begin, int64_t end,
              void* scratch);
  void (*columns)(const Samples<T>&, T* outputs, int64_t begin, int64_t end,
                  void* scratch);
  void (*coordinate_gradient)(const Samples<T>&, const T* gradient,
                              C* offset_gradient, C* mask_gradient,
                              int64_t begin, int64_t end, void* scratch);
  void (*extents)(const Samples<T>&, Extent* extents, int64_t begin,
                  int64_t end, void* scratch);
  // Adds to the band, in the order of the output's rows.
  void (*map_gradient)(const Samples<T>&, const T* gradient,
                       const Extent* extents, const Band<T>& band,
                       void* scratch);
  // Rounds the channels of pixels, of which nothing lies between the values;
  // those of the outputs are `stride` apart.
  void (*narrow)(const C* values, int64_t pixels, int64_t channels, T* outputs,
                 int64_t stride);
  void (*reconstruct)(const Reconstruction<T>&, int64_t begin, int64_t end,
                      void* scratch);
};

// Samples that are located at a time: their plan stays in the L1 cache.
constexpr int64_t kPlanSize = 144;

// Size of `scratch`, in bytes: 20 arrays; see MakePlan.
inline int64_t ScratchBytes(const Geometry& g) {
  return 20 * 8 * (kPlanSize + g.samples() + 15);
}

// The fastest kernels that this processor can run, or those named by the
// environment variable KERAS_RADN_CPU (see BestInstructionSet).
template <typename T>
const Kernels<T>& BestKernels();

// "avx512_bf16", "avx512", "avx2" or "portable": which those are.
const char* BestInstructionSet();

}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_KERNELS_H_
