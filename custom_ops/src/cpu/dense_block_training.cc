// The OpKernels of a dense block in training: forward and backward.
//
// All units read and write one map of the block's final width. What batch norms
// and ReLUs make of it is computed where a convolution reads it, in both
// directions, and the statistics of a channel are computed once, however many
// units read it.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cpu/convolve.h"
#include "cpu/large_pages.h"
#include "cpu/training.h"
#include "deformable_kernels.h"

namespace keras_radn {
namespace {

using tensorflow::OpInputList;
using tensorflow::OpKernelContext;
using tensorflow::OpOutputList;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// Weights of the units, which both ops have, and the sizes that follow.
struct Units {
  OpInputList gammas, betas, kernels;
  OpInputList growth_gammas, growth_betas, growth_kernels;
  OpInputList means, variances;  // none, or of all norms: those in order
  int64_t channels, width;       // before the first unit and after the last

  int count() const { return kernels.size(); }
  bool fixed() const { return means.size() > 0; }

  absl::Status Read(OpKernelContext* context, int64_t features) {
    TF_RETURN_IF_ERROR(context->input_list("gammas", &gammas));
    TF_RETURN_IF_ERROR(context->input_list("betas", &betas));
    TF_RETURN_IF_ERROR(context->input_list("kernels", &kernels));
    TF_RETURN_IF_ERROR(context->input_list("growth_gammas", &growth_gammas));
    TF_RETURN_IF_ERROR(context->input_list("growth_betas", &growth_betas));
    TF_RETURN_IF_ERROR(context->input_list("growth_kernels", &growth_kernels));
    TF_RETURN_IF_ERROR(ReadMoments(context, 2 * count(), &means, &variances));
    channels = width = features;
    for (int i = 0; i < count(); ++i) {
      const int64_t filters = growth_gammas[i].NumElements();
      const TensorShape& growth = growth_kernels[i].shape();
      const int64_t growth_rate = growth.dims() == 4 ? growth.dim_size(3) : 1;
      TF_RETURN_IF_ERROR(CheckNorm(gammas[i], betas[i], 2 * i, width));
      TF_RETURN_IF_ERROR(
          CheckShape("kernel", kernels[i].shape(), {1, 1, width, filters}));
      TF_RETURN_IF_ERROR(
          CheckNorm(growth_gammas[i], growth_betas[i], 2 * i + 1, filters));
      TF_RETURN_IF_ERROR(
          CheckShape("growth_kernel", growth, {3, 3, filters, growth_rate}));
      width += growth_rate;
    }
    return absl::OkStatus();
  }

  // Norms of unit i; mean and variance are those of the batch.
  RectifiedNorm Bottleneck(int i, const float* mean, const float* variance,
                           float epsilon) const {
    return Make(gammas[i], betas[i], 2 * i, mean, variance, epsilon);
  }
  RectifiedNorm Growth(int i, const float* mean, const float* variance,
                       float epsilon) const {
    return Make(growth_gammas[i], growth_betas[i], 2 * i + 1, mean, variance,
                epsilon);
  }

 private:
  absl::Status CheckNorm(const Tensor& gamma, const Tensor& beta, int norm,
                         int64_t expected) const {
    TF_RETURN_IF_ERROR(CheckShape("gamma", gamma.shape(), {expected}));
    TF_RETURN_IF_ERROR(CheckShape("beta", beta.shape(), {expected}));
    if (!fixed()) return absl::OkStatus();
    TF_RETURN_IF_ERROR(CheckShape("mean", means[norm].shape(), {expected}));
    return CheckShape("variance", variances[norm].shape(), {expected});
  }

  RectifiedNorm Make(const Tensor& gamma, const Tensor& beta, int norm,
                     const float* mean, const float* variance,
                     float epsilon) const {
    if (fixed()) mean = Data(means[norm]), variance = Data(variances[norm]);
    return RectifiedNorm(gamma.NumElements(), Data(gamma), Data(beta), mean,
                         variance, epsilon, fixed());
  }
};

template <typename T>
class DenseBlockTrainingOp : public tensorflow::OpKernel {
 public:
  using B = typename BitsOf<T>::Type;

  explicit DenseBlockTrainingOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &epsilon_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    TensorShape shape = features.shape();
    OP_REQUIRES_OK(context, CheckBatch(shape));
    Units units;
    OP_REQUIRES_OK(context, units.Read(context, shape.dim_size(3)));
    shape.set_dim(3, units.width);
    Tensor *outputs, *mean, *variance;
    OpOutputList bottlenecks, growth_means, growth_variances;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &outputs));
    OP_REQUIRES_OK(context,
                   context->allocate_output("mean", {units.width}, &mean));
    OP_REQUIRES_OK(context, context->allocate_output("variance", {units.width},
                                                     &variance));
    OP_REQUIRES_OK(context, context->output_list("bottlenecks", &bottlenecks));
    OP_REQUIRES_OK(context,
                   context->output_list("growth_means", &growth_means));
    OP_REQUIRES_OK(context,
                   context->output_list("growth_variances", &growth_variances));
    UseLargePages(*outputs);

    const int64_t height = shape.dim_size(1), width = shape.dim_size(2);
    const int64_t rows = shape.dim_size(0) * height;
    const Chunks chunks(rows, width);
    Pixels<B> map{Bits(outputs->flat<T>().data()), height, width, units.width};
    const Pixels<const B> inputs = Const(map);
    CopyPixels<B>(context, {Bits(features.flat<T>().data()), units.channels},
                  map, rows);
    const auto finish = [&](Statistics<B>* statistics, int64_t first) {
      statistics->Finish(Data(mean) + first, Data(variance) + first);
    };
    Statistics<B> before(chunks, units.channels);
    chunks.For(context, units.channels,
               [&](int64_t chunk, int64_t begin, int64_t end) {
                 before.Add(chunk, inputs, begin, end);
               });
    finish(&before, 0);
    map.data += units.channels;
    for (int i = 0; i < units.count(); ++i) {
      const int64_t filters = units.growth_gammas[i].NumElements();
      Tensor *bottleneck, *growth_mean, *growth_variance;
      shape.set_dim(3, filters);
      OP_REQUIRES_OK(context, bottlenecks.allocate(i, shape, &bottleneck));
      OP_REQUIRES_OK(context,
                     growth_means.allocate(i, {filters}, &growth_mean));
      OP_REQUIRES_OK(context,
                     growth_variances.allocate(i, {filters}, &growth_variance));
      UseLargePages(*bottleneck);
      const Pixels<B> products{Bits(bottleneck->flat<T>().data()), height,
                               width, filters};
      const RectifiedNorm norm =
          units.Bottleneck(i, Data(mean), Data(variance), epsilon_);
      Convolve(context, chunks, units.kernels[i], norm, inputs, products)
          .Finish(Data(growth_mean), Data(growth_variance));
      const RectifiedNorm growth_norm =
          units.Growth(i, Data(growth_mean), Data(growth_variance), epsilon_);
      Statistics<B> added = Convolve(context, chunks, units.growth_kernels[i],
                                     growth_norm, Const(products), map);
      finish(&added, map.data - inputs.data);
      map.data += units.growth_kernels[i].dim_size(3);
    }
  }

 private:
  // Returns the statistics of the outputs.
  static Statistics<B> Convolve(OpKernelContext* context, const Chunks& chunks,
                                const Tensor& kernel, const RectifiedNorm& norm,
                                const Pixels<const B>& inputs,
                                const Pixels<B>& outputs) {
    const PackedConvolution<B> convolution(kernel, nullptr, false, norm.scale(),
                                           norm.offset());
    const int64_t filters = convolution->filters;
    Statistics<B> statistics(chunks, filters);
    chunks.For(context, kernel.NumElements(),
               [&](int64_t chunk, int64_t begin, int64_t end) {
                 const Uninitialized<char> scratch(
                     ScratchBytes<B>(nullptr, *convolution, inputs.width));
                 BestConvolutions<B>().convolve(nullptr, *convolution, inputs,
                                                outputs, begin, end,
                                                scratch.data());
                 statistics.Add(chunk, Const(outputs), begin, end);
               });
    return statistics;
  }

  float epsilon_;
};

template <typename T>
class DenseBlockGradientOp : public tensorflow::OpKernel {
 public:
  using B = typename BitsOf<T>::Type;

  explicit DenseBlockGradientOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &epsilon_));
  }

  void Compute(OpKernelContext* context) override {
    Backward backward;
    OP_REQUIRES_OK(context, backward.Read(context));
    OP_REQUIRES_OK(context, backward.Allocate(context));
    for (int i = backward.units.count() - 1; i >= 0; --i) {
      backward.Unit(context, i, epsilon_);
    }
    backward.Finish(context);
  }

 private:
  struct Backward {
    Units units;
    const Tensor *gradient, *outputs, *mean, *variance;
    OpInputList bottlenecks, growth_means, growth_variances;
    Tensor *to_features, total, growth, rectified, product;
    OpOutputList to_gammas, to_betas, to_kernels;
    OpOutputList to_growth_gammas, to_growth_betas, to_growth_kernels;
    int64_t height, width, rows;
    // The gradient of a channel of the map is total - constant - slope * (x -
    // mean): each norm that reads it adds to all three.
    std::vector<float> constant, slope;

    absl::Status Read(OpKernelContext* context) {
      TF_RETURN_IF_ERROR(context->input("gradient", &gradient));
      TF_RETURN_IF_ERROR(context->input("outputs", &outputs));
      TF_RETURN_IF_ERROR(context->input("mean", &mean));
      TF_RETURN_IF_ERROR(context->input("variance", &variance));
      TF_RETURN_IF_ERROR(context->input_list("bottlenecks", &bottlenecks));
      TF_RETURN_IF_ERROR(context->input_list("growth_means", &growth_means));
      TF_RETURN_IF_ERROR(
          context->input_list("growth_variances", &growth_variances));
      const TensorShape& shape = outputs->shape();
      TF_RETURN_IF_ERROR(CheckImages(shape));
      OpInputList growth_kernels;
      TF_RETURN_IF_ERROR(
          context->input_list("growth_kernels", &growth_kernels));
      int64_t channels = shape.dim_size(3);
      for (const Tensor& kernel : growth_kernels) {
        channels -= kernel.dims() == 4 ? kernel.dim_size(3) : 0;
      }
      TF_RETURN_IF_ERROR(units.Read(context, channels));
      height = shape.dim_size(1), width = shape.dim_size(2);
      rows = shape.dim_size(0) * height;
      std::vector<int64_t> expected = {shape.dim_size(0), height, width,
                                       units.width};
      TF_RETURN_IF_ERROR(CheckShape("outputs", shape, expected));
      TF_RETURN_IF_ERROR(CheckShape("gradient", gradient->shape(), expected));
      TF_RETURN_IF_ERROR(CheckShape("mean", mean->shape(), {units.width}));
      TF_RETURN_IF_ERROR(
          CheckShape("variance", variance->shape(), {units.width}));
      for (int i = 0; i < units.count(); ++i) {
        const int64_t filters = units.growth_gammas[i].NumElements();
        expected[3] = filters;
        TF_RETURN_IF_ERROR(
            CheckShape("bottleneck", bottlenecks[i].shape(), expected));
        TF_RETURN_IF_ERROR(
            CheckShape("growth_mean", growth_means[i].shape(), {filters}));
        TF_RETURN_IF_ERROR(CheckShape("growth_variance",
                                      growth_variances[i].shape(), {filters}));
      }
      return absl::OkStatus();
    }

    absl::Status Allocate(OpKernelContext* context) {
      TF_RETURN_IF_ERROR(
          AllocateLike(context, "to_gammas", units.gammas, &to_gammas));
      TF_RETURN_IF_ERROR(
          AllocateLike(context, "to_betas", units.betas, &to_betas));
      TF_RETURN_IF_ERROR(
          AllocateLike(context, "to_kernels", units.kernels, &to_kernels));
      TF_RETURN_IF_ERROR(AllocateLike(context, "to_growth_gammas",
                                      units.growth_gammas, &to_growth_gammas));
      TF_RETURN_IF_ERROR(AllocateLike(context, "to_growth_betas",
                                      units.growth_betas, &to_growth_betas));
      TF_RETURN_IF_ERROR(AllocateLike(context, "to_growth_kernels",
                                      units.growth_kernels,
                                      &to_growth_kernels));
      int64_t filters = 1, growth_rate = 1;
      for (const Tensor& kernel : units.growth_kernels) {
        filters = std::max(filters, kernel.dim_size(2));
        growth_rate = std::max(growth_rate, kernel.dim_size(3));
      }
      constant.assign(units.width, 0);
      slope.assign(units.width, 0);
      TensorShape shape = outputs->shape();
      const auto type = tensorflow::DataTypeToEnum<T>::value;
      TF_RETURN_IF_ERROR(AccumulatorOf<T>(context, *gradient, &total));
      shape.set_dim(3, filters);
      TF_RETURN_IF_ERROR(
          context->allocate_temp(tensorflow::DT_FLOAT, shape, &rectified));
      TF_RETURN_IF_ERROR(context->allocate_temp(type, shape, &product));
      shape.set_dim(3, growth_rate);
      TF_RETURN_IF_ERROR(context->allocate_temp(type, shape, &growth));
      shape.set_dim(3, units.channels);
      TF_RETURN_IF_ERROR(
          context->allocate_output("to_features", shape, &to_features));
      UseLargePages(rectified);
      UseLargePages(product);
      return absl::OkStatus();
    }

    void Unit(OpKernelContext* context, int i, float epsilon) {
      const Tensor& kernel = units.kernels[i];
      const Tensor& growth_kernel = units.growth_kernels[i];
      const int64_t before = kernel.dim_size(2), filters = kernel.dim_size(3);
      const int64_t growth_rate = growth_kernel.dim_size(3);
      const Chunks chunks(rows, width);
      const Pixels<const B> map = MapFrom(0);
      const Pixels<const B> bottleneck{Bits(bottlenecks[i].flat<T>().data()),
                                       height, width, filters};
      const Pixels<B> to_growth{Bits(growth.flat<T>().data()), height, width,
                                growth_rate};
      const Pixels<B> to_product{Bits(product.flat<T>().data()), height, width,
                                 filters};
      const Pixels<float> to_rectified{Data(&rectified), height, width,
                                       filters};
      CenterMap(context, chunks, before, growth_rate, to_growth);

      // The 3x3 convolution.
      const RectifiedNorm growth_norm = units.Growth(
          i, Data(growth_means[i]), Data(growth_variances[i]), epsilon);
      ChannelSums growth_sums(chunks, filters);
      KernelGradient<B> growth_gradient(
          chunks, Convolution<B>{3, filters, growth_rate, growth_norm.scale(),
                                 growth_norm.offset(), nullptr, false});
      const std::vector<float> growth_transposed =
          Transposed(Data(growth_kernel), 3, filters, growth_rate);
      const PackedConvolution<B> growth_back(growth_transposed.data(), 3,
                                             growth_rate, filters);
      chunks.For(context, 2 * growth_kernel.NumElements(),
                 [&](int64_t chunk, int64_t begin, int64_t end) {
                   const Uninitialized<char> scratch(
                       ScratchBytes<B>(nullptr, *growth_back, width));
                   BestConvolutions<B>().convolve_wide(
                       nullptr, *growth_back, Const(to_growth), to_rectified,
                       begin, end, scratch.data());
                   BestConvolutions<B>().rectify_gradient(
                       growth_norm.view(), bottleneck,
                       From(to_rectified, begin).data, filters, begin, end,
                       growth_sums.of(chunk));
                   growth_gradient.Add(chunk, bottleneck, Const(to_growth),
                                       begin, end);
                 });
      growth_gradient.Finish(Data(to_growth_kernels[i]));
      std::vector<float> growth_constant(filters), growth_slope(filters);
      growth_norm.Gradients(growth_sums.Total(), chunks.pixels(),
                            Data(to_growth_gammas[i]), Data(to_growth_betas[i]),
                            growth_constant.data(), growth_slope.data());

      // The 1x1 convolution.
      const RectifiedNorm norm =
          units.Bottleneck(i, Data(*mean), Data(*variance), epsilon);
      ChannelSums sums(chunks, before);
      KernelGradient<B> kernel_gradient(
          chunks, Convolution<B>{1, before, filters, norm.scale(),
                                 norm.offset(), nullptr, false});
      const std::vector<float> transposed =
          Transposed(Data(kernel), 1, before, filters);
      const PackedConvolution<B> back(transposed.data(), 1, filters, before);
      chunks.For(
          context, 2 * kernel.NumElements(),
          [&](int64_t chunk, int64_t begin, int64_t end) {
            const auto& kernels = BestConvolutions<B>();
            kernels.center_gradient(
                growth_norm.view(), growth_constant.data(), growth_slope.data(),
                bottleneck, Const(to_rectified), to_product, begin, end);
            kernel_gradient.Add(chunk, map, Const(to_product), begin, end);
            const Uninitialized<char> scratch(
                ScratchBytes<B>(nullptr, *back, width));
            const Uninitialized<float> to_inputs(chunks.size() * before);
            kernels.convolve_wide(nullptr, *back,
                                  From(Const(to_product), begin),
                                  {to_inputs.data(), height, width, before}, 0,
                                  end - begin, scratch.data());
            kernels.add_rectified(
                norm.view(), map, to_inputs.data(), begin, end, sums.of(chunk),
                Data(&total) + begin * width * units.width, units.width);
          });
      kernel_gradient.Finish(Data(to_kernels[i]));
      norm.Gradients(sums.Total(), chunks.pixels(), Data(to_gammas[i]),
                     Data(to_betas[i]), constant.data(), slope.data());
    }

    void Finish(OpKernelContext* context) {
      CenterMap(
          context, Chunks(rows, width), 0, units.channels,
          {Bits(to_features->flat<T>().data()), height, width, units.channels});
    }

    Pixels<const B> MapFrom(int64_t channel) const {
      return {Bits(outputs->flat<T>().data()) + channel, height, width,
              units.width};
    }

    // The gradient of some channels of the map, which no more units read.
    void CenterMap(OpKernelContext* context, const Chunks& chunks,
                   int64_t channel, int64_t channels, const Pixels<B>& to) {
      const Norm norm{channels, nullptr, nullptr, Data(*mean) + channel};
      const Pixels<const float> from{Data(&total) + channel, height, width,
                                     units.width};
      chunks.For(context, channels, [&](int64_t, int64_t begin, int64_t end) {
        BestConvolutions<B>().center_gradient(
            norm, constant.data() + channel, slope.data() + channel,
            MapFrom(channel), from, to, begin, end);
      });
    }
  };

  float epsilon_;
};

#define REGISTER(type)                                         \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>DenseBlockTraining") \
                              .Device(tensorflow::DEVICE_CPU)  \
                              .TypeConstraint<type>("T"),      \
                          DenseBlockTrainingOp<type>);         \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>DenseBlockGradient") \
                              .Device(tensorflow::DEVICE_CPU)  \
                              .TypeConstraint<type>("T"),      \
                          DenseBlockGradientOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
