// The OpKernel of the units of a dense deformable module in training; see
// deform_units_training.h.

#include "cpu/deform_units_training.h"

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cpu/convolve.h"
#include "cpu/deform_units.h"
#include "cpu/large_pages.h"
#include "cpu/training.h"
#include "deformable_kernels.h"

namespace keras_radn {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::OpOutputList;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class DeformUnitsTrainingOp : public tensorflow::OpKernel {
 public:
  using B = typename BitsOf<T>::Type;

  explicit DeformUnitsTrainingOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("epsilon", &epsilon_));
    OP_REQUIRES_OK(context, context->GetAttr("max_offset", &max_offset_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    TensorShape shape = features.shape();
    OP_REQUIRES_OK(context, CheckBatch(shape));
    DeformUnits units;
    OP_REQUIRES_OK(context, units.Read(context, shape.dim_size(3)));
    Tensor *outputs, *offsets;
    UnitOutputs of_units;
    OP_REQUIRES_OK(context, of_units.Read(context));
    shape.set_dim(3, units.width());
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &outputs));
    shape.set_dim(3, units.offsets());
    OP_REQUIRES_OK(context,
                   context->allocate_output("offsets", shape, &offsets));
    UseLargePages(*outputs);
    UseLargePages(*offsets);

    const int64_t height = shape.dim_size(1), width = shape.dim_size(2);
    const int64_t rows = shape.dim_size(0) * height;
    const Chunks chunks(rows, width);
    const Geometry g = UnitGeometry(shape.dim_size(0), height, width);
    Pixels<B> map{Bits(outputs->flat<T>().data()), height, width,
                  units.width()};
    const Pixels<const B> inputs = Const(map);
    CopyPixels<B>(context, {Bits(features.flat<T>().data()), units.added(0)},
                  map, rows);
    Pixels<float> unit_offsets{Data(offsets), height, width, units.offsets()};
    for (int i = 0; i < units.count(); ++i) {
      const int64_t filters = units.filters(i);
      Tensor *unit_projected, *unit_sums, *mean, *variance;
      shape.set_dim(3, kTaps * filters);
      OP_REQUIRES_OK(context,
                     of_units.projected.allocate(i, shape, &unit_projected));
      shape.set_dim(3, filters);
      OP_REQUIRES_OK(context, of_units.sums.allocate(i, shape, &unit_sums));
      OP_REQUIRES_OK(context, of_units.means.allocate(i, {filters}, &mean));
      OP_REQUIRES_OK(context,
                     of_units.variances.allocate(i, {filters}, &variance));
      UseLargePages(*unit_projected);

      AddOffsets(context, units, i, rows, inputs, unit_offsets);
      const PackedConvolution<B> projection(units.Projection(i).data(), 1,
                                            units.channels(i), kTaps * filters);
      B* products = Bits(unit_projected->flat<T>().data());
      Convolve<B>(context, nullptr, *projection, inputs,
                  {products, height, width, kTaps * filters}, rows);
      const Pixels<B> outputs_before{Bits(unit_sums->flat<T>().data()), height,
                                     width, filters};
      Statistics<B> statistics(chunks, filters);
      chunks.For(context, kTaps * (10 + 2 * filters),
                 [&](int64_t chunk, int64_t begin, int64_t end) {
                   SumRows(g, products, filters, unit_offsets, max_offset_,
                           outputs_before, begin, end);
                   statistics.Add(chunk, Const(outputs_before), begin, end);
                 });
      statistics.Finish(Data(mean), Data(variance));
      const RectifiedNorm norm = units.MakeNorm(i, *mean, *variance, epsilon_);
      map.data = const_cast<B*>(inputs.data) + units.starts[i + 1];
      chunks.For(context, filters, [&](int64_t, int64_t begin, int64_t end) {
        BestConvolutions<B>().rectify(norm.view(), Const(outputs_before), map,
                                      begin, end);
      });
      unit_offsets.data += kUnitOffsets;
    }
  }

 private:
  // What the gradient reads of each unit, beside its offsets.
  struct UnitOutputs {
    OpOutputList projected, sums, means, variances;

    absl::Status Read(OpKernelContext* context) {
      TF_RETURN_IF_ERROR(context->output_list("projected", &projected));
      TF_RETURN_IF_ERROR(context->output_list("sums", &sums));
      TF_RETURN_IF_ERROR(context->output_list("batch_means", &means));
      return context->output_list("batch_variances", &variances);
    }
  };

  // Adds what part i of the channels contributes to the offsets of unit i and
  // all behind it; the first part begins with the bias.
  static void AddOffsets(OpKernelContext* context, const DeformUnits& units,
                         int i, int64_t rows, const Pixels<const B>& inputs,
                         const Pixels<float>& offsets) {
    const std::vector<float> bias = units.OffsetBias();
    const PackedConvolution<B> convolution(
        units.OffsetKernel(i).data(), 3, units.added(i),
        units.offsets() - i * kUnitOffsets, i == 0 ? bias.data() : nullptr);
    ForRows<B>(context, nullptr, *convolution,
               {inputs.data + units.starts[i], inputs.height, inputs.width,
                inputs.pixel},
               offsets, rows,
               i == 0 ? BestConvolutions<B>().convolve_wide
                      : BestConvolutions<B>().add_wide);
  }

  float epsilon_, max_offset_;
};

#define REGISTER(type)                                          \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>DeformUnitsTraining") \
                              .Device(tensorflow::DEVICE_CPU)   \
                              .TypeConstraint<type>("T"),       \
                          DeformUnitsTrainingOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
