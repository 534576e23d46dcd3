// The CPU kernels of convolutions, one table per instruction set. The
// arithmetic is in convolutions.cc, which is compiled once for each.

#ifndef KERAS_RADN_CPU_CONVOLUTIONS_H_
#define KERAS_RADN_CPU_CONVOLUTIONS_H_

#include <cstdint>

#include "sampling.h"

namespace keras_radn {

// A convolution with zeros around the map, and with stride 1. One of 4x4 has
// stride 2: it is the gradient of a deconvolution, whose rows have half the
// number of those that are read.
template <typename T>
struct Convolution {
  using C = typename Wide<T>::Type;

  int64_t size;  // of the kernel: 1, 3, or 4 of a deconvolution's gradient
  int64_t channels, filters;
  // It reads max(0, scale * x + offset), or x if these are null.
  const C* scale;
  const C* offset;
  const void* weights;  // and the bias, as `pack` wrote them
  bool relu;            // whether the result is max(0, sum)
};

// Pixels of a batch of images, rows of which are counted over the whole batch.
// Some channels of a wider map if `pixel`, the elements from one pixel to the
// next one, is more than the channels are.
template <typename T>
struct Pixels {
  T* data;
  int64_t height, width;
  int64_t pixel;
};

// Channels that become a part of a concatenation.
template <typename T>
struct Part {
  const T* data;
  int64_t channels;
};

// Pixels of one image attend to positions of a map.
template <typename T>
struct Attention {
  int64_t positions, depth, channels;
  const void* packed;  // keys and values, as `pack_attention` wrote them
  const T* queries;    // [pixels, depth]
  const T* features;   // [pixels, channels], to which the means are added
  T* outputs;
};

// A batch norm before a ReLU: scale * x + offset, with the mean of x.
struct Norm {
  int64_t channels;
  const float* scale;
  const float* offset;
  const float* mean;
};

// Every function computes the rows [begin, end) of its output. A pixel does not
// depend on what else is in the range, nor on the batch, so that any division
// among threads gives the same bits.
template <typename T>
struct Convolutions {
  using C = typename Wide<T>::Type;

  // Packs a kernel [size, size, channels, filters]; the bias may be null.
  void (*pack)(const C* kernel, const C* bias, int64_t size, int64_t channels,
               int64_t filters, void* weights);
  // `first` may be null, or a 1x1 convolution whose result the other one, which
  // is 3x3 then, reads. The output may be other channels of the map that is
  // read.
  void (*convolve)(const Convolution<T>* first, const Convolution<T>&,
                   const Pixels<const T>& inputs, const Pixels<T>& outputs,
                   int64_t begin, int64_t end, void* scratch);
  // The same, not rounded to T.
  void (*convolve_wide)(const Convolution<T>*, const Convolution<T>&,
                        const Pixels<const T>&, const Pixels<C>&, int64_t begin,
                        int64_t end, void* scratch);
  // The same, added to what is in the output, and without a ReLU.
  void (*add_wide)(const Convolution<T>*, const Convolution<T>&,
                   const Pixels<const T>&, const Pixels<C>&, int64_t begin,
                   int64_t end, void* scratch);
  // Packs a kernel [4, 4, filters, channels]; the bias may be null.
  void (*pack_deconvolution)(const C* kernel, const C* bias, int64_t channels,
                             int64_t filters, void* weights);
  // A deconvolution of 4x4 with stride 2 of concatenated parts. The rows are
  // those of the parts: half as many as the outputs have.
  void (*deconvolve)(const Convolution<T>&, const Part<T>* parts, int64_t count,
                     const Pixels<T>& outputs, int64_t begin, int64_t end,
                     void* scratch);
  // max(0, pixels + bias), in place.
  void (*bias_relu)(const C* bias, int64_t channels, const Pixels<T>&,
                    int64_t begin, int64_t end);

  // Packs keys [positions, depth] and values [positions, channels].
  void (*pack_attention)(const T* keys, const T* values, int64_t positions,
                         int64_t depth, int64_t channels, void* packed);
  // `begin` and `end` are numbers of pixels.
  void (*attend)(const Attention<T>&, int64_t begin, int64_t end,
                 void* scratch);

  // Adds the gradient of the kernel of a convolution, of these rows of what it
  // read and of the gradient of its outputs, to [size, size, channels,
  // PaddedFilters(filters)].
  void (*filter_gradient)(const Convolution<T>&, const Pixels<const T>& inputs,
                          const Pixels<const T>& gradients, int64_t begin,
                          int64_t end, C* sums, void* scratch);
  // Adds the sums of x - shift and of its square, [2, channels].
  void (*moments)(int64_t channels, const C* shift, const Pixels<const T>& x,
                  int64_t begin, int64_t end, double* sums);
  // max(0, scale * x + offset).
  void (*rectify)(const Norm&, const Pixels<const T>& x,
                  const Pixels<T>& outputs, int64_t begin, int64_t end);
  // From the gradient of a norm's rectified outputs to that of the outputs, in
  // place. Its first pixel is the first of the rows, the next one `pixel`
  // behind it. Adds the sums of this and of its products with x - mean, [2,
  // channels].
  void (*rectify_gradient)(const Norm&, const Pixels<const T>& x, C* gradient,
                           int64_t pixel, int64_t begin, int64_t end,
                           double* sums);
  // The same sums, of a gradient that stays as it is.
  void (*rectified_sums)(const Norm&, const Pixels<const T>& x,
                         const Pixels<const T>& gradient, int64_t begin,
                         int64_t end, double* sums);
  // Of the gradient of a norm's rectified outputs: where these are positive,
  // scale * gradient, minus constant + slope * (x - mean).
  void (*rectified_gradient)(const Norm&, const C* constant, const C* slope,
                             const Pixels<const T>& x,
                             const Pixels<const T>& gradient,
                             const Pixels<T>& outputs, int64_t begin,
                             int64_t end);
  // The same of a gradient [pixels of the rows, channels], but the result times
  // the scale is added to `total`, of whose pixels the first is the first of
  // the rows.
  void (*add_rectified)(const Norm&, const Pixels<const T>& x,
                        const C* gradient, int64_t begin, int64_t end,
                        double* sums, C* total, int64_t total_pixel);
  // scale * gradient - constant - slope * (x - mean); the scale may be null.
  void (*center_gradient)(const Norm&, const C* constant, const C* slope,
                          const Pixels<const T>& x,
                          const Pixels<const C>& gradient,
                          const Pixels<T>& outputs, int64_t begin, int64_t end);

  // The sum of `rows` times `columns` pixels, from `first` on.
  void (*sum_window)(int64_t channels, const Pixels<const T>& x, int64_t first,
                     int64_t rows, int64_t columns, C* sums);
  // Adds the same numbers to the pixels [begin, end).
  void (*add_to_pixels)(int64_t channels, const C* vector,
                        const Pixels<const T>& x, const Pixels<T>& outputs,
                        int64_t begin, int64_t end);
};

// Channels in memory, where products read them in pairs.
constexpr int64_t Depth(int64_t channels) { return (channels + 1) / 2 * 2; }

constexpr int64_t kMaxLanes = 16;

// Room for packed weights, in bytes, for any instruction set.
template <typename C>
constexpr int64_t PackedBytes(int64_t size, int64_t channels, int64_t filters) {
  return (filters + kMaxLanes - 1) / kMaxLanes * kMaxLanes *
         (1 + size * size * Depth(channels)) * sizeof(C);
}

// Pixels of a 1x1 convolution that are computed at a time.
constexpr int64_t kTilePixels = 24;

// Columns that are computed before the next ones, of a 3x3 convolution whose
// three rows of `channels` are to stay in the L2 cache.
constexpr int64_t TileColumns(int64_t channels) {
  const int64_t fit = 80 * 1024 / Depth(channels) - 2;
  return fit > kTilePixels ? fit : kTilePixels;
}

// Lines of the map that a row of the output reads.
constexpr int64_t Lines(int64_t size) { return size == 4 ? 4 : 3; }

// Size of `scratch`, in bytes: the lines and a tile.
template <typename T>
int64_t ScratchBytes(const Convolution<T>* first, const Convolution<T>& last,
                     int64_t width) {
  const int64_t read =
      Depth(first != nullptr ? first->channels : last.channels);
  const int64_t columns = TileColumns(last.channels);
  const int64_t rows = Lines(last.size) * Depth(last.channels) *
                       ((columns < width ? columns : width) + 2);
  return (read * kTilePixels + (last.size > 1 ? rows : 0)) *
         sizeof(typename Wide<T>::Type);
}

// Pixels that attend at a time.
constexpr int64_t kAttentionTile = 12;

// Room for packed keys and values, and size of `scratch`, in bytes.
template <typename T>
int64_t PackedBytes(const Attention<T>& a) {
  const int64_t rounding = kMaxLanes * (Depth(a.depth) + Depth(a.positions));
  return (Depth(a.positions) * (Depth(a.depth) + a.channels) + rounding) *
         sizeof(typename Wide<T>::Type);
}
template <typename T>
int64_t ScratchBytes(const Attention<T>& a) {
  return kAttentionTile * (2 * (a.positions + kMaxLanes) + Depth(a.depth)) *
         sizeof(typename Wide<T>::Type);
}

// A filter's gradient is summed over many positions that are this far from each
// other, an odd number of cache lines: they would share few sets of the cache.
constexpr int64_t LineDepth(int64_t channels) {
  return (channels + 15) / 32 * 32 + 16;
}

// The gradients of filters lie in memory as whole vectors.
constexpr int64_t PaddedFilters(int64_t filters) {
  return (filters + kMaxLanes - 1) / kMaxLanes * kMaxLanes;
}

// Channels of a line's positions: of a convolution with stride 2 those of 2x2
// pixels.
template <typename T>
int64_t LineChannels(const Convolution<T>& conv) {
  return conv.size == 4 ? 4 * conv.channels : conv.channels;
}

// Positions of a line of the filters' gradient, with the columns beside it.
constexpr int64_t GradientPitch(int64_t size, int64_t width) {
  return Depth(width + (size > 1 ? 2 : 0));
}

// Positions of the lines of rows, with those that are read before and behind.
constexpr int64_t GradientPositions(int64_t pitch, int64_t rows) {
  return rows * pitch + 4;
}

// Rows whose lines are held at a time.
constexpr int64_t GradientRows(int64_t size, int64_t width) {
  const int64_t fit = 512 / GradientPitch(size, width);
  return fit > 1 ? fit : 1;
}

// Size of `scratch` of the filters' gradient, in bytes: a line, those of the
// rows and around them, twice their gradients, and zeros. The width is that of
// the gradients.
template <typename T>
int64_t GradientScratchBytes(const Convolution<T>& conv, int64_t width) {
  const int64_t pitch = GradientPitch(conv.size, width);
  const int64_t rows = GradientRows(conv.size, width);
  return ((rows + 3) * pitch * LineDepth(LineChannels(conv)) +
          2 * GradientPositions(pitch, rows) * LineDepth(conv.filters) +
          LineDepth(conv.channels) + LineDepth(conv.filters)) *
         sizeof(typename Wide<T>::Type);
}

// The fastest that this processor can run; see BestKernels.
template <typename T>
const Convolutions<T>& BestConvolutions();

}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_CONVOLUTIONS_H_
