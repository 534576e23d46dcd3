// The OpKernel of the self-attention, for inference.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cpu/convolve.h"
#include "cpu/large_pages.h"
#include "deformable_kernels.h"

namespace keras_radn {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class AttentionOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;
  using B = typename BitsOf<T>::Type;

  void Compute(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    const Tensor& queries = context->input(1);
    const Tensor& keys = context->input(2);
    const Tensor& values = context->input(3);
    const TensorShape& shape = features.shape();
    OP_REQUIRES_OK(context, CheckImages(shape));
    OP_REQUIRES_OK(context, CheckImages(keys.shape()));
    const int64_t batch = shape.dim_size(0), channels = shape.dim_size(3);
    const int64_t depth = keys.dim_size(3);
    OP_REQUIRES_OK(context, CheckShape("queries", queries.shape(),
                                       {batch, shape.dim_size(1),
                                        shape.dim_size(2), depth}));
    OP_REQUIRES_OK(context, CheckShape("keys", keys.shape(),
                                       {batch, keys.dim_size(1),
                                        keys.dim_size(2), depth}));
    OP_REQUIRES_OK(context, CheckShape("values", values.shape(),
                                       {batch, keys.dim_size(1),
                                        keys.dim_size(2), channels}));
    Tensor* outputs;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &outputs));
    if (outputs->NumElements() == 0) return;
    UseLargePages(*outputs);
    Attention<B> a{};
    a.positions = keys.dim_size(1) * keys.dim_size(2);
    a.depth = depth, a.channels = channels;
    OP_REQUIRES(context, a.positions > 0,
                absl::InvalidArgumentError(
                    absl::StrCat("keys must have some pixels. Received: ",
                                 keys.shape().DebugString())));
    std::vector<char> packed(PackedBytes(a));
    a.packed = packed.data();
    const auto& kernels = BestConvolutions<B>();
    const int64_t pixels = shape.dim_size(1) * shape.dim_size(2);
    for (int64_t image = 0; image < batch; ++image) {
      const auto data = [image, batch](const Tensor& tensor) {
        return Bits(tensor.flat<T>().data()) +
               image * (tensor.NumElements() / batch);
      };
      kernels.pack_attention(data(keys), data(values), a.positions, depth,
                             channels, packed.data());
      a.queries = data(queries), a.features = data(features);
      a.outputs = Bits(outputs->flat<T>().data()) + image * pixels * channels;
      const int64_t tiles = (pixels + kAttentionTile - 1) / kAttentionTile;
      Parallel(context, tiles,
               kAttentionTile * a.positions * (depth + channels) / 32 + 1,
               [&](int64_t begin, int64_t end) {
                 std::vector<char> scratch(ScratchBytes(a));
                 kernels.attend(a, begin * kAttentionTile,
                                std::min(pixels, end * kAttentionTile),
                                scratch.data());
               });
    }
  }
};

#define REGISTER(type)                                        \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>Attention")         \
                              .Device(tensorflow::DEVICE_CPU) \
                              .TypeConstraint<type>("T"),     \
                          AttentionOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
