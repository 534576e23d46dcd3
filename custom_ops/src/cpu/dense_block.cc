// The OpKernel of a dense block, for inference.

#include <cstdint>

#include "absl/status/status.h"
#include "cpu/convolve.h"
#include "cpu/large_pages.h"
#include "deformable_kernels.h"

namespace keras_radn {
namespace {

using tensorflow::OpInputList;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// Units of a DenseNet: each adds its output to the channels that it reads.
template <typename T>
class DenseBlockOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;
  using B = typename BitsOf<T>::Type;

  void Compute(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    TensorShape shape = features.shape();
    OP_REQUIRES_OK(context, CheckImages(shape));
    OpInputList scales, offsets, kernels, biases, growth_kernels;
    OP_REQUIRES_OK(context, context->input_list("scales", &scales));
    OP_REQUIRES_OK(context, context->input_list("offsets", &offsets));
    OP_REQUIRES_OK(context, context->input_list("kernels", &kernels));
    OP_REQUIRES_OK(context, context->input_list("biases", &biases));
    OP_REQUIRES_OK(context,
                   context->input_list("growth_kernels", &growth_kernels));
    const int64_t channels = shape.dim_size(3);
    int64_t width = channels;
    for (int i = 0; i < kernels.size(); ++i) {
      const int64_t filters = biases[i].NumElements();
      const TensorShape& growth = growth_kernels[i].shape();
      const int64_t growth_rate = growth.dims() == 4 ? growth.dim_size(3) : 1;
      OP_REQUIRES_OK(context, CheckShape("scale", scales[i].shape(), {width}));
      OP_REQUIRES_OK(context,
                     CheckShape("offset", offsets[i].shape(), {width}));
      OP_REQUIRES_OK(context, CheckShape("bias", biases[i].shape(), {filters}));
      OP_REQUIRES_OK(context, CheckShape("kernel", kernels[i].shape(),
                                         {1, 1, width, filters}));
      OP_REQUIRES_OK(context, CheckShape("growth_kernel", growth,
                                         {3, 3, filters, growth_rate}));
      width += growth_rate;
    }
    shape.set_dim(3, width);
    Tensor* outputs;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &outputs));
    if (outputs->NumElements() == 0) return;
    UseLargePages(*outputs);

    const int64_t rows = shape.dim_size(0) * shape.dim_size(1);
    Pixels<B> map{Bits(outputs->flat<T>().data()), shape.dim_size(1),
                  shape.dim_size(2), width};
    CopyPixels<B>(context, {Bits(features.flat<T>().data()), channels}, map,
                  rows);
    const Pixels<const B> inputs{map.data, map.height, map.width, map.pixel};
    map.data += channels;
    for (int i = 0; i < kernels.size(); ++i) {
      const PackedConvolution<B> bottleneck(kernels[i], &biases[i], true,
                                            scales[i].flat<float>().data(),
                                            offsets[i].flat<float>().data());
      const PackedConvolution<B> growth(growth_kernels[i], nullptr, false);
      Convolve(context, &*bottleneck, *growth, inputs, map, rows);
      map.data += growth->filters;
    }
  }
};

#define REGISTER(type)                                        \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>DenseBlock")        \
                              .Device(tensorflow::DEVICE_CPU) \
                              .TypeConstraint<type>("T"),     \
                          DenseBlockOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
