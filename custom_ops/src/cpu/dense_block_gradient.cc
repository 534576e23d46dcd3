// The OpKernel of the gradient of a dense block.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cpu/convolve.h"
#include "cpu/dense_block_training.h"
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
    DenseUnits units;
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

    // Adds what unit i, whose outputs no more units read, gives back.
    void Unit(OpKernelContext* context, int i, float epsilon) {
      const Chunks chunks(rows, width);
      const RectifiedNorm norm = units.Growth(
          i, Data(growth_means[i]), Data(growth_variances[i]), epsilon);
      std::vector<float> growth_constant(norm.channels());
      std::vector<float> growth_slope(norm.channels());
      GrowthConvolution(context, chunks, i, norm, growth_constant.data(),
                        growth_slope.data());
      BottleneckConvolution(context, chunks, i, epsilon, norm,
                            growth_constant.data(), growth_slope.data());
    }

    // The 3x3 convolution.
    void GrowthConvolution(OpKernelContext* context, const Chunks& chunks,
                           int i, const RectifiedNorm& norm,
                           float* growth_constant, float* growth_slope) {
      const Tensor& kernel = units.growth_kernels[i];
      const int64_t filters = kernel.dim_size(2);
      const int64_t growth_rate = kernel.dim_size(3);
      const Pixels<const B> bottleneck = Bottleneck(i, filters);
      const Pixels<B> to_growth{Bits(growth.flat<T>().data()), height, width,
                                growth_rate};
      const Pixels<float> to_rectified = ToRectified(filters);
      CenterMap(context, chunks, units.kernels[i].dim_size(2), growth_rate,
                to_growth);
      ChannelSums sums(chunks, filters);
      KernelGradient<B> gradient(
          chunks, Convolution<B>{3, filters, growth_rate, norm.scale(),
                                 norm.offset(), nullptr, false});
      const std::vector<float> transposed =
          Transposed(Data(kernel), 3, filters, growth_rate);
      const PackedConvolution<B> back(transposed.data(), 3, growth_rate,
                                      filters);
      chunks.For(
          context, 2 * kernel.NumElements(),
          [&](int64_t chunk, int64_t begin, int64_t end) {
            const Uninitialized<char> scratch(
                ScratchBytes<B>(nullptr, *back, width));
            BestConvolutions<B>().convolve_wide(nullptr, *back,
                                                Const(to_growth), to_rectified,
                                                begin, end, scratch.data());
            BestConvolutions<B>().rectify_gradient(
                norm.view(), bottleneck, From(to_rectified, begin).data,
                filters, begin, end, sums.of(chunk));
            gradient.Add(chunk, bottleneck, Const(to_growth), begin, end);
          });
      gradient.Finish(Data(to_growth_kernels[i]));
      norm.Gradients(sums.Total(), chunks.pixels(), Data(to_growth_gammas[i]),
                     Data(to_growth_betas[i]), growth_constant, growth_slope);
    }

    // The 1x1 convolution.
    void BottleneckConvolution(OpKernelContext* context, const Chunks& chunks,
                               int i, float epsilon,
                               const RectifiedNorm& growth_norm,
                               const float* growth_constant,
                               const float* growth_slope) {
      const Tensor& kernel = units.kernels[i];
      const int64_t before = kernel.dim_size(2), filters = kernel.dim_size(3);
      const Pixels<const B> map = MapFrom(0);
      const Pixels<const B> bottleneck = Bottleneck(i, filters);
      const Pixels<B> to_product{Bits(product.flat<T>().data()), height, width,
                                 filters};
      const RectifiedNorm norm =
          units.Bottleneck(i, Data(*mean), Data(*variance), epsilon);
      ChannelSums sums(chunks, before);
      KernelGradient<B> gradient(
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
                growth_norm.view(), growth_constant, growth_slope, bottleneck,
                Const(ToRectified(filters)), to_product, begin, end);
            gradient.Add(chunk, map, Const(to_product), begin, end);
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
      gradient.Finish(Data(to_kernels[i]));
      norm.Gradients(sums.Total(), chunks.pixels(), Data(to_gammas[i]),
                     Data(to_betas[i]), constant.data(), slope.data());
    }

    void Finish(OpKernelContext* context) {
      CenterMap(
          context, Chunks(rows, width), 0, units.channels,
          {Bits(to_features->flat<T>().data()), height, width, units.channels});
    }

    Pixels<const B> Bottleneck(int i, int64_t filters) const {
      return {Bits(bottlenecks[i].flat<T>().data()), height, width, filters};
    }
    Pixels<float> ToRectified(int64_t filters) {
      return {Data(&rectified), height, width, filters};
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
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>DenseBlockGradient") \
                              .Device(tensorflow::DEVICE_CPU)  \
                              .TypeConstraint<type>("T"),      \
                          DenseBlockGradientOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
