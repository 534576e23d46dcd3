// Where samples lie and how much each of their corners counts.
//
// Included by kernels.cc only, once per instruction set.

#ifndef KERAS_RADN_CPU_PLAN_H_
#define KERAS_RADN_CPU_PLAN_H_

#include <cstdint>
#include <cstring>

#include "cpu/kernels.h"
#include "cpu/lanes.h"

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

// Integers as wide as coordinates, so that vectors of both match.
template <typename C>
struct IndexOf {
  using Type = int32_t;
};
template <>
struct IndexOf<double> {
  using Type = int64_t;
};

// Columns of the output that are computed before the next row: neighboring
// rows then find their samples in the L2 cache.
constexpr int64_t kTileWidth = 64;

// The four corners of a sample, as elements from the pixel at the upper left.
struct Corners {
  int64_t origin, down, across;
};

// Samples of a run of positions of one row, `samples` per position.
template <typename C>
struct Plan {
  using Index = typename IndexOf<C>::Type;

  int64_t samples, positions;
  int64_t line, pixel;               // elements of the map
  int64_t *map_offset, *out_offset;  // of each sample of a position
  Index *base_y, *base_x;            // for position 0 of row 0 on
  Index *y, *x;                      // pixel before the point
  Index *row, *column;               // the same inside; row -1: no sample
  Index *has_down, *has_across;      // masks: the next one is inside too
  C *dy, *dx;                        // offsets, as they come
  C *top, *bottom, *left, *right;    // weights along each axis
  C* weights[4];                     // of corners, with the mask

  Corners corners(int64_t j) const {
    return {row[j] * line + column[j] * pixel, line & has_down[j],
            pixel & has_across[j]};
  }
};

inline int64_t PlanCapacity(int64_t samples) {
  // A multiple of any number of lanes.
  return samples > kPlanSize ? (samples + 15) / 16 * 16 : kPlanSize;
}

// A plan for all samples of a position, or for those of a slot.
template <typename C>
Plan<C> MakePlan(const Geometry& g, const Layout& layout, int64_t slot,
                 void* scratch) {
  const Slots slots(g, layout);
  const int64_t first = slot < 0 ? 0 : slot * slots.samples;
  Plan<C> plan;
  plan.samples = slot < 0 ? g.samples() : slots.samples;
  plan.pixel = layout.map_pixel;
  plan.line = g.width * layout.map_pixel;
  const int64_t capacity = PlanCapacity(plan.samples);
  plan.positions = capacity / plan.samples;

  char* next = static_cast<char*>(scratch);
  const auto take = [&next, capacity](auto*& pointer) {
    pointer = reinterpret_cast<decltype(+pointer)>(next);
    next += capacity * sizeof(*pointer);
  };
  take(plan.map_offset), take(plan.out_offset);
  take(plan.base_y), take(plan.base_x), take(plan.y), take(plan.x);
  take(plan.row), take(plan.column);
  take(plan.has_down), take(plan.has_across);
  take(plan.dy), take(plan.dx);
  take(plan.top), take(plan.bottom), take(plan.left), take(plan.right);
  for (C*& weights : plan.weights) take(weights);

  for (int64_t k = 0; k < plan.samples; ++k) {
    const int64_t group = (first + k) / g.taps(), tap = (first + k) % g.taps();
    plan.map_offset[k] = group * layout.map_group + tap * layout.map_tap;
    plan.out_offset[k] = group * layout.out_group + tap * layout.out_tap;
  }
  for (int64_t j = 0; j < capacity; ++j) {
    const int64_t tap = (first + j % plan.samples) % g.taps();
    plan.base_y[j] = tap / g.kernel_width * g.dilation_y - g.pad_top;
    plan.base_x[j] = tap % g.kernel_width * g.dilation_x - g.pad_left +
                     j / plan.samples * g.stride_x;
    plan.dy[j] = plan.dx[j] = 0;
  }
  return plan;
}

// The pixel before a point on an axis, and weights of it and of the next one.
template <int kLanes, typename C>
struct Axis {
  using Index = typename IndexOf<C>::Type;
  using V = VectorOf<C, kLanes>;
  using I = VectorOf<Index, kLanes>;

  I before, has_before, has_next, inside;
  V weight, next_weight;

  // The integer part is added as an integer: a sum of floats would lose the
  // fraction in wide images.
  Axis(V offset, const I& base, Index size) {
    const C limit = kMaxCoordinate;
    // False for NaN.
    const I finite = BitCast<I>(offset >= -limit) & BitCast<I>(offset <= limit);
    offset = Mask(offset, finite);
    I whole = __builtin_convertvector(offset, I);
    whole += BitCast<I>(__builtin_convertvector(whole, V) > offset);  // -1
    const V fraction = offset - __builtin_convertvector(whole, V);
    before = base + whole;
    has_before = BitCast<I>(before >= 0) & BitCast<I>(before < size);
    has_next = BitCast<I>(before >= -1) & BitCast<I>(before < size - 1);
    inside = finite & (has_before | has_next);
    weight = Mask(1 - fraction, has_before);
    next_weight = Mask(fraction, has_next);
  }

  static V Mask(const V& v, const I& mask) {
    return BitCast<V>(BitCast<I>(v) & mask);
  }
};

template <int kLanes, typename C>
inline void LocateLanes(const Plan<C>& plan, int64_t j,
                        typename Plan<C>::Index first_y,
                        typename Plan<C>::Index first_x,
                        typename Plan<C>::Index height,
                        typename Plan<C>::Index width) {
  using A = Axis<kLanes, C>;
  using I = typename A::I;
  const auto load = [j](const auto* from, auto* to) {
    memcpy(to, from + j, sizeof(*to));
  };
  const auto store = [j](auto* to, const auto& from) {
    memcpy(to + j, &from, sizeof(from));
  };
  typename A::V dy, dx;
  I base_y, base_x;
  load(plan.dy, &dy), load(plan.dx, &dx);
  load(plan.base_y, &base_y), load(plan.base_x, &base_x);
  const A y(dy, base_y + first_y, height), x(dx, base_x + first_x, width);
  const I inside = y.inside & x.inside;
  store(plan.y, y.before), store(plan.x, x.before);
  const I row = (y.before & y.has_before & inside) | ~inside;
  const I column = x.before & x.has_before;
  store(plan.row, row), store(plan.column, column);
  const I has_down = y.has_before & y.has_next;
  const I has_across = x.has_before & x.has_next;
  store(plan.has_down, has_down), store(plan.has_across, has_across);
  store(plan.top, y.weight), store(plan.bottom, y.next_weight);
  store(plan.left, x.weight), store(plan.right, x.next_weight);
  const typename A::V products[4] = {
      y.weight * x.weight, y.weight * x.next_weight, y.next_weight * x.weight,
      y.next_weight * x.next_weight};
  for (int i = 0; i < 4; ++i) store(plan.weights[i], products[i]);
}

// Plans `count` positions from `first` on, in row `row` of the image. `offset`
// and `mask` point at the first sample of the plan there; `mask` may be null.
template <typename C>
inline void Locate(const Geometry& g, const Layout& layout, int64_t row,
                   int64_t first, int64_t count, const C* offset, const C* mask,
                   const Plan<C>& plan) {
  const int64_t samples = plan.samples, n = count * samples;
  const int64_t stride = g.samples();  // of positions, in the mask
  C* __restrict dy = plan.dy;
  C* __restrict dx = plan.dx;
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t k = 0; k < samples; ++k) {
      dy[i * samples + k] = offset[i * layout.offset_pixel + 2 * k];
      dx[i * samples + k] = offset[i * layout.offset_pixel + 2 * k + 1];
    }
  }
  constexpr int kLanes = kVectorBytes / sizeof(C);
  for (int64_t j = 0; j < n; j += kLanes) {
    LocateLanes<kLanes>(plan, j, row * g.stride_y, first * g.stride_x, g.height,
                        g.width);
  }
  if (mask == nullptr) return;
  for (C* __restrict weights : plan.weights) {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t k = 0; k < samples; ++k) {
        weights[i * samples + k] *= mask[i * stride + k];
      }
    }
  }
}

// Calls visit(row, image, row of the image, first, count) for runs of
// positions that fit a plan.
template <typename Visit>
inline void ForTiles(const Geometry& g, int64_t begin, int64_t end,
                     int64_t step, const Visit& visit) {
  for (int64_t tile = 0; tile < g.out_width; tile += kTileWidth) {
    const int64_t tile_end =
        tile + kTileWidth < g.out_width ? tile + kTileWidth : g.out_width;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t global = g.first_row + row;
      const int64_t image = global / g.out_height, i = global % g.out_height;
      for (int64_t x = tile; x < tile_end; x += step) {
        visit(row, image, i, x, x + step < tile_end ? step : tile_end - x);
      }
    }
  }
}

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_PLAN_H_
