// The OpKernel of a dense block in training; see dense_block_training.h.

#include "cpu/dense_block_training.h"

#include <cstdint>

#include "cpu/convolve.h"
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
    DenseUnits units;
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

#define REGISTER(type)                                         \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>DenseBlockTraining") \
                              .Device(tensorflow::DEVICE_CPU)  \
                              .TypeConstraint<type>("T"),      \
                          DenseBlockTrainingOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
