// The OpKernels of a convolution and a deconvolution, for inference.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cpu/convolve.h"
#include "cpu/large_pages.h"
#include "deformable_kernels.h"

namespace keras_radn {
namespace {

using tensorflow::OpInputList;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class FusedConvolutionOp : public tensorflow::OpKernel {
 public:
  using B = typename BitsOf<T>::Type;

  explicit FusedConvolutionOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("relu", &relu_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    TensorShape shape = features.shape();
    OP_REQUIRES_OK(context, CheckImages(shape));
    const Tensor& kernel = context->input(1);
    OpInputList affine, bias;
    OP_REQUIRES_OK(context, context->input_list("affine", &affine));
    OP_REQUIRES_OK(context, context->input_list("bias", &bias));
    OP_REQUIRES(context,
                (affine.size() == 0 || affine.size() == 2) && bias.size() <= 1,
                absl::InvalidArgumentError(absl::StrCat(
                    "affine must be a scale and an offset or nothing, bias one "
                    "or none. Received: ",
                    affine.size(), " and ", bias.size())));
    const int64_t channels = shape.dim_size(3);
    const int64_t size = kernel.dims() == 4 && kernel.dim_size(0) == 1 ? 1 : 3;
    const int64_t filters = kernel.dims() == 4 ? kernel.dim_size(3) : 1;
    OP_REQUIRES_OK(context, CheckShape("kernel", kernel.shape(),
                                       {size, size, channels, filters}));
    for (const Tensor& vector : affine) {
      OP_REQUIRES_OK(context, CheckShape("affine", vector.shape(), {channels}));
    }
    for (const Tensor& vector : bias) {
      OP_REQUIRES_OK(context, CheckShape("bias", vector.shape(), {filters}));
    }
    shape.set_dim(3, filters);
    Tensor* outputs;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &outputs));
    if (outputs->NumElements() == 0) return;
    UseLargePages(*outputs);
    const bool normed = affine.size() == 2;
    const PackedConvolution<B> convolution(
        kernel, bias.size() == 1 ? &bias[0] : nullptr, relu_,
        normed ? affine[0].flat<float>().data() : nullptr,
        normed ? affine[1].flat<float>().data() : nullptr);
    const int64_t height = shape.dim_size(1), width = shape.dim_size(2);
    Convolve<B>(context, nullptr, *convolution,
                {Bits(features.flat<T>().data()), height, width, channels},
                {Bits(outputs->flat<T>().data()), height, width, filters},
                shape.dim_size(0) * height);
  }

 private:
  bool relu_;
};

template <typename T>
class FusedDeconvolutionOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;
  using B = typename BitsOf<T>::Type;

  void Compute(OpKernelContext* context) override {
    OpInputList features;
    OP_REQUIRES_OK(context, context->input_list("features", &features));
    const Tensor& kernel = context->input(features.size());
    const Tensor& bias = context->input(features.size() + 1);
    std::vector<Part<B>> parts;
    TensorShape shape;
    int64_t channels;
    OP_REQUIRES_OK(context,
                   ConcatParts<T>(features, &parts, &shape, &channels));
    const int64_t filters = bias.NumElements();
    OP_REQUIRES_OK(context, CheckShape("bias", bias.shape(), {filters}));
    OP_REQUIRES_OK(context, CheckShape("kernel", kernel.shape(),
                                       {4, 4, filters, channels}));
    const int64_t rows = shape.dim_size(0) * shape.dim_size(1);
    const int64_t width = shape.dim_size(2);
    shape.set_dim(1, 2 * shape.dim_size(1));
    shape.set_dim(2, 2 * width);
    shape.set_dim(3, filters);
    Tensor* outputs;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &outputs));
    if (outputs->NumElements() == 0) return;
    UseLargePages(*outputs);
    std::vector<char> weights(PackedBytes<float>(4, channels, filters));
    BestConvolutions<B>().pack_deconvolution(kernel.flat<float>().data(),
                                             bias.flat<float>().data(),
                                             channels, filters, weights.data());
    const Convolution<B> convolution{4,       channels,       filters, nullptr,
                                     nullptr, weights.data(), true};
    const Pixels<B> pixels{Bits(outputs->flat<T>().data()), shape.dim_size(1),
                           shape.dim_size(2), filters};
    Parallel(context, rows, width * (channels * filters / 2 + 1),
             [&](int64_t begin, int64_t end) {
               std::vector<char> scratch(
                   ScratchBytes<B>(nullptr, convolution, width));
               BestConvolutions<B>().deconvolve(convolution, parts.data(),
                                                parts.size(), pixels, begin,
                                                end, scratch.data());
             });
  }
};

#define REGISTER(type)                                         \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>FusedConvolution")   \
                              .Device(tensorflow::DEVICE_CPU)  \
                              .TypeConstraint<type>("T"),      \
                          FusedConvolutionOp<type>);           \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>FusedDeconvolution") \
                              .Device(tensorflow::DEVICE_CPU)  \
                              .TypeConstraint<type>("T"),      \
                          FusedDeconvolutionOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
