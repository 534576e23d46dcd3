// The kernels with C linkage, for a caller with arrays in the host's memory.
// `type` is 0 for float, 1 for float16, 2 for bfloat16.

#include "cuda/kernels.cu.cc"

namespace {

using keras_radn::Bfloat16;
using keras_radn::Geometry;
using keras_radn::Half;
using keras_radn::Layout;
namespace cuda = keras_radn::cuda;

// `channels` are those of the map for columns, of the output for sums.
Layout MakeLayout(const Geometry& geometry, bool sum, int64_t channels) {
  return sum ? Layout::Sum(geometry, channels)
             : Layout::Columns(geometry, channels);
}

template <typename T>
cuda::Error Forward(bool sum, const Geometry& geometry, const Layout& layout,
                    const void* map, const float* offset, const float* mask,
                    void* outputs) {
  const auto function = sum ? cuda::Sum<T> : cuda::Columns<T>;
  return function(nullptr,
                  {geometry, layout, static_cast<const T*>(map), offset, mask},
                  static_cast<T*>(outputs));
}

template <typename T>
cuda::Error Gradient(const Geometry& geometry, const Layout& layout,
                     const void* gradient, const void* map, const float* offset,
                     const float* mask, float* map_gradient,
                     float* offset_gradient, float* mask_gradient) {
  return cuda::Gradient<T>(
      nullptr, {geometry, layout, static_cast<const T*>(map), offset, mask},
      static_cast<const T*>(gradient), map_gradient, offset_gradient,
      mask_gradient);
}

}  // namespace

extern "C" {

cuda::Error forward(int type, bool sum, const Geometry* geometry,
                    int64_t channels, const void* map, const float* offset,
                    const float* mask, void* outputs) {
  const auto function = type == 0   ? Forward<float>
                        : type == 1 ? Forward<Half>
                                    : Forward<Bfloat16>;
  return function(sum, *geometry, MakeLayout(*geometry, sum, channels), map,
                  offset, mask, outputs);
}

cuda::Error gradient(int type, bool sum, const Geometry* geometry,
                     int64_t channels, const void* gradient, const void* map,
                     const float* offset, const float* mask,
                     float* map_gradient, float* offset_gradient,
                     float* mask_gradient) {
  const auto function = type == 0   ? Gradient<float>
                        : type == 1 ? Gradient<Half>
                                    : Gradient<Bfloat16>;
  return function(*geometry, MakeLayout(*geometry, sum, channels), gradient,
                  map, offset, mask, map_gradient, offset_gradient,
                  mask_gradient);
}

cuda::Error narrow(int type, const float* values, void* outputs,
                   int64_t count) {
  return type == 1
             ? cuda::Narrow(nullptr, values, static_cast<Half*>(outputs), count)
             : cuda::Narrow(nullptr, values, static_cast<Bfloat16*>(outputs),
                            count);
}

// Counts the accesses since its last call.
int64_t count_vector_accesses() {
  const int64_t count = vector_accesses;
  vector_accesses = 0;
  return count;
}

}  // extern "C"
