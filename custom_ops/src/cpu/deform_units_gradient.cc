// The OpKernel of the gradient of the units of a dense deformable module.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cpu/convolve.h"
#include "cpu/deform_units.h"
#include "cpu/deform_units_training.h"
#include "cpu/large_pages.h"
#include "cpu/launch.h"
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
class DeformUnitsGradientOp : public tensorflow::OpKernel {
 public:
  using B = typename BitsOf<T>::Type;

  explicit DeformUnitsGradientOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &epsilon_));
    OP_REQUIRES_OK(context, context->GetAttr("max_offset", &max_offset_));
  }

  void Compute(OpKernelContext* context) override {
    Backward backward;
    OP_REQUIRES_OK(context, backward.Read(context));
    OP_REQUIRES_OK(context, backward.Allocate(context));
    for (int i = backward.units.count() - 1; i >= 0; --i) {
      backward.Unit(context, i, epsilon_, max_offset_);
      backward.OffsetConvolution(context, i);
    }
    backward.Finish(context);
  }

 private:
  struct Backward {
    DeformUnits units;
    const Tensor *gradient, *outputs, *offsets;
    OpInputList projected, sums, batch_means, batch_variances;
    Tensor *to_features, total, to_sums, to_projected, unit_to_offsets;
    Tensor to_offsets;  // of all units, beside each other
    OpOutputList to_offset_kernels, to_offset_biases, to_kernels;
    OpOutputList to_gammas, to_betas;
    int64_t height, width, rows;

    absl::Status Read(OpKernelContext* context) {
      TF_RETURN_IF_ERROR(context->input("gradient", &gradient));
      TF_RETURN_IF_ERROR(context->input("outputs", &outputs));
      TF_RETURN_IF_ERROR(context->input("offsets", &offsets));
      TF_RETURN_IF_ERROR(context->input_list("projected", &projected));
      TF_RETURN_IF_ERROR(context->input_list("sums", &sums));
      TF_RETURN_IF_ERROR(context->input_list("batch_means", &batch_means));
      TF_RETURN_IF_ERROR(
          context->input_list("batch_variances", &batch_variances));
      const TensorShape& shape = outputs->shape();
      TF_RETURN_IF_ERROR(CheckImages(shape));
      OpInputList gammas;
      TF_RETURN_IF_ERROR(context->input_list("gammas", &gammas));
      int64_t channels = shape.dim_size(3);
      for (const Tensor& gamma : gammas) channels -= gamma.NumElements();
      TF_RETURN_IF_ERROR(units.Read(context, channels));
      height = shape.dim_size(1), width = shape.dim_size(2);
      rows = shape.dim_size(0) * height;
      std::vector<int64_t> expected = {shape.dim_size(0), height, width,
                                       units.width()};
      TF_RETURN_IF_ERROR(CheckShape("gradient", gradient->shape(), expected));
      expected[3] = units.offsets();
      TF_RETURN_IF_ERROR(CheckShape("offsets", offsets->shape(), expected));
      for (int i = 0; i < units.count(); ++i) {
        const int64_t filters = units.filters(i);
        expected[3] = kTaps * filters;
        TF_RETURN_IF_ERROR(
            CheckShape("projected", projected[i].shape(), expected));
        expected[3] = filters;
        TF_RETURN_IF_ERROR(CheckShape("sums", sums[i].shape(), expected));
        TF_RETURN_IF_ERROR(
            CheckShape("batch_mean", batch_means[i].shape(), {filters}));
        TF_RETURN_IF_ERROR(CheckShape("batch_variance",
                                      batch_variances[i].shape(), {filters}));
      }
      return absl::OkStatus();
    }

    absl::Status Allocate(OpKernelContext* context) {
      TF_RETURN_IF_ERROR(AllocateLike(context, "to_offset_kernels",
                                      units.offset_kernels,
                                      &to_offset_kernels));
      TF_RETURN_IF_ERROR(AllocateLike(context, "to_offset_biases",
                                      units.offset_biases, &to_offset_biases));
      TF_RETURN_IF_ERROR(
          AllocateLike(context, "to_kernels", units.kernels, &to_kernels));
      TF_RETURN_IF_ERROR(
          AllocateLike(context, "to_gammas", units.gammas, &to_gammas));
      TF_RETURN_IF_ERROR(
          AllocateLike(context, "to_betas", units.betas, &to_betas));
      int64_t filters = 1;
      for (int i = 0; i < units.count(); ++i) {
        filters = std::max(filters, units.filters(i));
      }
      TF_RETURN_IF_ERROR(AccumulatorOf<T>(context, *gradient, &total));
      TensorShape shape = outputs->shape();
      const auto type = tensorflow::DataTypeToEnum<T>::value;
      shape.set_dim(3, filters);
      TF_RETURN_IF_ERROR(context->allocate_temp(type, shape, &to_sums));
      shape.set_dim(3, kTaps * filters);
      TF_RETURN_IF_ERROR(context->allocate_temp(type, shape, &to_projected));
      shape.set_dim(3, units.offsets());
      TF_RETURN_IF_ERROR(context->allocate_temp(type, shape, &to_offsets));
      shape.set_dim(3, kUnitOffsets);
      TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_FLOAT, shape,
                                                &unit_to_offsets));
      shape.set_dim(3, units.added(0));
      TF_RETURN_IF_ERROR(
          context->allocate_output("to_features", shape, &to_features));
      UseLargePages(to_projected);
      return absl::OkStatus();
    }

    // Adds what unit i, whose outputs no more units read, gives back by its
    // projection, and finds the gradient of its offsets.
    void Unit(OpKernelContext* context, int i, float epsilon,
              float max_offset) {
      const int64_t filters = units.filters(i), channels = units.channels(i);
      const Chunks chunks(rows, width);
      const auto& kernels = BestConvolutions<B>();
      const RectifiedNorm norm =
          units.MakeNorm(i, batch_means[i], batch_variances[i], epsilon);
      const Pixels<const B> before{Bits(sums[i].flat<T>().data()), height,
                                   width, filters};
      const Pixels<float> to_outputs = TotalFrom(channels);
      ChannelSums norm_sums(chunks, filters);
      chunks.For(context, filters,
                 [&](int64_t chunk, int64_t begin, int64_t end) {
                   kernels.rectify_gradient(
                       norm.view(), before, From(to_outputs, begin).data,
                       to_outputs.pixel, begin, end, norm_sums.of(chunk));
                 });
      std::vector<float> constant(filters), slope(filters);
      norm.Gradients(norm_sums.Total(), chunks.pixels(), Data(to_gammas[i]),
                     Data(to_betas[i]), constant.data(), slope.data());
      T* to_sum = to_sums.flat<T>().data();
      chunks.For(context, filters, [&](int64_t, int64_t begin, int64_t end) {
        kernels.center_gradient(norm.view(), constant.data(), slope.data(),
                                before, Const(to_outputs),
                                {Bits(to_sum), height, width, filters}, begin,
                                end);
      });

      const Geometry g = UnitGeometry(rows / height, height, width);
      Layout layout = Layout::Sum(g, filters);
      layout.offset_pixel = units.offsets();
      T* to_products = to_projected.flat<T>().data();
      const float* unit_offsets = Data(*offsets) + i * kUnitOffsets;
      SumGradient<T>(
          context,
          {g, layout, projected[i].flat<T>().data(), unit_offsets, nullptr},
          to_sum, to_products, Data(&unit_to_offsets), nullptr);
      ClipGradient(context, unit_offsets, max_offset, i);

      const std::vector<float> to_projection = ConvolutionGradients<B>(
          context, chunks, units.Projection(i), 1, channels, kTaps * filters,
          MapFrom(0), {Bits(to_products), height, width, kTaps * filters},
          TotalFrom(0));
      float* to_kernel = Data(to_kernels[i]);
      for (int64_t tap = 0; tap < kTaps; ++tap) {
        for (int64_t c = 0; c < channels; ++c, to_kernel += filters) {
          const float* from =
              to_projection.data() + (c * kTaps + tap) * filters;
          std::copy(from, from + filters, to_kernel);
        }
      }
    }

    // Where an offset was clipped it has no gradient.
    void ClipGradient(OpKernelContext* context, const float* unit_offsets,
                      float max_offset, int i) {
      const float* from = Data(unit_to_offsets);
      T* to = to_offsets.flat<T>().data() + i * kUnitOffsets;
      const int64_t pixel = units.offsets();
      Parallel(
          context, rows * width, kUnitOffsets, [&](int64_t begin, int64_t end) {
            for (int64_t p = begin; p < end; ++p) {
              for (int64_t k = 0; k < kUnitOffsets; ++k) {
                const float offset = unit_offsets[p * pixel + k];
                const bool clipped = std::abs(offset) >= max_offset;
                to[p * pixel + k] =
                    static_cast<T>(clipped ? 0 : from[p * kUnitOffsets + k]);
              }
            }
          });
    }

    // Adds what part p of the channels gets back through the offsets of all
    // units that read it.
    void OffsetConvolution(OpKernelContext* context, int part) {
      const std::vector<float> to_kernel = ConvolutionGradients<B>(
          context, Chunks(rows, width), units.OffsetKernel(part), 3,
          units.added(part), units.offsets() - part * kUnitOffsets,
          MapFrom(units.starts[part]),
          {Bits(to_offsets.flat<T>().data()) + part * kUnitOffsets, height,
           width, units.offsets()},
          TotalFrom(units.starts[part]));
      const float* from = to_kernel.data();
      units.ForOffsets(part, [&](int64_t tap, int64_t c, int i) {
        std::copy(
            from, from + kUnitOffsets,
            Data(to_offset_kernels[i]) + units.OffsetRow(tap, part, c, i));
        from += kUnitOffsets;
      });
    }

    void Finish(OpKernelContext* context) {
      const Chunks chunks(rows, width);
      const std::vector<float> zeros(std::max(units.added(0), units.offsets()));
      // The gradient of the offsets' bias is the first of the moments' sums.
      const Pixels<const B> gradients{Bits(to_offsets.flat<T>().data()), height,
                                      width, units.offsets()};
      ChannelSums bias_sums(chunks, units.offsets());
      const Norm norm{units.added(0), nullptr, nullptr, zeros.data()};
      const Pixels<B> to{Bits(to_features->flat<T>().data()), height, width,
                         units.added(0)};
      chunks.For(context, units.width(),
                 [&](int64_t chunk, int64_t begin, int64_t end) {
                   BestConvolutions<B>().moments(units.offsets(), zeros.data(),
                                                 gradients, begin, end,
                                                 bias_sums.of(chunk));
                   BestConvolutions<B>().center_gradient(
                       norm, zeros.data(), zeros.data(), MapFrom(0),
                       Const(TotalFrom(0)), to, begin, end);
                 });
      const std::vector<double> bias = bias_sums.Total();
      for (int64_t k = 0; k < units.offsets(); ++k) {
        Data(to_offset_biases[k / kUnitOffsets])[k % kUnitOffsets] = bias[k];
      }
    }

    Pixels<const B> MapFrom(int64_t channel) const {
      return {Bits(outputs->flat<T>().data()) + channel, height, width,
              units.width()};
    }
    Pixels<float> TotalFrom(int64_t channel) {
      return {Data(&total) + channel, height, width, units.width()};
    }
  };

  float epsilon_, max_offset_;
};

#define REGISTER(type)                                          \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>DeformUnitsGradient") \
                              .Device(tensorflow::DEVICE_CPU)   \
                              .TypeConstraint<type>("T"),       \
                          DeformUnitsGradientOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
