// Compiled once per instruction set, with KERAS_RADN_ISA as the namespace and
// the flags of that set. No standard template is used here: the linker could
// keep the copy of one that was compiled for a newer processor.

#include "cpu/kernels.h"

#include <cstring>

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

// Positions that are located at a time: their plan stays in the L1 cache.
constexpr int64_t kPlanSize = 256;
// Columns of the output that are computed before the next row: neighbouring
// rows then find their samples in the L2 cache.
constexpr int64_t kTileWidth = 64;

template <typename A, int kLanes>
struct Vector {
  typedef A Type __attribute__((vector_size(kLanes * sizeof(A))));
};
template <typename A, int kLanes>
using VectorOf = typename Vector<A, kLanes>::Type;

template <typename To, typename From>
inline To BitCast(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

template <int kLanes>
struct Io {
  using F = VectorOf<float, kLanes>;
  using D = VectorOf<double, kLanes>;
  using I = VectorOf<int32_t, kLanes>;
  using U = VectorOf<uint32_t, kLanes>;
  using S = VectorOf<uint16_t, kLanes>;

  static F Load(const float* p) { return Read<F>(p); }
  static D Load(const double* p) { return Read<D>(p); }

  static F Load(const Bfloat16* p) {
    return BitCast<F>(__builtin_convertvector(Read<S>(p), U) << 16);
  }

  // Without denormal floats, which TensorFlow's threads flush to zero.
  static F Load(const Half* p) {
    const U half = __builtin_convertvector(Read<S>(p), U);
    const U sign = (half & 0x8000u) << 16;
    const U bits = half & 0x7fffu;
    const U normal = (bits << 13) + (112u << 23);
    const F small = __builtin_convertvector(BitCast<I>(bits), F) * 0x1p-24f;
    U result = Select(bits < 0x0400u, BitCast<U>(small), normal);
    result = Select(bits >= 0x7c00u, normal + (112u << 23), result);
    return BitCast<F>(result | sign);
  }

  static void Store(const F& v, float* p) { memcpy(p, &v, sizeof(v)); }
  static void Store(const D& v, double* p) { memcpy(p, &v, sizeof(v)); }

  // To nearest, ties to even, as everywhere in TensorFlow.
  static void Store(const F& v, Bfloat16* p) {
    const U bits = BitCast<U>(v);
    const U rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const U nan = (bits >> 16) | 0x40u;
    Write(Select((bits & 0x7fffffffu) > 0x7f800000u, nan, rounded), p);
  }

  static void Store(const F& v, Half* p) {
    const U bits = BitCast<U>(v);
    const U sign = (bits >> 16) & 0x8000u;
    const U magnitude = bits & 0x7fffffffu;
    const U normal =
        (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    const F scaled = BitCast<F>(magnitude) * 0x1p24f + 0x1p23f;
    const U small = BitCast<U>(scaled) - 0x4b000000u;
    U result = Select(magnitude < 0x38800000u, small, normal);
    result = Select(magnitude >= 0x477ff000u, U{} + 0x7c00u, result);
    result = Select(magnitude > 0x7f800000u, U{} + 0x7e00u, result);
    Write(result | sign, p);
  }

 private:
  template <typename V, typename T>
  static V Read(const T* p) {
    V v;
    memcpy(&v, p, sizeof(v));
    return v;
  }
  template <typename T>
  static void Write(const U& v, T* p) {
    const S narrow = __builtin_convertvector(v, S);
    memcpy(p, &narrow, sizeof(narrow));
  }
  template <typename Condition>
  static U Select(const Condition& condition, const U& yes, const U& no) {
    const U all = BitCast<U>(condition);
    return (yes & all) | (no & ~all);
  }
};

template <typename A, int kLanes>
inline A HorizontalSum(const VectorOf<A, kLanes>& v) {
  if constexpr (kLanes == 1) {
    return v[0];
  } else {
    VectorOf<A, kLanes / 2> low, high;
    memcpy(&low, &v, sizeof(low));
    memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof(low),
           sizeof(high));
    const VectorOf<A, kLanes / 2> halves = low + high;
    return HorizontalSum<A, kLanes / 2>(halves);
  }
}

// Where samples lie and how much each of their four corners counts, for a run
// of positions of one row. A sample outside of the image has origin -1.
template <typename C>
struct Plan {
  int64_t samples;                  // per position
  int64_t *origin, *down, *across;  // elements of the map
  int32_t *y, *x;                   // of the corner before the point
  C *top, *bottom, *left, *right;   // weights along each axis
  C* weights[4];                    // of corners, with the mask
  int32_t *tap_y, *tap_x;
  int64_t *map_offset, *out_offset;  // of each sample
};

inline int64_t PlanCapacity(const Geometry& g) {
  return g.samples() > kPlanSize ? g.samples() : kPlanSize;
}

template <typename C>
Plan<C> MakePlan(const Geometry& g, const Layout& layout, int64_t slot,
                 void* scratch) {
  char* next = static_cast<char*>(scratch);
  const int64_t capacity = PlanCapacity(g);
  auto take = [&next, capacity](auto*& pointer) {
    pointer = reinterpret_cast<decltype(+pointer)>(next);
    next += capacity * sizeof(*pointer);
  };
  Plan<C> plan;
  take(plan.origin), take(plan.down), take(plan.across);
  take(plan.map_offset), take(plan.out_offset);
  take(plan.top), take(plan.bottom), take(plan.left), take(plan.right);
  for (C*& weights : plan.weights) take(weights);
  take(plan.y), take(plan.x), take(plan.tap_y), take(plan.tap_x);

  const Slots slots(g, layout);
  const int64_t first = slot < 0 ? 0 : slot * slots.samples;
  plan.samples = slot < 0 ? g.samples() : slots.samples;
  for (int64_t k = 0; k < plan.samples; ++k) {
    const int64_t group = (first + k) / g.taps(), tap = (first + k) % g.taps();
    plan.tap_y[k] = tap / g.kernel_width * g.dilation_y - g.pad_top;
    plan.tap_x[k] = tap % g.kernel_width * g.dilation_x - g.pad_left;
    plan.map_offset[k] = group * layout.map_group + tap * layout.map_tap;
    plan.out_offset[k] = group * layout.out_group + tap * layout.out_tap;
  }
  return plan;
}

// Plans `count` positions from `column` on, in row `row` of the image.
// `offset` and `mask` point at the first sample of the plan there.
template <typename C>
inline void Locate(const Geometry& g, const Layout& layout, int64_t row,
                   int64_t column, int64_t count, const C* offset,
                   const C* mask, const Plan<C>& plan) {
  const int64_t samples = plan.samples, stride = g.samples();
  C* const fraction_y = plan.bottom;
  C* const fraction_x = plan.right;
  int64_t n = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t base_y = row * g.stride_y;
    const int32_t base_x = (column + i) * g.stride_x;
    for (int64_t k = 0; k < samples; ++k, ++n) {
      plan.y[n] = base_y + plan.tap_y[k];
      plan.x[n] = base_x + plan.tap_x[k];
      fraction_y[n] = offset[2 * (i * stride + k)];
      fraction_x[n] = offset[2 * (i * stride + k) + 1];
    }
  }
  const C limit = kMaxCoordinate;
  const int32_t height = g.height, width = g.width;
  const int64_t pixel = layout.map_pixel, line = width * pixel;
  for (int64_t j = 0; j < n; ++j) {
    // The integer part is added as an integer: a sum of floats would lose
    // the fraction in wide images. Comparisons are false for NaN.
    C dy = fraction_y[j], dx = fraction_x[j];
    const bool finite =
        (dy >= -limit) & (dy <= limit) & (dx >= -limit) & (dx <= limit);
    dy = finite ? dy : C(0);
    dx = finite ? dx : C(0);
    int32_t floor_y = dy, floor_x = dx;
    floor_y -= C(floor_y) > dy;
    floor_x -= C(floor_x) > dx;
    const int32_t y = plan.y[j] + floor_y, x = plan.x[j] + floor_x;
    const bool inside =
        finite & (y >= -1) & (y < height) & (x >= -1) & (x < width);
    dy -= C(floor_y);
    dx -= C(floor_x);
    plan.y[j] = y;
    plan.x[j] = x;
    plan.top[j] = y >= 0 ? 1 - dy : C(0);
    plan.bottom[j] = y + 1 < height ? dy : C(0);
    plan.left[j] = x >= 0 ? 1 - dx : C(0);
    plan.right[j] = x + 1 < width ? dx : C(0);
    const int64_t origin = (y > 0 ? y : 0) * line + (x > 0 ? x : 0) * pixel;
    plan.origin[j] = inside ? origin : -1;
    plan.down[j] = (y >= 0) & (y + 1 < height) ? line : 0;
    plan.across[j] = (x >= 0) & (x + 1 < width) ? pixel : 0;
  }
  for (int64_t j = 0; j < n; ++j) {
    plan.weights[0][j] = plan.top[j] * plan.left[j];
    plan.weights[1][j] = plan.top[j] * plan.right[j];
    plan.weights[2][j] = plan.bottom[j] * plan.left[j];
    plan.weights[3][j] = plan.bottom[j] * plan.right[j];
  }
  if (mask == nullptr) return;
  n = 0;
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t k = 0; k < samples; ++k, ++n) {
      for (C* weights : plan.weights) weights[n] *= mask[i * stride + k];
    }
  }
}

// Calls visit(row, image, row in image, column, count) for tiles of rows.
template <typename Visit>
inline void ForTiles(const Geometry& g, int64_t begin, int64_t end,
                     int64_t samples, const Visit& visit) {
  const int64_t step = kPlanSize > samples ? kPlanSize / samples : 1;
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

// Sum over the samples of a position, for kLanes * kVectors channels, which
// stay in registers.
template <int kLanes, int kVectors, typename T, typename C>
inline void SumBlock(const Plan<C>& plan, int64_t n, const T* map, T* out) {
  using V = VectorOf<C, kLanes>;
  V upper[kVectors] = {}, lower[kVectors] = {};
  for (int64_t k = 0; k < plan.samples; ++k) {
    const int64_t j = n + k;
    if (plan.origin[j] < 0) continue;
    const T* p00 = map + plan.map_offset[k] + plan.origin[j];
    const T* p01 = p00 + plan.across[j];
    const T* p10 = p00 + plan.down[j];
    const T* p11 = p10 + plan.across[j];
    const C w00 = plan.weights[0][j], w01 = plan.weights[1][j];
    const C w10 = plan.weights[2][j], w11 = plan.weights[3][j];
    for (int v = 0; v < kVectors; ++v) {
      upper[v] += w00 * Io<kLanes>::Load(p00 + v * kLanes);
      lower[v] += w10 * Io<kLanes>::Load(p10 + v * kLanes);
      upper[v] += w01 * Io<kLanes>::Load(p01 + v * kLanes);
      lower[v] += w11 * Io<kLanes>::Load(p11 + v * kLanes);
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    const V sum = upper[v] + lower[v];
    Io<kLanes>::Store(sum, out + v * kLanes);
  }
}

template <int kLanes, int kVectors, typename T, typename C>
inline void SumChannels(const Plan<C>& plan, int64_t n, const T* map, T* out,
                        int64_t depth) {
  constexpr int kBlock = kLanes * kVectors;
  while (depth >= kBlock) {
    SumBlock<kLanes, kVectors>(plan, n, map, out);
    map += kBlock, out += kBlock, depth -= kBlock;
  }
  if constexpr (kVectors > 1) {
    SumChannels<kLanes, kVectors / 2>(plan, n, map, out, depth);
  } else if constexpr (kLanes > 1) {
    SumChannels<kLanes / 2, 1>(plan, n, map, out, depth);
  }
}

template <typename T, typename C>
void Sum(const Geometry& g, const Layout& layout, const T* map, const C* offset,
         const C* mask, T* outputs, int64_t begin, int64_t end, void* scratch) {
  const Plan<C> plan = MakePlan<C>(g, layout, -1, scratch);
  const int64_t samples = g.samples();
  const int64_t image_size = g.height * g.width * layout.map_pixel;
  ForTiles(
      g, begin, end, samples,
      [&](int64_t row, int64_t image, int64_t i, int64_t x, int64_t count) {
        const int64_t at = row * g.out_width + x;
        Locate(g, layout, i, x, count, offset + at * 2 * samples,
               mask == nullptr ? nullptr : mask + at * samples, plan);
        for (int64_t p = 0; p < count; ++p) {
          SumChannels<kVectorBytes / sizeof(C), 4>(
              plan, p * samples, map + image * image_size,
              outputs + (at + p) * layout.out_pixel, layout.depth);
        }
      });
}

template <int kLanes, typename T, typename C>
inline void Interpolate(const T* p00, int64_t across, int64_t down,
                        const C (&w)[4], T* out, int64_t depth) {
  using V = VectorOf<C, kLanes>;
  int64_t c = 0;
  for (; c + kLanes <= depth; c += kLanes) {
    V value = w[0] * Io<kLanes>::Load(p00 + c);
    value += w[1] * Io<kLanes>::Load(p00 + across + c);
    value += w[2] * Io<kLanes>::Load(p00 + down + c);
    value += w[3] * Io<kLanes>::Load(p00 + down + across + c);
    Io<kLanes>::Store(value, out + c);
  }
  if constexpr (kLanes > 1) {
    Interpolate<kLanes / 2>(p00 + c, across, down, w, out + c, depth - c);
  }
}

template <typename T, typename C>
void Columns(const Geometry& g, const Layout& layout, const T* map,
             const C* offset, const C* mask, T* outputs, int64_t begin,
             int64_t end, void* scratch) {
  const Plan<C> plan = MakePlan<C>(g, layout, -1, scratch);
  const int64_t samples = g.samples();
  const int64_t image_size = g.height * g.width * layout.map_pixel;
  ForTiles(
      g, begin, end, samples,
      [&](int64_t row, int64_t image, int64_t i, int64_t x, int64_t count) {
        const int64_t at = row * g.out_width + x;
        Locate(g, layout, i, x, count, offset + at * 2 * samples,
               mask == nullptr ? nullptr : mask + at * samples, plan);
        const T* pixels = map + image * image_size;
        for (int64_t p = 0; p < count; ++p) {
          for (int64_t k = 0; k < samples; ++k) {
            const int64_t j = p * samples + k;
            T* out = outputs + (at + p) * layout.out_pixel + plan.out_offset[k];
            if (plan.origin[j] < 0) {
              memset(static_cast<void*>(out), 0, layout.depth * sizeof(T));
              continue;
            }
            const C weights[4] = {plan.weights[0][j], plan.weights[1][j],
                                  plan.weights[2][j], plan.weights[3][j]};
            Interpolate<kVectorBytes / sizeof(C)>(
                pixels + plan.map_offset[k] + plan.origin[j], plan.across[j],
                plan.down[j], weights, out, layout.depth);
          }
        }
      });
}

// Inner products of the gradient with the four corners, over the channels.
template <int kLanes, typename T, typename C>
inline void Products(const T* gradient, const T* p00, int64_t across,
                     int64_t down, int64_t depth, C (&products)[4]) {
  using V = VectorOf<C, kLanes>;
  V sums[4] = {};
  int64_t c = 0;
  for (; c + kLanes <= depth; c += kLanes) {
    const V g = Io<kLanes>::Load(gradient + c);
    sums[0] += g * Io<kLanes>::Load(p00 + c);
    sums[1] += g * Io<kLanes>::Load(p00 + across + c);
    sums[2] += g * Io<kLanes>::Load(p00 + down + c);
    sums[3] += g * Io<kLanes>::Load(p00 + down + across + c);
  }
  if (c > 0) {
    for (int corner = 0; corner < 4; ++corner) {
      products[corner] += HorizontalSum<C, kLanes>(sums[corner]);
    }
  }
  if constexpr (kLanes > 1) {
    if (c < depth) {
      Products<kLanes / 2>(gradient + c, p00 + c, across, down, depth - c,
                           products);
    }
  }
}

template <typename T, typename C>
void CoordinateGradient(const Geometry& g, const Layout& layout,
                        const T* gradient, const T* map, const C* offset,
                        const C* mask, C* offset_gradient, C* mask_gradient,
                        int64_t begin, int64_t end, void* scratch) {
  const Plan<C> plan = MakePlan<C>(g, layout, -1, scratch);
  const int64_t samples = g.samples();
  const int64_t image_size = g.height * g.width * layout.map_pixel;
  ForTiles(
      g, begin, end, samples,
      [&](int64_t row, int64_t image, int64_t i, int64_t x, int64_t count) {
        const int64_t at = row * g.out_width + x;
        Locate<C>(g, layout, i, x, count, offset + at * 2 * samples, nullptr,
                  plan);
        for (int64_t p = 0; p < count; ++p) {
          for (int64_t k = 0; k < samples; ++k) {
            const int64_t j = p * samples + k, sample = at * samples + j;
            C d[4] = {};
            if (plan.origin[j] >= 0) {
              Products<kVectorBytes / sizeof(C)>(
                  gradient + (at + p) * layout.out_pixel + plan.out_offset[k],
                  map + image * image_size + plan.map_offset[k] +
                      plan.origin[j],
                  plan.across[j], plan.down[j], layout.depth, d);
            }
            // Derivatives of the four weights along an axis.
            const C before_y = plan.y[j] >= 0, before_x = plan.x[j] >= 0;
            const C after_y = plan.y[j] + 1 < g.height;
            const C after_x = plan.x[j] + 1 < g.width;
            const C scale = mask == nullptr ? C(1) : mask[sample];
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

template <typename C>
void Extents(const Geometry& g, const Layout& layout, const C* offset,
             Extent* extents, int64_t begin, int64_t end, void* scratch) {
  const Plan<C> plan = MakePlan<C>(g, layout, -1, scratch);
  const int64_t samples = g.samples();
  for (int64_t row = begin; row < end; ++row) {
    extents[row] = {g.height, -1};
  }
  ForTiles(g, begin, end, samples,
           [&](int64_t row, int64_t, int64_t i, int64_t x, int64_t count) {
             const int64_t at = row * g.out_width + x;
             Locate<C>(g, layout, i, x, count, offset + at * 2 * samples,
                       nullptr, plan);
             int32_t first = g.height, last = -1;
             for (int64_t j = 0; j < count * samples; ++j) {
               const bool inside = plan.origin[j] >= 0;
               const int32_t lowest = inside ? plan.y[j] : first;
               const int32_t highest = inside ? plan.y[j] + 1 : last;
               first = lowest < first ? lowest : first;
               last = highest > last ? highest : last;
             }
             Extent& extent = extents[row];
             extent.first = first < extent.first ? first : extent.first;
             extent.last = last > extent.last ? last : extent.last;
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
void MapGradient(const Geometry& g, const Layout& layout, const T* gradient,
                 const C* offset, const C* mask, const Extent* extents,
                 const Band<T>& band, void* scratch) {
  const Plan<C> plan = MakePlan<C>(g, layout, band.slot, scratch);
  const int64_t samples = g.samples(), first = band.slot * plan.samples;
  const int64_t step = kPlanSize > plan.samples ? kPlanSize / plan.samples : 1;
  for (int64_t i = 0; i < g.out_height; ++i) {
    const int64_t row = band.image * g.out_height + i - g.first_row;
    if (row < 0 || row >= g.rows) continue;
    if (extents[row].last < band.begin || extents[row].first >= band.end) {
      continue;
    }
    for (int64_t x = 0; x < g.out_width; x += step) {
      const int64_t count = x + step < g.out_width ? step : g.out_width - x;
      const int64_t at = row * g.out_width + x;
      const int64_t sample = at * samples + first;
      Locate(g, layout, i, x, count, offset + 2 * sample,
             mask == nullptr ? nullptr : mask + sample, plan);
      for (int64_t p = 0; p < count; ++p) {
        const T* at_position = gradient + (at + p) * layout.out_pixel;
        for (int64_t k = 0; k < plan.samples; ++k) {
          const int64_t j = p * plan.samples + k;
          if (plan.origin[j] < 0) continue;
          const int64_t x0 = plan.x[j] > 0 ? plan.x[j] : 0;
          const int64_t across = plan.across[j] > 0 ? band.pixel_stride : 0;
          for (int64_t corner = 0; corner < 2; ++corner) {
            const int64_t y = plan.y[j] + corner;
            if (y < band.begin || y >= band.end) continue;
            C* sums = band.sums + (y - band.begin) * band.row_stride +
                      x0 * band.pixel_stride;
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
void Narrow(const C* values, T* outputs, int64_t count) {
  constexpr int kLanes = kVectorBytes / sizeof(C);
  int64_t c = 0;
  for (; c + kLanes <= count; c += kLanes) {
    Io<kLanes>::Store(Io<kLanes>::Load(values + c), outputs + c);
  }
  for (; c < count; ++c) Io<1>::Store(Io<1>::Load(values + c), outputs + c);
}

}  // namespace

// `extern`, for a constant of a namespace would be local to this file.
#define KERNELS(T)                                                      \
  extern const Kernels<T> kKernels##T;                                  \
  const Kernels<T> kKernels##T = {Sum<T, Wide<T>::Type>,                \
                                  Columns<T, Wide<T>::Type>,            \
                                  CoordinateGradient<T, Wide<T>::Type>, \
                                  Extents<Wide<T>::Type>,               \
                                  MapGradient<T, Wide<T>::Type>,        \
                                  Narrow<T, Wide<T>::Type>}
KERNELS(float);
KERNELS(double);
KERNELS(Half);
KERNELS(Bfloat16);
#undef KERNELS

}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn
