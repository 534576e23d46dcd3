// Divides the work among TensorFlow's threads.

#include "cpu/launch.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/parallel.h"
#include "deformable_kernels.h"

namespace keras_radn {
namespace {

using tensorflow::OpKernelContext;
using CpuDevice = Eigen::ThreadPoolDevice;

// Calls work(begin, end, scratch) for ranges of [0, total).
template <typename Work>
void ParallelWithScratch(OpKernelContext* context, const Geometry& geometry,
                         int64_t total, int64_t nanoseconds_each,
                         const Work& work) {
  Parallel(context, total, nanoseconds_each, [&](int64_t begin, int64_t end) {
    std::vector<char> scratch(ScratchBytes(geometry));
    work(begin, end, scratch.data());
  });
}

int64_t RowCost(const Geometry& g, const Layout& layout) {
  return g.out_width * g.samples() * (10 + layout.depth / 4);
}

template <typename T>
void MapGradient(OpKernelContext* context, const Samples<T>& from,
                 const T* gradient, typename Wide<T>::Type* sums,
                 T* narrow_sums) {
  using C = typename Wide<T>::Type;
  using B = typename BitsOf<T>::Type;
  const Kernels<B>& kernels = BestKernels<B>();
  const Samples<B> samples = Bits(from);
  const Geometry& g = samples.geometry;
  const Layout& layout = samples.layout;
  const Slots slots(g, layout);

  std::vector<Extent> extents(g.rows);
  ParallelWithScratch(context, g, g.rows, g.out_width * g.samples() * 5,
                      [&](int64_t begin, int64_t end, void* scratch) {
                        kernels.extents(samples, extents.data(), begin, end,
                                        scratch);
                      });

  // A task owns the channels of a slot in a band of rows: nobody else adds
  // there. Rows of the output that touch several bands are visited several
  // times, so bands are as high as the number of threads permits.
  const int64_t threads =
      context->device()->tensorflow_cpu_worker_threads()->num_threads;
  const int64_t images_slots = g.batch * slots.count;
  const int64_t wanted = std::max<int64_t>(1, 4 * threads / images_slots);
  const int64_t band_rows = std::max<int64_t>(std::min<int64_t>(4, g.height),
                                              (g.height + wanted - 1) / wanted);
  const int64_t bands = (g.height + band_rows - 1) / band_rows;
  const int64_t cost =
      g.out_height * g.out_width * slots.samples * (10 + layout.depth) / bands +
      1;
  ParallelWithScratch(
      context, g, images_slots * bands, cost,
      [&](int64_t begin, int64_t end, void* scratch) {
        std::vector<C> wide;  // sums of types that are too narrow for them
        for (int64_t task = begin; task < end; ++task) {
          Band<B> band;
          band.image = task / bands / slots.count;
          band.slot = task / bands % slots.count;
          band.begin = task % bands * band_rows;
          band.end = std::min(g.height, band.begin + band_rows);
          const int64_t channel = slots.channel(g, layout, band.slot);
          const int64_t first_pixel =
              (band.image * g.height + band.begin) * g.width;
          const int64_t pixels = (band.end - band.begin) * g.width;
          if (sums != nullptr) {
            band.sums = sums + first_pixel * layout.map_pixel + channel;
            band.pixel_stride = layout.map_pixel;
          } else {
            wide.assign(pixels * layout.depth, C(0));
            band.sums = wide.data();
            band.pixel_stride = layout.depth;
          }
          band.row_stride = g.width * band.pixel_stride;
          kernels.map_gradient(samples, Bits(gradient), extents.data(), band,
                               scratch);
          if (sums == nullptr) {
            T* out = narrow_sums + first_pixel * layout.map_pixel + channel;
            kernels.narrow(wide.data(), pixels, layout.depth, Bits(out),
                           layout.map_pixel);
          }
        }
      });
}

template <typename T>
void CoordinateGradient(OpKernelContext* context, const Samples<T>& samples,
                        const T* gradient,
                        typename Wide<T>::Type* offset_gradient,
                        typename Wide<T>::Type* mask_gradient) {
  const auto& kernels = BestKernels<typename BitsOf<T>::Type>();
  const Geometry& g = samples.geometry;
  ParallelWithScratch(context, g, g.rows, 2 * RowCost(g, samples.layout),
                      [&](int64_t begin, int64_t end, void* scratch) {
                        kernels.coordinate_gradient(
                            Bits(samples), Bits(gradient), offset_gradient,
                            mask_gradient, begin, end, scratch);
                      });
}

}  // namespace

template <typename T>
void SumGradient(OpKernelContext* context, const Samples<T>& samples,
                 const T* gradient, T* map_gradient,
                 typename Wide<T>::Type* offset_gradient,
                 typename Wide<T>::Type* mask_gradient) {
  CoordinateGradient(context, samples, gradient, offset_gradient,
                     mask_gradient);
  if constexpr (std::is_same_v<T, typename Wide<T>::Type>) {
    const Geometry& g = samples.geometry;
    const int64_t pixels = g.batch * g.height * g.width;
    std::memset(map_gradient, 0, pixels * samples.layout.map_pixel * sizeof(T));
    MapGradient<T>(context, samples, gradient, map_gradient, nullptr);
  } else {
    MapGradient<T>(context, samples, gradient, nullptr, map_gradient);
  }
}

template <typename T>
struct Launch<CpuDevice, T> {
  using C = typename Wide<T>::Type;

  static void Sum(OpKernelContext* context, const Samples<T>& samples,
                  T* outputs) {
    const auto& kernels = BestKernels<typename BitsOf<T>::Type>();
    const Geometry& g = samples.geometry;
    ParallelWithScratch(context, g, g.rows, RowCost(g, samples.layout),
                        [&](int64_t begin, int64_t end, void* scratch) {
                          kernels.sum(Bits(samples), Bits(outputs), begin, end,
                                      scratch);
                        });
  }

  static void Columns(OpKernelContext* context, const Samples<T>& samples,
                      T* outputs) {
    const auto& kernels = BestKernels<typename BitsOf<T>::Type>();
    const Geometry& g = samples.geometry;
    ParallelWithScratch(context, g, g.rows, RowCost(g, samples.layout),
                        [&](int64_t begin, int64_t end, void* scratch) {
                          kernels.columns(Bits(samples), Bits(outputs), begin,
                                          end, scratch);
                        });
  }

  static void SumGradient(OpKernelContext* context, const Samples<T>& samples,
                          const T* gradient, T* map_gradient,
                          C* offset_gradient, C* mask_gradient) {
    keras_radn::SumGradient(context, samples, gradient, map_gradient,
                            offset_gradient, mask_gradient);
  }

  static void ColumnsGradient(OpKernelContext* context,
                              const Samples<T>& samples, const T* gradient,
                              C* map_gradient, C* offset_gradient,
                              C* mask_gradient) {
    CoordinateGradient(context, samples, gradient, offset_gradient,
                       mask_gradient);
    MapGradient<T>(context, samples, gradient, map_gradient, nullptr);
  }

  static void Zero(OpKernelContext*, void* memory, int64_t bytes) {
    std::memset(memory, 0, bytes);
  }

  static void Copy(OpKernelContext*, const void* from, void* to,
                   int64_t bytes) {
    std::memcpy(to, from, bytes);
  }
};

// For the training of dense deformable modules.
#define INSTANTIATE(T)                                                        \
  template void SumGradient<T>(OpKernelContext*, const Samples<T>&, const T*, \
                               T*, float*, float*)
INSTANTIATE(float);
INSTANTIATE(Eigen::bfloat16);
#undef INSTANTIATE

#define REGISTER(T) KERAS_RADN_REGISTER(tensorflow::DEVICE_CPU, CpuDevice, T)
REGISTER(float);
REGISTER(double);
REGISTER(Eigen::half);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace keras_radn
