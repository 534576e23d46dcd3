// The OpKernel of a convolution in training; see convolution_training.h.

#include "cpu/convolution_training.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/convolve.h"
#include "cpu/large_pages.h"
#include "cpu/training.h"
#include "deformable_kernels.h"

namespace keras_radn {
namespace {

using tensorflow::OpInputList;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class ConvolutionTrainingOp : public tensorflow::OpKernel {
 public:
  using B = typename BitsOf<T>::Type;

  explicit ConvolutionTrainingOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    const TensorShape& shape = features.shape();
    NormedConvolution conv;
    OP_REQUIRES_OK(context, conv.Read(context, attributes_, shape));
    if (conv.normed()) OP_REQUIRES_OK(context, CheckBatch(shape));
    OpInputList means, variances;
    OP_REQUIRES_OK(
        context, ReadMoments(context, conv.gammas.size(), &means, &variances));
    const bool fixed = means.size() > 0;
    Tensor *outputs, *products, *mean, *variance;
    OP_REQUIRES_OK(context,
                   context->allocate_output("outputs", conv.outputs, &outputs));
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       "products",
                       conv.behind() ? conv.outputs : TensorShape({0, 0, 0, 0}),
                       &products));
    OP_REQUIRES_OK(context,
                   context->allocate_output("mean", {conv.width()}, &mean));
    OP_REQUIRES_OK(context, context->allocate_output("variance", {conv.width()},
                                                     &variance));
    if (fixed) {
      OP_REQUIRES_OK(context,
                     CheckShape("mean", means[0].shape(), {conv.width()}));
      OP_REQUIRES_OK(context, CheckShape("variance", variances[0].shape(),
                                         {conv.width()}));
      std::copy_n(Data(means[0]), conv.width(), Data(mean));
      std::copy_n(Data(variances[0]), conv.width(), Data(variance));
    }
    if (outputs->NumElements() == 0) return;
    UseLargePages(*outputs);
    UseLargePages(*products);

    const int64_t rows = shape.dim_size(0) * shape.dim_size(1);
    const Chunks chunks(rows, shape.dim_size(2));
    const Pixels<const B> inputs{Bits(features.flat<T>().data()),
                                 shape.dim_size(1), shape.dim_size(2),
                                 conv.channels};
    const auto make_norm = [&] {
      return conv.MakeNorm(*mean, *variance, attributes_.epsilon, fixed);
    };
    const Pixels<B> to = PixelsOf(conv, outputs);
    if (!conv.behind()) {
      if (conv.before() && !fixed) {
        Statistics<B> before(chunks, conv.channels);
        chunks.For(context, conv.channels,
                   [&](int64_t chunk, int64_t begin, int64_t end) {
                     before.Add(chunk, inputs, begin, end);
                   });
        before.Finish(Data(mean), Data(variance));
      }
      const RectifiedNorm norm = make_norm();
      Convolve(context, chunks, conv, conv.before() ? &norm : nullptr, inputs,
               to, nullptr);
      return;
    }
    const Pixels<B> sums = PixelsOf(conv, products);
    Statistics<B> statistics(chunks, conv.filters);
    Convolve(context, chunks, conv, nullptr, inputs, sums,
             fixed ? nullptr : &statistics);
    if (!fixed) statistics.Finish(Data(mean), Data(variance));
    const RectifiedNorm norm = make_norm();
    chunks.For(context, conv.scale() * conv.scale() * conv.filters,
               [&](int64_t, int64_t begin, int64_t end) {
                 BestConvolutions<B>().rectify(norm.view(), Const(sums), to,
                                               conv.scale() * begin,
                                               conv.scale() * end);
               });
  }

 private:
  static Pixels<B> PixelsOf(const NormedConvolution& conv, Tensor* outputs) {
    return {Bits(outputs->flat<T>().data()), conv.outputs.dim_size(1),
            conv.outputs.dim_size(2), conv.filters};
  }

  // The statistics of the outputs are added if they are wanted.
  static void Convolve(OpKernelContext* context, const Chunks& chunks,
                       const NormedConvolution& conv, const RectifiedNorm* norm,
                       const Pixels<const B>& inputs, const Pixels<B>& outputs,
                       Statistics<B>* statistics) {
    const auto& kernels = BestConvolutions<B>();
    std::vector<char> weights(
        PackedBytes<float>(conv.size, conv.channels, conv.filters));
    const Convolution<B> convolution{conv.size,
                                     conv.channels,
                                     conv.filters,
                                     norm == nullptr ? nullptr : norm->scale(),
                                     norm == nullptr ? nullptr : norm->offset(),
                                     weights.data(),
                                     false};
    if (conv.transposed) {
      kernels.pack_deconvolution(Data(*conv.kernel), nullptr, conv.channels,
                                 conv.filters, weights.data());
    } else {
      kernels.pack(Data(*conv.kernel), nullptr, conv.size, conv.channels,
                   conv.filters, weights.data());
    }
    const Part<B> part{inputs.data, conv.channels};
    chunks.For(context, conv.kernel->NumElements(),
               [&](int64_t chunk, int64_t begin, int64_t end) {
                 const Uninitialized<char> scratch(
                     ScratchBytes<B>(nullptr, convolution, inputs.width));
                 if (conv.transposed) {
                   kernels.deconvolve(convolution, &part, 1, outputs, begin,
                                      end, scratch.data());
                 } else {
                   kernels.convolve(nullptr, convolution, inputs, outputs,
                                    begin, end, scratch.data());
                 }
                 if (statistics == nullptr) return;
                 statistics->Add(chunk, Const(outputs), conv.scale() * begin,
                                 conv.scale() * end);
               });
  }

  ConvolutionAttributes attributes_;
};

#define REGISTER(type)                                          \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>ConvolutionTraining") \
                              .Device(tensorflow::DEVICE_CPU)   \
                              .TypeConstraint<type>("T"),       \
                          ConvolutionTrainingOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
