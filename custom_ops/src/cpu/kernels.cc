// Compiled once per instruction set, with KERAS_RADN_ISA as the namespace and
// the flags of that set. No standard template is used here: the linker could
// keep the copy of one that was compiled for a newer processor.

#include "cpu/kernels.h"

#include <cstdint>
#include <cstring>

#include "cpu/lanes.h"
#include "cpu/plan.h"
#include "cpu/reconstruct.h"

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

// Positions ahead of the one that is computed. Processors do not foresee what
// the taps read, which jumps about.
constexpr int64_t kPrefetch = 4;

template <typename T>
inline void Prefetch(const T* first, int64_t count) {
  const char* begin = reinterpret_cast<const char*>(first);
  __builtin_prefetch(begin);
  __builtin_prefetch(begin + count * sizeof(T) - 1);
}

// The same of all cache lines, of which the last may be read beyond `count`.
template <typename T>
inline void PrefetchAll(const T* first, int64_t count) {
  const char* begin = reinterpret_cast<const char*>(first);
  for (int64_t i = 0; i < count * static_cast<int64_t>(sizeof(T)); i += 64) {
    __builtin_prefetch(begin + i);
  }
  __builtin_prefetch(begin + count * sizeof(T) - 1);
}

// Sum over the samples of a position, for the channels of some packets, which
// stay in registers.
template <int kPackets, typename P, typename T, typename C>
inline void SumBlock(const P& zeros, const Plan<C>& plan, int64_t n,
                     const T* map, T* out) {
  P upper[kPackets] = {zeros}, lower[kPackets] = {zeros};
  for (int64_t k = 0; k < plan.samples; ++k) {
    const int64_t j = n + k;
    if (plan.row[j] < 0) continue;
    const Corners corners = plan.corners(j);
    const T* p00 = map + plan.map_offset[k] + corners.origin;
    const T* p10 = p00 + corners.down;
    // The upper row was read for the row before.
    Prefetch(p10 + kPrefetch * plan.pixel, kPackets * P::kChannels);
    const C w00 = plan.weights[0][j], w01 = plan.weights[1][j];
    const C w10 = plan.weights[2][j], w11 = plan.weights[3][j];
    for (int i = 0; i < kPackets; ++i) {
      upper[i].Add(w00, p00 + i * P::kChannels);
      lower[i].Add(w10, p10 + i * P::kChannels);
      upper[i].Add(w01, p00 + corners.across + i * P::kChannels);
      lower[i].Add(w11, p10 + corners.across + i * P::kChannels);
    }
  }
  for (int i = 0; i < kPackets; ++i) {
    upper[i].Add(lower[i]);
    upper[i].Store(out + i * P::kChannels);
  }
}

template <int kPackets, typename T, int kLanes, bool kPaired, typename C>
inline void SumChannels(Packet<T, kLanes, kPaired> zeros, const Plan<C>& plan,
                        int64_t n, const T* map, T* out, int64_t depth) {
  using P = Packet<T, kLanes, kPaired>;
  constexpr int kBlock = kPackets * P::kChannels;
  while (depth >= kBlock) {
    SumBlock<kPackets>(zeros, plan, n, map, out);
    map += kBlock, out += kBlock, depth -= kBlock;
  }
  if (depth == 0) return;
  if constexpr (kPackets > 1) {
    SumChannels<kPackets / 2>(zeros, plan, n, map, out, depth);
  } else if constexpr (P::kChannels > 1) {
    if constexpr (HasParts<P>::kValue) {
      if (depth > P::kChannels / 2) {
        return SumBlock<1>(PartOfPacket(depth), plan, n, map, out);
      }
    }
    using Next = typename NextPacket<T, kLanes, kPaired>::Type;
    SumChannels<1>(Next(), plan, n, map, out, depth);
  }
}

// Calls visit(plan, first position of the output, number of positions, image)
// for runs of positions whose samples the plan has by then.
template <typename T, typename C, typename Visit>
inline void ForPlanned(const Samples<T>& from, const C* mask, int64_t begin,
                       int64_t end, void* scratch, const Visit& visit) {
  const Geometry& g = from.geometry;
  const Layout& layout = from.layout;
  const Plan<C> plan = MakePlan<C>(g, layout, -1, scratch);
  const int64_t image_size = g.height * g.width * layout.map_pixel;
  ForTiles(
      g, begin, end, plan.positions,
      [&](int64_t row, int64_t image, int64_t i, int64_t x, int64_t count) {
        const int64_t at = row * g.out_width + x;
        Locate(g, layout, i, x, count, from.offset + at * layout.offset_pixel,
               mask == nullptr ? nullptr : mask + at * g.samples(), plan);
        visit(plan, at, count, from.map + image * image_size);
      });
}

template <typename T, typename C>
void Sum(const Samples<T>& from, T* outputs, int64_t begin, int64_t end,
         void* scratch) {
  const Layout& layout = from.layout;
  const int64_t samples = from.geometry.samples();
  ForPlanned(
      from, from.mask, begin, end, scratch,
      [&](const Plan<C>& plan, int64_t at, int64_t count, const T* pixels) {
        for (int64_t p = 0; p < count; ++p) {
          SumChannels<4 / WidestPacket<T>::kParts>(
              WidestPacket<T>(), plan, p * samples, pixels,
              outputs + (at + p) * layout.out_pixel, layout.depth);
        }
      });
}

// One sample of all channels of its group.
template <typename T, int kLanes, bool kPaired, typename C>
inline void Interpolate(Packet<T, kLanes, kPaired>, const T* p00,
                        const Corners& corners, const C (&w)[4], T* out,
                        int64_t depth) {
  using P = Packet<T, kLanes, kPaired>;
  const T* p10 = p00 + corners.down;
  int64_t c = 0;
  for (; c + P::kChannels <= depth; c += P::kChannels) {
    P value;
    value.Add(w[0], p00 + c);
    value.Add(w[1], p00 + corners.across + c);
    value.Add(w[2], p10 + c);
    value.Add(w[3], p10 + corners.across + c);
    value.Store(out + c);
  }
  if constexpr (P::kChannels > 1) {
    if (c < depth) {
      Interpolate(typename NextPacket<T, kLanes, kPaired>::Type(), p00 + c,
                  corners, w, out + c, depth - c);
    }
  }
}

template <typename T, typename C>
void Columns(const Samples<T>& from, T* outputs, int64_t begin, int64_t end,
             void* scratch) {
  const Layout& layout = from.layout;
  const int64_t samples = from.geometry.samples();
  ForPlanned(
      from, from.mask, begin, end, scratch,
      [&](const Plan<C>& plan, int64_t at, int64_t count, const T* pixels) {
        for (int64_t p = 0; p < count; ++p) {
          for (int64_t k = 0; k < samples; ++k) {
            const int64_t j = p * samples + k;
            T* out = outputs + (at + p) * layout.out_pixel + plan.out_offset[k];
            if (plan.row[j] < 0) {
              memset(static_cast<void*>(out), 0, layout.depth * sizeof(T));
              continue;
            }
            const C weights[4] = {plan.weights[0][j], plan.weights[1][j],
                                  plan.weights[2][j], plan.weights[3][j]};
            const Corners corners = plan.corners(j);
            Interpolate(WidestPacket<T>(),
                        pixels + plan.map_offset[k] + corners.origin, corners,
                        weights, out, layout.depth);
          }
        }
      });
}

// Inner products of the gradient with the four corners, over the channels of a
// packet.
template <typename P, typename T>
inline void AddProducts(const P& zeros, const T* gradient, const T* p00,
                        const Corners& corners, P (&sums)[4]) {
  const T* p10 = p00 + corners.down;
  const P factor = zeros.Load(gradient);
  sums[0].Add(factor, p00);
  sums[1].Add(factor, p00 + corners.across);
  sums[2].Add(factor, p10);
  sums[3].Add(factor, p10 + corners.across);
}

template <typename T, int kLanes, bool kPaired, typename C>
inline void Products(Packet<T, kLanes, kPaired> zeros, const T* gradient,
                     const T* p00, const Corners& corners, int64_t depth,
                     C (&products)[4]) {
  using P = Packet<T, kLanes, kPaired>;
  const auto add = [&](const auto& sums) {
    for (int corner = 0; corner < 4; ++corner) {
      products[corner] += sums[corner].Sum();
    }
  };
  int64_t c = 0;
  if (depth >= P::kChannels) {
    P sums[4];
    for (; c + P::kChannels <= depth; c += P::kChannels) {
      AddProducts(zeros, gradient + c, p00 + c, corners, sums);
    }
    add(sums);
  }
  if constexpr (P::kChannels > 1) {
    if (c == depth) return;
    if constexpr (HasParts<P>::kValue) {
      if (depth - c > P::kChannels / 2) {
        const PartOfPacket part(depth - c);
        PartOfPacket sums[4] = {part, part, part, part};
        AddProducts(part, gradient + c, p00 + c, corners, sums);
        return add(sums);
      }
    }
    Products(typename NextPacket<T, kLanes, kPaired>::Type(), gradient + c,
             p00 + c, corners, depth - c, products);
  }
}

template <typename T, typename C>
void CoordinateGradient(const Samples<T>& from, const T* gradient,
                        C* offset_gradient, C* mask_gradient, int64_t begin,
                        int64_t end, void* scratch) {
  const Geometry& g = from.geometry;
  const Layout& layout = from.layout;
  const int64_t samples = g.samples();
  const C* no_mask = nullptr;
  ForPlanned(
      from, no_mask, begin, end, scratch,
      [&](const Plan<C>& plan, int64_t at, int64_t count, const T* pixels) {
        for (int64_t p = 0; p < count; ++p) {
          for (int64_t k = 0; k < samples; ++k) {
            const int64_t j = p * samples + k, sample = at * samples + j;
            C d[4] = {};
            if (plan.row[j] >= 0) {
              const Corners corners = plan.corners(j);
              const T* p00 = pixels + plan.map_offset[k] + corners.origin;
              PrefetchAll(p00 + corners.down + kPrefetch * plan.pixel,
                          layout.depth);
              Products(
                  WidestPacket<T>(),
                  gradient + (at + p) * layout.out_pixel + plan.out_offset[k],
                  p00, corners, layout.depth, d);
            }
            // Derivatives of the four weights along an axis.
            const C before_y = plan.y[j] >= 0, before_x = plan.x[j] >= 0;
            const C after_y = plan.y[j] + 1 < g.height;
            const C after_x = plan.x[j] + 1 < g.width;
            const C scale = from.mask == nullptr ? C(1) : from.mask[sample];
            const C left = plan.left[j], right = plan.right[j];
            const C top = plan.top[j], bottom = plan.bottom[j];
            offset_gradient[2 * sample] =
                scale * (after_y * (left * d[2] + right * d[3]) -
                         before_y * (left * d[0] + right * d[1]));
            offset_gradient[2 * sample + 1] =
                scale * (after_x * (top * d[1] + bottom * d[3]) -
                         before_x * (top * d[0] + bottom * d[2]));
            if (mask_gradient != nullptr) {
              mask_gradient[sample] = top * (left * d[0] + right * d[1]) +
                                      bottom * (left * d[2] + right * d[3]);
            }
          }
        }
      });
}

template <typename T, typename C>
void Extents(const Samples<T>& from, Extent* extents, int64_t begin,
             int64_t end, void* scratch) {
  const Geometry& g = from.geometry;
  const Layout& layout = from.layout;
  const Plan<C> plan = MakePlan<C>(g, layout, -1, scratch);
  const int64_t samples = g.samples();
  for (int64_t row = begin; row < end; ++row) {
    extents[row] = {g.height, -1};
  }
  ForTiles(g, begin, end, plan.positions,
           [&](int64_t row, int64_t, int64_t i, int64_t x, int64_t count) {
             const int64_t at = row * g.out_width + x;
             Locate<C>(g, layout, i, x, count,
                       from.offset + at * layout.offset_pixel, nullptr, plan);
             Extent& extent = extents[row];
             for (int64_t j = 0; j < count * samples; ++j) {
               if (plan.row[j] < 0) continue;
               const int64_t y = plan.y[j];
               if (y < extent.first) extent.first = y;
               if (y + 1 > extent.last) extent.last = y + 1;
             }
           });
}

// Adds w0 * gradient to `first` and w1 * gradient to `second`.
template <int kLanes, typename T, typename C>
inline void Scatter(const T* gradient, C w0, C* first, C w1, C* second,
                    int64_t depth) {
  using V = VectorOf<C, kLanes>;
  int64_t c = 0;
  for (; c + kLanes <= depth; c += kLanes) {
    const V g = Io<kLanes>::Load(gradient + c);
    const V sum = Io<kLanes>::Load(first + c) + w0 * g;
    Io<kLanes>::Store(sum, first + c);
    // After the store: at the border both are the same pixel.
    const V next = Io<kLanes>::Load(second + c) + w1 * g;
    Io<kLanes>::Store(next, second + c);
  }
  if constexpr (kLanes > 1) {
    if (c < depth) {
      Scatter<kLanes / 2>(gradient + c, w0, first + c, w1, second + c,
                          depth - c);
    }
  }
}

template <typename T, typename C>
void MapGradient(const Samples<T>& from, const T* gradient,
                 const Extent* extents, const Band<T>& band, void* scratch) {
  const Geometry& g = from.geometry;
  const Layout& layout = from.layout;
  const Plan<C> plan = MakePlan<C>(g, layout, band.slot, scratch);
  const int64_t samples = g.samples(), first = band.slot * plan.samples;
  const int64_t step = plan.positions;
  for (int64_t i = 0; i < g.out_height; ++i) {
    const int64_t row = band.image * g.out_height + i - g.first_row;
    if (row < 0 || row >= g.rows) continue;
    if (extents[row].last < band.begin || extents[row].first >= band.end) {
      continue;
    }
    for (int64_t x = 0; x < g.out_width; x += step) {
      const int64_t count = x + step < g.out_width ? step : g.out_width - x;
      const int64_t at = row * g.out_width + x;
      Locate(g, layout, i, x, count,
             from.offset + at * layout.offset_pixel + 2 * first,
             from.mask == nullptr ? nullptr : from.mask + at * samples + first,
             plan);
      for (int64_t p = 0; p < count; ++p) {
        const T* at_position = gradient + (at + p) * layout.out_pixel;
        for (int64_t k = 0; k < plan.samples; ++k) {
          const int64_t j = p * plan.samples + k;
          if (plan.row[j] < 0) continue;
          const int64_t across = band.pixel_stride & plan.has_across[j];
          for (int64_t corner = 0; corner < 2; ++corner) {
            const int64_t y = plan.y[j] + corner;
            if (y < band.begin || y >= band.end) continue;
            C* sums = band.sums + (y - band.begin) * band.row_stride +
                      plan.column[j] * band.pixel_stride;
            PrefetchAll(sums + kPrefetch * band.pixel_stride, layout.depth);
            Scatter<kVectorBytes / sizeof(C)>(at_position + plan.out_offset[k],
                                              plan.weights[2 * corner][j], sums,
                                              plan.weights[2 * corner + 1][j],
                                              sums + across, layout.depth);
          }
        }
      }
    }
  }
}

template <typename T, typename C>
void Narrow(const C* values, int64_t pixels, int64_t channels, T* outputs,
            int64_t stride) {
  constexpr int kLanes = kVectorBytes / sizeof(C);
  for (int64_t p = 0; p < pixels; ++p, values += channels, outputs += stride) {
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      Io<kLanes>::Store(Io<kLanes>::Load(values + c), outputs + c);
    }
    constexpr int kHalf = kLanes / 2;
    if (c + kHalf <= channels) {
      Io<kHalf>::Store(Io<kHalf>::Load(values + c), outputs + c);
      c += kHalf;
    }
    for (; c < channels; ++c) {
      Io<1>::Store(Io<1>::Load(values + c), outputs + c);
    }
  }
}

}  // namespace

// `extern`, for a constant of a namespace would be local to this file.
#define KERNELS(T)                                                      \
  extern const Kernels<T> kKernels##T;                                  \
  const Kernels<T> kKernels##T = {Sum<T, Wide<T>::Type>,                \
                                  Columns<T, Wide<T>::Type>,            \
                                  CoordinateGradient<T, Wide<T>::Type>, \
                                  Extents<T, Wide<T>::Type>,            \
                                  MapGradient<T, Wide<T>::Type>,        \
                                  Narrow<T, Wide<T>::Type>,             \
                                  Reconstruct<T, Wide<T>::Type>}
KERNELS(float);
KERNELS(double);
KERNELS(Half);
KERNELS(Bfloat16);
#undef KERNELS

}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn
