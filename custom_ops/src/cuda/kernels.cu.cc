// The arithmetic on the GPU.
//
// Threads that follow each other take the vectors of 16 bytes of a pixel's
// channels, so that a warp reads whole cache lines at each corner. All
// kernels run with any grid: they loop from the first index of a thread to
// the end, in steps of the grid.

#include "cuda/kernels.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/locations.h"
#include "cuda/vectors.h"
#include "sampling.h"

namespace keras_radn {
namespace cuda {
namespace {

// With these no kernel spills registers on sm_75 to sm_120 (CUDA 13.0).
constexpr int kForwardThreads = 256, kGradientThreads = 128;
constexpr int64_t kMaxBlocks = 0x7fffffff;

// Threads that share a sample in the backward pass. More would add to the
// same three sums more often than it gains.
constexpr int64_t kMaxTeam = 8;

__device__ inline int64_t FirstIndex() {
  return blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
}
__device__ inline int64_t IndexStep() {
  return gridDim.x * int64_t{blockDim.x};
}

// Adds scale * the sample's value; `channels` points at those that are
// sampled, in the first pixel of the image.
template <int kLanes, typename T>
__device__ inline void Interpolate(const Geometry& g, const Layout& layout,
                                   const Sample& sample, float scale,
                                   const T* channels, float (&sums)[kLanes]) {
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) {
    const int i = corner / 2, j = corner % 2;
    const float weight = scale * sample.weight(i, j);
    float values[kLanes];
    Load(channels + sample.pixel(g, i, j) * layout.map_pixel, values);
#pragma unroll
    for (int c = 0; c < kLanes; ++c) sums[c] += weight * values[c];
  }
}

// One thread per position and vector of channels.
template <typename T, int kLanes>
__global__ void __launch_bounds__(kForwardThreads)
    SumKernel(Geometry g, Layout layout, const T* __restrict__ map,
              const float* __restrict__ offset, const float* __restrict__ mask,
              T* __restrict__ outputs) {
  const int64_t vectors = layout.depth / kLanes;
  const int64_t samples = g.offset_groups * g.kernel_height * g.kernel_width;
  const int64_t count = g.rows * g.out_width * vectors;
  for (int64_t n = FirstIndex(); n < count; n += IndexStep()) {
    const int64_t channel = n % vectors * kLanes;
    const Position position(g, n / vectors);
    const T* pixels =
        map + position.image * g.height * g.width * layout.map_pixel + channel;
    int64_t sample_index = n / vectors * samples;
    float sums[kLanes] = {};
    for (int64_t group = 0; group < g.offset_groups; ++group) {
      const T* channels = pixels + group * layout.map_group;
      for (int64_t tap_y = 0; tap_y < g.kernel_height; ++tap_y) {
        for (int64_t tap_x = 0; tap_x < g.kernel_width; ++tap_x) {
          const Sample sample =
              position.Locate(g, tap_y, tap_x, offset + 2 * sample_index);
          if (sample.inside()) {
            const float scale = mask == nullptr ? 1.0f : mask[sample_index];
            Interpolate(g, layout, sample, scale, channels, sums);
          }
          channels += layout.map_tap;
          ++sample_index;
        }
      }
    }
    Store(sums, outputs + n / vectors * layout.out_pixel + channel);
  }
}

// One thread per sample and vector of channels.
template <typename T, int kLanes>
__global__ void __launch_bounds__(kForwardThreads)
    ColumnsKernel(Geometry g, Layout layout, const T* __restrict__ map,
                  const float* __restrict__ offset,
                  const float* __restrict__ mask, T* __restrict__ outputs) {
  const int64_t vectors = layout.depth / kLanes;
  const int64_t samples = g.offset_groups * g.kernel_height * g.kernel_width;
  const int64_t count = g.rows * g.out_width * samples * vectors;
  for (int64_t n = FirstIndex(); n < count; n += IndexStep()) {
    const int64_t sample_index = n / vectors;
    const int64_t channel = n % vectors * kLanes;
    const Tap tap(g, sample_index);
    const Position position(g, tap.position);
    const Sample sample =
        position.Locate(g, tap.y, tap.x, offset + 2 * sample_index);
    float values[kLanes] = {};
    if (sample.inside()) {
      const int64_t image_size = g.height * g.width * layout.map_pixel;
      const float scale = mask == nullptr ? 1.0f : mask[sample_index];
      Interpolate(
          g, layout, sample, scale,
          map + position.image * image_size + tap.map_channel(layout) + channel,
          values);
    }
    Store(values, outputs + tap.position * layout.out_pixel +
                      tap.out_channel(layout) + channel);
  }
}

// All gradients in one pass: they need the same gradients and locations. A
// team of threads shares a sample, each taking every team-th vector of its
// channels, and adds its part to the sums, which must be zero before.
template <typename T, int kLanes>
__global__ void __launch_bounds__(kGradientThreads)
    GradientKernel(Geometry g, Layout layout, int64_t team,
                   const T* __restrict__ gradient, const T* __restrict__ map,
                   const float* __restrict__ offset,
                   const float* __restrict__ mask,
                   float* __restrict__ map_gradient,
                   float* __restrict__ offset_gradient,
                   float* __restrict__ mask_gradient) {
  const int64_t samples = g.offset_groups * g.kernel_height * g.kernel_width;
  const int64_t count = g.rows * g.out_width * samples * team;
  for (int64_t n = FirstIndex(); n < count; n += IndexStep()) {
    const int64_t sample_index = n / team;
    const Tap tap(g, sample_index);
    const Position position(g, tap.position);
    const Sample sample =
        position.Locate(g, tap.y, tap.x, offset + 2 * sample_index);
    if (!sample.inside()) continue;
    const float scale = mask == nullptr ? 1.0f : mask[sample_index];
    const int64_t image_size = g.height * g.width * layout.map_pixel;
    const int64_t map_first =
        position.image * image_size + tap.map_channel(layout);
    const T* out_gradient =
        gradient + tap.position * layout.out_pixel + tap.out_channel(layout);

    // Inner products of the gradient with the map at each corner.
    float products[4] = {};
    for (int64_t channel = n % team * kLanes; channel < layout.depth;
         channel += team * kLanes) {
      float gradients[kLanes];
      Load(out_gradient + channel, gradients);
#pragma unroll
      for (int corner = 0; corner < 4; ++corner) {
        const int i = corner / 2, j = corner % 2;
        const int64_t at =
            map_first + sample.pixel(g, i, j) * layout.map_pixel + channel;
        float values[kLanes];
        Load(map + at, values);
#pragma unroll
        for (int c = 0; c < kLanes; ++c) {
          products[corner] += gradients[c] * values[c];
        }
        // Most weights are 0 when training begins, with all offsets 0.
        const float weight = scale * sample.weight(i, j);
        if (weight != 0.0f) AtomicAdd(weight, gradients, map_gradient + at);
      }
    }

    float by_y = 0.0f, by_x = 0.0f, by_mask = 0.0f;
#pragma unroll
    for (int corner = 0; corner < 4; ++corner) {
      const int i = corner / 2, j = corner % 2;
      by_y += sample.y.slope[i] * sample.x.weight[j] * products[corner];
      by_x += sample.y.weight[i] * sample.x.slope[j] * products[corner];
      by_mask += sample.weight(i, j) * products[corner];
    }
    atomicAdd(offset_gradient + 2 * sample_index, scale * by_y);
    atomicAdd(offset_gradient + 2 * sample_index + 1, scale * by_x);
    if (mask_gradient != nullptr) {
      atomicAdd(mask_gradient + sample_index, by_mask);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kForwardThreads)
    NarrowKernel(const float* __restrict__ values, T* __restrict__ outputs,
                 int64_t count) {
  for (int64_t n = FirstIndex(); n < count; n += IndexStep()) {
    Round(values[n], outputs + n);
  }
}

// What CUDA calls a type of the header.
template <typename T>
struct NativeType {
  using Type = T;
};
template <>
struct NativeType<Half> {
  using Type = __half;
};
template <>
struct NativeType<Bfloat16> {
  using Type = __nv_bfloat16;
};
template <typename T>
using Native = typename NativeType<T>::Type;

template <typename T>
const Native<T>* ToNative(const T* data) {
  return reinterpret_cast<const Native<T>*>(data);
}
template <typename T>
Native<T>* ToNative(T* data) {
  return reinterpret_cast<Native<T>*>(data);
}

template <typename T>
constexpr int kVectorLanes = kVectorBytes / sizeof(Native<T>);

// Strides of a Layout are multiples of its depth.
template <typename T, typename... Pointers>
bool CanUseVectors(const Layout& layout, const Pointers*... pointers) {
  const bool aligned =
      ((reinterpret_cast<uintptr_t>(pointers) % kVectorBytes == 0) && ...);
  return aligned && layout.depth % kVectorLanes<T> == 0;
}

Error Describe(cudaError_t error) {
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

// Starts a thread per unit of work, or as many as a grid can have.
template <int kThreads, typename... Parameters, typename... Arguments>
Error Start(void* stream, int64_t work, void (*kernel)(Parameters...),
            Arguments... arguments) {
  if (work == 0) return nullptr;  // a grid cannot be empty
  const int64_t blocks = (work + kThreads - 1) / kThreads;
  cudaLaunchConfig_t config = {};
  config.gridDim =
      dim3(static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks));
  config.blockDim = dim3(kThreads);
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, arguments...);
  // A failed launch would otherwise be reported once more, by the next one.
  const cudaError_t last = cudaGetLastError();
  return Describe(error == cudaSuccess ? last : error);
}

}  // namespace

template <typename T>
Error Sum(void* stream, const Samples<T>& samples, T* outputs) {
  using N = Native<T>;
  const Geometry& g = samples.geometry;
  const Layout& layout = samples.layout;
  const bool vectors = CanUseVectors<T>(layout, samples.map, outputs);
  const int64_t accesses = layout.depth / (vectors ? kVectorLanes<T> : 1);
  const auto kernel = vectors ? SumKernel<N, kVectorLanes<T>> : SumKernel<N, 1>;
  return Start<kForwardThreads>(
      stream, g.rows * g.out_width * accesses, kernel, g, layout,
      ToNative(samples.map), samples.offset, samples.mask, ToNative(outputs));
}

template <typename T>
Error Columns(void* stream, const Samples<T>& samples, T* outputs) {
  using N = Native<T>;
  const Geometry& g = samples.geometry;
  const Layout& layout = samples.layout;
  const bool vectors = CanUseVectors<T>(layout, samples.map, outputs);
  const int64_t accesses = layout.depth / (vectors ? kVectorLanes<T> : 1);
  const auto kernel =
      vectors ? ColumnsKernel<N, kVectorLanes<T>> : ColumnsKernel<N, 1>;
  return Start<kForwardThreads>(
      stream, g.rows * g.out_width * g.samples() * accesses, kernel, g, layout,
      ToNative(samples.map), samples.offset, samples.mask, ToNative(outputs));
}

template <typename T>
Error Gradient(void* stream, const Samples<T>& samples, const T* gradient,
               float* map_gradient, float* offset_gradient,
               float* mask_gradient) {
  using N = Native<T>;
  const Geometry& g = samples.geometry;
  const Layout& layout = samples.layout;
  const int64_t count = g.rows * g.out_width * g.samples();
  const int64_t bytes = count * sizeof(float);
  if (Error error = Zero(stream, offset_gradient, 2 * bytes)) return error;
  if (mask_gradient != nullptr) {
    if (Error error = Zero(stream, mask_gradient, bytes)) return error;
  }
  const bool vectors =
      CanUseVectors<T>(layout, gradient, samples.map, map_gradient);
  const int64_t accesses = layout.depth / (vectors ? kVectorLanes<T> : 1);
  const int64_t team = accesses < kMaxTeam ? accesses : kMaxTeam;
  const auto kernel =
      vectors ? GradientKernel<N, kVectorLanes<T>> : GradientKernel<N, 1>;
  return Start<kGradientThreads>(stream, count * team, kernel, g, layout, team,
                                 ToNative(gradient), ToNative(samples.map),
                                 samples.offset, samples.mask, map_gradient,
                                 offset_gradient, mask_gradient);
}

template <typename T>
Error Narrow(void* stream, const float* values, T* outputs, int64_t count) {
  return Start<kForwardThreads>(stream, count, NarrowKernel<Native<T>>, values,
                                ToNative(outputs), count);
}

// nvcc's list is in the text with commas.
#define KERAS_RADN_TEXT(...) #__VA_ARGS__
#define KERAS_RADN_EXPANDED(...) KERAS_RADN_TEXT(__VA_ARGS__)
const char* Targets() {
#ifdef __CUDA_ARCH_LIST__
  return KERAS_RADN_EXPANDED(CUDART_VERSION __CUDA_ARCH_LIST__);
#else
  return "";
#endif
}

Error Zero(void* stream, void* memory, int64_t bytes) {
  return Describe(
      cudaMemsetAsync(memory, 0, bytes, static_cast<cudaStream_t>(stream)));
}

Error Copy(void* stream, const void* from, void* to, int64_t bytes) {
  return Describe(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice,
                                  static_cast<cudaStream_t>(stream)));
}

#define INSTANTIATE(T)                                                        \
  template Error Sum(void*, const Samples<T>&, T*);                           \
  template Error Columns(void*, const Samples<T>&, T*);                       \
  template Error Gradient(void*, const Samples<T>&, const T*, float*, float*, \
                          float*)
INSTANTIATE(float);
INSTANTIATE(Half);
INSTANTIATE(Bfloat16);
#undef INSTANTIATE

template Error Narrow(void*, const float*, Half*, int64_t);
template Error Narrow(void*, const float*, Bfloat16*, int64_t);

}  // namespace cuda
}  // namespace keras_radn
