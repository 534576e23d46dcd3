// The OpKernels of the ops for inference.

#include <vector>

#include "cpu/kernels.h"
#include "deformable_kernels.h"

namespace keras_radn {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::thread::ThreadPool;

// Calls work(begin, end) for ranges of [0, total).
template <typename Work>
void Parallel(OpKernelContext* context, int64_t total, int64_t nanoseconds_each,
              const Work& work) {
  context->device()->tensorflow_cpu_worker_threads()->workers->ParallelFor(
      total, ThreadPool::SchedulingParams::Adaptive(nanoseconds_each), work);
}

template <typename T>
class ConcatAffineReluOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;
  using C = typename Wide<T>::Type;
  using B = typename BitsOf<T>::Type;

  void Compute(OpKernelContext* context) override {
    const int count = context->num_inputs() - 2;
    TensorShape shape = context->input(0).shape();
    OP_REQUIRES(context, shape.dims() == 4,
                absl::InvalidArgumentError(
                    absl::StrCat("inputs must have 4 dimensions. Received: ",
                                 shape.DebugString())));
    std::vector<Part<B>> parts;
    int64_t channels = 0;
    for (int i = 0; i < count; ++i) {
      const Tensor& input = context->input(i);
      TensorShape expected = input.shape();
      if (expected.dims() == 4) expected.set_dim(3, shape.dim_size(3));
      OP_REQUIRES(context, expected == shape,
                  absl::InvalidArgumentError(absl::StrCat(
                      "inputs may differ in their channels only. Received: ",
                      shape.DebugString(), " and ",
                      input.shape().DebugString())));
      parts.push_back({Bits(input.flat<T>().data()), input.dim_size(3)});
      channels += input.dim_size(3);
    }
    const Tensor& scale = context->input(count);
    const Tensor& offset = context->input(count + 1);
    OP_REQUIRES_OK(context, CheckShape("scale", scale.shape(), {channels}));
    OP_REQUIRES_OK(context, CheckShape("offset", offset.shape(), {channels}));
    shape.set_dim(3, channels);
    Tensor* outputs;
    if (count == 1) {
      OP_REQUIRES_OK(context, context->forward_input_or_allocate_output(
                                  {0}, 0, shape, &outputs));
    } else {
      OP_REQUIRES_OK(context, context->allocate_output(0, shape, &outputs));
    }
    if (outputs->NumElements() == 0) return;
    const auto& kernels = BestKernels<B>();
    Parallel(context, outputs->NumElements() / channels, channels / 4 + 1,
             [&](int64_t begin, int64_t end) {
               kernels.concat_affine_relu(
                   parts.data(), count, channels, scale.flat<C>().data(),
                   offset.flat<C>().data(), Bits(outputs->flat<T>().data()),
                   begin, end);
             });
  }
};

#define REGISTER(type)                                               \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>ConcatAffineRelu")         \
                              .Device(tensorflow::DEVICE_CPU)        \
                              .TypeConstraint<type>("T")             \
                              .TypeConstraint<Wide<type>::Type>("Tcoord"), \
                          ConcatAffineReluOp<type>)
REGISTER(float);
REGISTER(double);
REGISTER(Eigen::half);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
