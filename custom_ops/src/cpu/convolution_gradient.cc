// The OpKernel of the gradient of a convolution in training.

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "cpu/convolution_training.h"
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
class ConvolutionGradientOp : public tensorflow::OpKernel {
 public:
  using B = typename BitsOf<T>::Type;

  explicit ConvolutionGradientOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context));
    OP_REQUIRES_OK(context, context->GetAttr("fixed", &fixed_));
  }

  void Compute(OpKernelContext* context) override {
    Backward backward;
    OP_REQUIRES_OK(context, backward.Read(context, attributes_));
    OP_REQUIRES_OK(context, backward.Allocate(context));
    if (backward.gradient->NumElements() == 0) return backward.Clear();
    const RectifiedNorm norm = backward.conv.MakeNorm(
        *backward.mean, *backward.variance, attributes_.epsilon, fixed_);
    if (backward.conv.behind()) {
      backward.NormBehind(context, norm);
    } else if (backward.conv.before()) {
      backward.NormBefore(context, norm);
    } else {
      backward.Convolve(context, *backward.gradient, backward.to_features,
                        nullptr, nullptr);
    }
  }

 private:
  struct Backward {
    NormedConvolution conv;
    const Tensor *gradient, *features, *products, *mean, *variance;
    Tensor *to_features, *to_kernel, between;
    OpOutputList to_gammas, to_betas;
    TensorShape shape;

    absl::Status Read(OpKernelContext* context,
                      const ConvolutionAttributes& attributes) {
      TF_RETURN_IF_ERROR(context->input("gradient", &gradient));
      TF_RETURN_IF_ERROR(context->input("features", &features));
      TF_RETURN_IF_ERROR(context->input("products", &products));
      TF_RETURN_IF_ERROR(context->input("mean", &mean));
      TF_RETURN_IF_ERROR(context->input("variance", &variance));
      shape = features->shape();
      TF_RETURN_IF_ERROR(conv.Read(context, attributes, shape));
      const auto expected = [](const TensorShape& s) {
        const auto sizes = s.dim_sizes();
        return std::vector<int64_t>(sizes.begin(), sizes.end());
      };
      TF_RETURN_IF_ERROR(
          CheckShape("gradient", gradient->shape(), expected(conv.outputs)));
      if (conv.behind()) {
        TF_RETURN_IF_ERROR(
            CheckShape("products", products->shape(), expected(conv.outputs)));
      }
      TF_RETURN_IF_ERROR(CheckShape("mean", mean->shape(), {conv.width()}));
      return CheckShape("variance", variance->shape(), {conv.width()});
    }

    absl::Status Allocate(OpKernelContext* context) {
      TF_RETURN_IF_ERROR(
          context->allocate_output("to_features", shape, &to_features));
      TF_RETURN_IF_ERROR(context->allocate_output(
          "to_kernel", conv.kernel->shape(), &to_kernel));
      TF_RETURN_IF_ERROR(
          AllocateLike(context, "to_gammas", conv.gammas, &to_gammas));
      TF_RETURN_IF_ERROR(
          AllocateLike(context, "to_betas", conv.betas, &to_betas));
      UseLargePages(*to_features);
      if (!conv.normed()) return absl::OkStatus();
      // The gradient of what is between the convolution and the norm.
      TF_RETURN_IF_ERROR(context->allocate_temp(
          tensorflow::DataTypeToEnum<T>::value,
          conv.norm_first ? shape : conv.outputs, &between));
      UseLargePages(between);
      return absl::OkStatus();
    }

    // Without pixels all gradients are zero.
    void Clear() {
      to_kernel->flat<float>().setZero();
      for (int i = 0; i < conv.gammas.size(); ++i) {
        to_gammas[i]->template flat<float>().setZero();
        to_betas[i]->template flat<float>().setZero();
      }
    }

    Chunks MakeChunks() const {
      return Chunks(shape.dim_size(0) * shape.dim_size(1), shape.dim_size(2));
    }

    void NormBehind(OpKernelContext* context, const RectifiedNorm& norm) {
      const Chunks chunks = MakeChunks();
      const int64_t scale = conv.scale();
      ChannelSums sums(chunks, conv.filters);
      chunks.For(context, scale * scale * conv.filters,
                 [&](int64_t chunk, int64_t begin, int64_t end) {
                   BestConvolutions<B>().rectified_sums(
                       norm.view(), OutputsOf(*products), OutputsOf(*gradient),
                       scale * begin, scale * end, sums.of(chunk));
                 });
      const Centers centers(this, norm, sums, chunks.pixels() * scale * scale);
      chunks.For(context, scale * scale * conv.filters,
                 [&](int64_t, int64_t begin, int64_t end) {
                   BestConvolutions<B>().rectified_gradient(
                       norm.view(), centers.constant.data(),
                       centers.slope.data(), OutputsOf(*products),
                       OutputsOf(*gradient), OutputsOf(&between), scale * begin,
                       scale * end);
                 });
      Convolve(context, between, to_features, nullptr, nullptr);
    }

    void NormBefore(OpKernelContext* context, const RectifiedNorm& norm) {
      const Chunks chunks = MakeChunks();
      ChannelSums sums(chunks, conv.channels);
      Convolve(context, *gradient, &between, &norm, &sums);
      const Centers centers(this, norm, sums, chunks.pixels());
      chunks.For(context, conv.channels,
                 [&](int64_t, int64_t begin, int64_t end) {
                   BestConvolutions<B>().rectified_gradient(
                       norm.view(), centers.constant.data(),
                       centers.slope.data(), InputsOf(*features),
                       InputsOf(between), InputsOf(to_features), begin, end);
                 });
    }

    // What the norm takes off its gradient, and the gradients of its weights.
    struct Centers {
      std::vector<float> constant, slope;

      Centers(Backward* b, const RectifiedNorm& norm, const ChannelSums& sums,
              int64_t pixels)
          : constant(norm.channels()), slope(norm.channels()) {
        norm.Gradients(sums.Total(), pixels, Data(b->to_gammas[0]),
                       Data(b->to_betas[0]), constant.data(), slope.data());
      }
    };

    // The gradients of the kernel and of what the convolution reads, with the
    // sums of the norm before it, if there is one.
    void Convolve(OpKernelContext* context, const Tensor& to_products,
                  Tensor* to_reads, const RectifiedNorm* norm,
                  ChannelSums* sums) {
      const Chunks chunks = MakeChunks();
      const auto& kernels = BestConvolutions<B>();
      const Pixels<const B> inputs = InputsOf(*features);
      const Pixels<const B> to_outputs = OutputsOf(to_products);
      const Pixels<B> to_inputs = InputsOf(to_reads);
      Convolution<B> read{conv.size, conv.channels, conv.filters, nullptr,
                          nullptr,   nullptr,       false};
      if (norm != nullptr) {
        read.scale = norm->scale(), read.offset = norm->offset();
      }
      std::vector<float> turned;
      if (conv.transposed) {
        // The convolution that takes the gradient back has this kernel, too,
        // and exchanges what is read and what is written.
        std::swap(read.channels, read.filters);
      } else {
        turned = Transposed(Data(*conv.kernel), conv.size, conv.channels,
                            conv.filters);
      }
      const PackedConvolution<B> back(
          conv.transposed ? Data(*conv.kernel) : turned.data(), conv.size,
          conv.filters, conv.channels);
      KernelGradient<B> kernel(chunks, read);
      chunks.For(context, 2 * conv.kernel->NumElements(),
                 [&](int64_t chunk, int64_t begin, int64_t end) {
                   if (conv.transposed) {
                     kernel.Add(chunk, to_outputs, inputs, begin, end);
                   } else {
                     kernel.Add(chunk, inputs, to_outputs, begin, end);
                   }
                   const Uninitialized<char> scratch(
                       ScratchBytes<B>(nullptr, *back, to_outputs.width));
                   kernels.convolve(nullptr, *back, to_outputs, to_inputs,
                                    begin, end, scratch.data());
                   if (norm == nullptr) return;
                   kernels.rectified_sums(norm->view(), inputs,
                                          Const(to_inputs), begin, end,
                                          sums->of(chunk));
                 });
      kernel.Finish(Data(to_kernel));
    }

    // Tensors in the shape of the features, and of the outputs.
    template <typename P>
    Pixels<P> Of(P* data, const TensorShape& s) const {
      return {data, s.dim_size(1), s.dim_size(2), s.dim_size(3)};
    }
    Pixels<const B> InputsOf(const Tensor& tensor) const {
      return Of(Bits(tensor.flat<T>().data()), shape);
    }
    Pixels<B> InputsOf(Tensor* tensor) const {
      return Of(Bits(tensor->flat<T>().data()), shape);
    }
    Pixels<const B> OutputsOf(const Tensor& tensor) const {
      return Of(Bits(tensor.flat<T>().data()), conv.outputs);
    }
    Pixels<B> OutputsOf(Tensor* tensor) const {
      return Of(Bits(tensor->flat<T>().data()), conv.outputs);
    }
  };

  ConvolutionAttributes attributes_;
  bool fixed_;
};

#define REGISTER(type)                                          \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>ConvolutionGradient") \
                              .Device(tensorflow::DEVICE_CPU)   \
                              .TypeConstraint<type>("T"),       \
                          ConvolutionGradientOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
