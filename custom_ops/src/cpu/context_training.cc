// The OpKernels of the context aggregation in training and of its gradient.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cpu/convolve.h"
#include "cpu/large_pages.h"
#include "cpu/parallel.h"
#include "cpu/training.h"
#include "deformable_kernels.h"

namespace keras_radn {
namespace {

using tensorflow::OpInputList;
using tensorflow::OpKernelContext;
using tensorflow::OpOutputList;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// Windows along a side of the image, and between which two of their centers
// each pixel lies.
struct Side {
  struct Between {
    int64_t first, second;
    float fraction;
  };
  int64_t pixels, size, count;
  std::vector<Between> at;

  Side(int64_t pixels, int64_t size)
      : pixels(pixels), size(size), count((pixels + size - 1) / size) {
    for (int64_t i = 0; i < pixels; ++i) {
      const int64_t twice = 2 * i + 1 - size;  // of the distance to a center
      const int64_t before = twice < 0 ? -1 : twice / (2 * size);
      at.push_back({std::max<int64_t>(before, 0),
                    std::min(before + 1, count - 1),
                    static_cast<float>(twice - before * 2 * size) /
                        static_cast<float>(2 * size)});
    }
  }

  int64_t length(int64_t window) const {
    return std::min(size, pixels - window * size);
  }
};

// A scale: its windows and its 1x1 convolution of one filter.
struct Scale {
  Side rows, columns;
  const float* kernel;
  const float* bias;

  int64_t cells() const { return rows.count * columns.count; }
  float pixels(int64_t row, int64_t column) const {
    return rows.length(row) * columns.length(column);
  }
};

// What both ops read.
struct Scales {
  std::vector<Scale> scales;
  int64_t batch, height, width, channels;

  int64_t count() const { return scales.size(); }
  const Scale& operator[](int64_t i) const { return scales[i]; }

  absl::Status Read(OpKernelContext* context, const std::vector<int64_t>& sizes,
                    const TensorShape& features) {
    OpInputList kernels, biases;
    TF_RETURN_IF_ERROR(context->input_list("kernels", &kernels));
    TF_RETURN_IF_ERROR(context->input_list("biases", &biases));
    TF_RETURN_IF_ERROR(CheckImages(features));
    batch = features.dim_size(0), height = features.dim_size(1);
    width = features.dim_size(2), channels = features.dim_size(3);
    if (static_cast<int>(sizes.size()) != kernels.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("There must be a size for each of the ", kernels.size(),
                       " kernels. Received: ", sizes.size()));
    }
    for (int i = 0; i < kernels.size(); ++i) {
      TF_RETURN_IF_ERROR(
          CheckShape("kernel", kernels[i].shape(), {1, 1, channels, 1}));
      TF_RETURN_IF_ERROR(CheckShape("bias", biases[i].shape(), {1}));
      scales.push_back({Side(height, sizes[i]), Side(width, sizes[i]),
                        Data(kernels[i]), Data(biases[i])});
    }
    return absl::OkStatus();
  }

  TensorShape AveragesShape(int64_t i) const {
    return {batch, scales[i].rows.count, scales[i].columns.count, channels};
  }
};

absl::Status ReadSizes(tensorflow::OpKernelConstruction* context,
                       std::vector<int64_t>* sizes) {
  TF_RETURN_IF_ERROR(context->GetAttr("sizes", sizes));
  for (const int64_t size : *sizes) {
    if (size > 0 && size < kMaxCoordinate) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("sizes must be positive. Received: ", size));
  }
  return absl::OkStatus();
}

template <typename T>
class ContextTrainingOp : public tensorflow::OpKernel {
 public:
  using B = typename BitsOf<T>::Type;

  explicit ContextTrainingOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, ReadSizes(context, &sizes_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    TensorShape shape = features.shape();
    Scales scales;
    OP_REQUIRES_OK(context, scales.Read(context, sizes_, shape));
    Tensor* outputs;
    OpOutputList averages;
    shape.set_dim(3, scales.channels + scales.count());
    OP_REQUIRES_OK(context,
                   context->allocate_output("outputs", shape, &outputs));
    OP_REQUIRES_OK(context, context->output_list("averages", &averages));
    UseLargePages(*outputs);
    std::vector<std::vector<float>> maps;
    for (int i = 0; i < scales.count(); ++i) {
      Tensor* unused;
      OP_REQUIRES_OK(context,
                     averages.allocate(i, scales.AveragesShape(i), &unused));
      maps.emplace_back(scales.batch * scales[i].cells());
    }
    if (outputs->NumElements() == 0) return;
    const Pixels<const B> inputs{Bits(features.flat<T>().data()), scales.height,
                                 scales.width, scales.channels};
    const int64_t pixels = scales.height * scales.width;
    Parallel(context, scales.batch * scales.count(),
             pixels * (scales.channels / 8 + 1),
             [&](int64_t begin, int64_t end) {
               for (int64_t task = begin; task < end; ++task) {
                 const int64_t image = task / scales.count();
                 const int64_t i = task % scales.count();
                 const int64_t first = image * scales[i].cells();
                 Average(scales[i], inputs, image,
                         Data(averages[i]) + first * scales.channels,
                         maps[i].data() + first);
               }
             });
    const Pixels<B> to{Bits(outputs->flat<T>().data()), scales.height,
                       scales.width, shape.dim_size(3)};
    const int64_t rows = scales.batch * scales.height;
    CopyPixels<B>(context, {inputs.data, scales.channels}, to, rows);
    Parallel(
        context, rows, scales.width * (2 * scales.count() + 1),
        [&](int64_t begin, int64_t end) {
          for (int64_t row = begin; row < end; ++row) {
            for (int64_t i = 0; i < scales.count(); ++i) {
              Enlarge(
                  scales[i],
                  maps[i].data() + row / scales.height * scales[i].cells(),
                  row % scales.height, to.pixel,
                  to.data + row * to.width * to.pixel + scales.channels + i);
            }
          }
        });
  }

 private:
  // Averages of the windows of an image, and their products with the kernel.
  static void Average(const Scale& scale, const Pixels<const B>& inputs,
                      int64_t image, float* averages, float* map) {
    const int64_t channels = inputs.pixel, size = scale.rows.size;
    for (int64_t cell = 0; cell < scale.cells(); ++cell) {
      const int64_t row = cell / scale.columns.count;
      const int64_t column = cell % scale.columns.count;
      float* average = averages + cell * channels;
      BestConvolutions<B>().sum_window(
          channels, inputs,
          (image * inputs.height + row * size) * inputs.width + column * size,
          scale.rows.length(row), scale.columns.length(column), average);
      const float pixels = scale.pixels(row, column);
      float sum = 0;
      for (int64_t c = 0; c < channels; ++c) {
        average[c] /= pixels;
        sum += average[c] * scale.kernel[c];
      }
      map[cell] = sum + *scale.bias;
    }
  }

  // A row of the map, enlarged bilinearly.
  static void Enlarge(const Scale& scale, const float* map, int64_t y,
                      int64_t stride, B* to) {
    const Side::Between& between = scale.rows.at[y];
    const float* first = map + between.first * scale.columns.count;
    const float* second = map + between.second * scale.columns.count;
    std::vector<float> cells(scale.columns.count);
    for (size_t i = 0; i < cells.size(); ++i) {
      cells[i] = first[i] + (second[i] - first[i]) * between.fraction;
    }
    for (const Side::Between& x : scale.columns.at) {
      const float left = cells[x.first];
      *to = FromFloat<B>(left + (cells[x.second] - left) * x.fraction);
      to += stride;
    }
  }

  std::vector<int64_t> sizes_;
};

template <typename T>
class ContextGradientOp : public tensorflow::OpKernel {
 public:
  using B = typename BitsOf<T>::Type;

  explicit ContextGradientOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, ReadSizes(context, &sizes_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& gradient = context->input(0);
    const int64_t count = sizes_.size();
    TensorShape shape = gradient.shape();
    OP_REQUIRES_OK(context, CheckImages(shape));
    const int64_t stride = shape.dim_size(3);
    OP_REQUIRES(context, stride > count,
                absl::InvalidArgumentError(absl::StrCat(
                    "The gradient must have more channels than the ", count,
                    " scales. Received: ", shape.DebugString())));
    shape.set_dim(3, stride - count);
    Scales scales;
    OP_REQUIRES_OK(context, scales.Read(context, sizes_, shape));
    OpInputList averages, kernels, biases;
    OpOutputList to_kernels, to_biases;
    OP_REQUIRES_OK(context, context->input_list("averages", &averages));
    OP_REQUIRES_OK(context, context->input_list("kernels", &kernels));
    OP_REQUIRES_OK(context, context->input_list("biases", &biases));
    Tensor* to_features;
    OP_REQUIRES_OK(
        context, context->allocate_output("to_features", shape, &to_features));
    OP_REQUIRES_OK(context,
                   AllocateLike(context, "to_kernels", kernels, &to_kernels));
    OP_REQUIRES_OK(context,
                   AllocateLike(context, "to_biases", biases, &to_biases));
    UseLargePages(*to_features);
    std::vector<std::vector<float>> maps;
    for (int i = 0; i < count; ++i) {
      const auto sizes = scales.AveragesShape(i).dim_sizes();
      OP_REQUIRES_OK(context, CheckShape("averages", averages[i].shape(),
                                         {sizes.begin(), sizes.end()}));
      maps.emplace_back(scales.batch * scales[i].cells());
    }
    const Pixels<const B> gradients{Bits(gradient.flat<T>().data()),
                                    scales.height, scales.width, stride};
    Parallel(context, scales.batch * count, 4 * scales.height * scales.width,
             [&](int64_t begin, int64_t end) {
               for (int64_t task = begin; task < end; ++task) {
                 const int64_t image = task / count, i = task % count;
                 Reduce(scales[i], gradients, image, scales.channels + i,
                        maps[i].data() + image * scales[i].cells());
               }
             });
    for (int i = 0; i < count; ++i) {
      ToWeights(maps[i], Data(averages[i]), scales.channels,
                Data(to_kernels[i]), Data(to_biases[i]));
    }
    const Pixels<B> to{Bits(to_features->flat<T>().data()), scales.height,
                       scales.width, scales.channels};
    Parallel(context, scales.batch * scales.height,
             scales.width * (scales.channels / 8 + 1) * 2,
             [&](int64_t begin, int64_t end) {
               for (int64_t row = begin; row < end; ++row) {
                 Spread(scales, maps, gradients, row, to);
               }
             });
  }

 private:
  // The gradient of a map of one channel, from that of the enlarged one.
  static void Reduce(const Scale& scale, const Pixels<const B>& gradients,
                     int64_t image, int64_t channel, float* map) {
    const int64_t columns = scale.columns.count;
    std::vector<float> cells(columns);
    for (int64_t y = 0; y < gradients.height; ++y) {
      std::fill(cells.begin(), cells.end(), 0.0f);
      const B* from =
          gradients.data + channel +
          (image * gradients.height + y) * gradients.width * gradients.pixel;
      for (const Side::Between& x : scale.columns.at) {
        const float g = ToFloat(*from);
        cells[x.first] += g * (1 - x.fraction);
        cells[x.second] += g * x.fraction;
        from += gradients.pixel;
      }
      const Side::Between& between = scale.rows.at[y];
      for (int64_t i = 0; i < columns; ++i) {
        map[between.first * columns + i] += cells[i] * (1 - between.fraction);
        map[between.second * columns + i] += cells[i] * between.fraction;
      }
    }
  }

  static void ToWeights(const std::vector<float>& map, const float* averages,
                        int64_t channels, float* to_kernel, float* to_bias) {
    std::vector<double> sums(channels);
    double sum = 0;
    for (const float g : map) {
      sum += g;
      for (int64_t c = 0; c < channels; ++c) sums[c] += g * averages[c];
      averages += channels;
    }
    *to_bias = sum;
    std::copy(sums.begin(), sums.end(), to_kernel);
  }

  // Adds to the gradient of a row what the windows around its pixels get.
  static void Spread(const Scales& scales,
                     const std::vector<std::vector<float>>& maps,
                     const Pixels<const B>& gradients, int64_t row,
                     const Pixels<B>& to) {
    const int64_t image = row / scales.height, y = row % scales.height;
    std::vector<float> sums(scales.channels);
    for (int64_t x = 0; x < scales.width;) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      int64_t end = scales.width;  // where a next window begins
      for (int64_t i = 0; i < scales.count(); ++i) {
        const Scale& scale = scales[i];
        const int64_t size = scale.rows.size;
        const int64_t cell =
            (image * scale.rows.count + y / size) * scale.columns.count +
            x / size;
        const float g = maps[i][cell] / scale.pixels(y / size, x / size);
        for (int64_t c = 0; c < scales.channels; ++c) {
          sums[c] += g * scale.kernel[c];
        }
        end = std::min(end, (x / size + 1) * size);
      }
      const int64_t at = row * scales.width;
      BestConvolutions<B>().add_to_pixels(scales.channels, sums.data(),
                                          gradients, to, at + x, at + end);
      x = end;
    }
  }

  std::vector<int64_t> sizes_;
};

#define REGISTER(type)                                        \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>ContextTraining")   \
                              .Device(tensorflow::DEVICE_CPU) \
                              .TypeConstraint<type>("T"),     \
                          ContextTrainingOp<type>);           \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>ContextGradient")   \
                              .Device(tensorflow::DEVICE_CPU) \
                              .TypeConstraint<type>("T"),     \
                          ContextGradientOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
