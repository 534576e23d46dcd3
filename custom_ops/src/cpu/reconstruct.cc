// The OpKernel of the network's end, for inference.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cpu/kernels.h"
#include "cpu/large_pages.h"
#include "cpu/parallel.h"
#include "deformable_kernels.h"

namespace keras_radn {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class ReconstructOp : public tensorflow::OpKernel {
 public:
  using C = typename Wide<T>::Type;
  using B = typename BitsOf<T>::Type;

  explicit ReconstructOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("sizes", &sizes_));
    for (const int64_t size : sizes_) {
      OP_REQUIRES(context, size > 0 && size % 2 == 0 && size < kMaxCoordinate,
                  absl::InvalidArgumentError(absl::StrCat(
                      "sizes must be even and positive. Received: ", size)));
    }
  }

  void Compute(OpKernelContext* context) override {
    const int count = context->num_inputs() - 4;
    OP_REQUIRES(context, count == static_cast<int>(sizes_.size()),
                absl::InvalidArgumentError(
                    absl::StrCat("There must be a size for each of the ", count,
                                 " maps. Received: ", sizes_.size())));
    const Tensor& features = context->input(0);
    const Tensor& kernel = context->input(count + 1);
    const Tensor& bias = context->input(count + 2);
    const Tensor& images = context->input(count + 3);
    OP_REQUIRES(context, features.dims() == 4 && images.dims() == 4,
                absl::InvalidArgumentError(absl::StrCat(
                    "features and images must have 4 dimensions. Received: ",
                    features.shape().DebugString(), " and ",
                    images.shape().DebugString())));
    Reconstruction<B> r;
    const int64_t batch = features.dim_size(0);
    r.height = features.dim_size(1), r.width = features.dim_size(2);
    r.channels = features.dim_size(3);
    r.out_height = images.dim_size(1), r.out_width = images.dim_size(2);
    OP_REQUIRES_OK(context,
                   CheckShape("images", images.shape(),
                              {batch, std::min(r.height, r.out_height),
                               std::min(r.width, r.out_width), kColors}));
    OP_REQUIRES_OK(context, CheckShape("kernel", kernel.shape(),
                                       {3, 3, r.channels + count, kColors}));
    OP_REQUIRES_OK(context, CheckShape("bias", bias.shape(), {kColors}));
    std::vector<ContextMap<C>> maps;
    for (int i = 0; i < count; ++i) {
      const Tensor& map = context->input(i + 1);
      const int64_t size = sizes_[i];
      const int64_t height = (r.height + size - 1) / size;
      const int64_t width = (r.width + size - 1) / size;
      OP_REQUIRES_OK(context, CheckShape("context", map.shape(),
                                         {batch, height, width, 1}));
      maps.push_back({map.flat<C>().data(), height, width, size});
    }
    Tensor* outputs;
    OP_REQUIRES_OK(context, context->forward_input_or_allocate_output(
                                {count + 3}, 0, images.shape(), &outputs));
    if (outputs->NumElements() == 0) return;
    UseLargePages(*outputs);

    std::vector<C> weights(9 * kColors * r.channels);
    std::vector<C> map_weights(9 * kColors * count);
    Reorder(kernel, r.channels, count, weights.data(), map_weights.data());
    r.features = Bits(features.flat<T>().data());
    r.map = maps.data(), r.maps = count;
    r.weights = weights.data(), r.map_weights = map_weights.data();
    r.bias = bias.flat<C>().data(), r.images = images.flat<C>().data();
    r.outputs = outputs->flat<C>().data();
    const auto& kernels = BestKernels<B>();
    Parallel(context, batch * r.out_height, r.out_width * (r.channels + 16),
             [&](int64_t begin, int64_t end) {
               std::vector<char> scratch(r.scratch_bytes());
               kernels.reconstruct(r, begin, end, scratch.data());
             });
  }

 private:
  // Puts the channels of the features and of the maps in the orders in which
  // they are read.
  static void Reorder(const Tensor& kernel, int64_t channels, int64_t count,
                      C* weights, C* map_weights) {
    const auto from = kernel.tensor<C, 4>();
    for (int64_t tap = 0; tap < 9; ++tap) {
      const int64_t dy = tap / 3, dx = tap % 3;
      for (int k = 0; k < kColors; ++k) {
        for (int64_t c = 0; c < channels; ++c) {
          weights[(tap * kColors + k) * channels + c] = from(dy, dx, c, k);
        }
        for (int64_t i = 0; i < count; ++i) {
          map_weights[((dy * count + i) * 3 + dx) * kColors + k] =
              from(dy, dx, channels + i, k);
        }
      }
    }
  }

  std::vector<int64_t> sizes_;
};

#define REGISTER(type)                                                     \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>Reconstruct")                    \
                              .Device(tensorflow::DEVICE_CPU)              \
                              .TypeConstraint<type>("T")                   \
                              .TypeConstraint<Wide<type>::Type>("Tcoord"), \
                          ReconstructOp<type>)
REGISTER(float);
REGISTER(double);
REGISTER(Eigen::half);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
