// Convolutions within an OpKernel: packs weights, divides rows among threads.

#ifndef KERAS_RADN_CPU_CONVOLVE_H_
#define KERAS_RADN_CPU_CONVOLVE_H_

#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cpu/convolutions.h"
#include "cpu/parallel.h"
#include "deformable_kernels.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace keras_radn {

inline absl::Status CheckImages(const tensorflow::TensorShape& features) {
  if (features.dims() == 4 && features.dim_size(3) > 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "features must have 4 dimensions and some channels. Received: ",
      features.DebugString()));
}

// The data of tensors to concatenate; the shape is that of the first one,
// `channels` those of all.
template <typename T>
absl::Status ConcatParts(const tensorflow::OpInputList& tensors,
                         std::vector<Part<typename BitsOf<T>::Type>>* parts,
                         tensorflow::TensorShape* shape, int64_t* channels) {
  *shape = tensors[0].shape();
  *channels = 0;
  for (const tensorflow::Tensor& part : tensors) {
    TF_RETURN_IF_ERROR(CheckImages(part.shape()));
    tensorflow::TensorShape expected = part.shape();
    expected.set_dim(3, shape->dim_size(shape->dims() - 1));
    if (expected != *shape) {
      return absl::InvalidArgumentError(absl::StrCat(
          "features may differ in their channels only. Received: ",
          shape->DebugString(), " and ", part.shape().DebugString()));
    }
    parts->push_back({Bits(part.flat<T>().data()), part.dim_size(3)});
    *channels += part.dim_size(3);
  }
  return absl::OkStatus();
}

// A convolution with its packed weights.
template <typename B>
class PackedConvolution {
 public:
  // The kernel is [size, size, channels, filters]; the bias may be null.
  PackedConvolution(const tensorflow::Tensor& kernel,
                    const tensorflow::Tensor* bias, bool relu,
                    const float* scale = nullptr, const float* offset = nullptr)
      : PackedConvolution(
            kernel.flat<float>().data(), kernel.dim_size(0), kernel.dim_size(2),
            kernel.dim_size(3),
            bias == nullptr ? nullptr : bias->flat<float>().data(), relu, scale,
            offset) {}
  PackedConvolution(const float* kernel, int64_t size, int64_t channels,
                    int64_t filters, const float* bias = nullptr,
                    bool relu = false, const float* scale = nullptr,
                    const float* offset = nullptr)
      : weights_(PackedBytes<float>(size, channels, filters)),
        convolution_{size,   channels,        filters, scale,
                     offset, weights_.data(), relu} {
    BestConvolutions<B>().pack(kernel, bias, size, channels, filters,
                               weights_.data());
  }
  PackedConvolution(const PackedConvolution&) = delete;
  PackedConvolution& operator=(const PackedConvolution&) = delete;

  const Convolution<B>& operator*() const { return convolution_; }
  const Convolution<B>* operator->() const { return &convolution_; }

 private:
  std::vector<char> weights_;
  Convolution<B> convolution_;
};

// Calls a function of Convolutions for all rows of the batch.
template <typename B, typename O, typename Function>
void ForRows(tensorflow::OpKernelContext* context, const Convolution<B>* first,
             const Convolution<B>& last, const Pixels<const B>& inputs,
             const Pixels<O>& outputs, int64_t rows, Function function) {
  int64_t products = last.size * last.size * last.channels * last.filters;
  if (first != nullptr) products += first->channels * first->filters;
  // At some 32 products in a nanosecond.
  Parallel(context, rows, inputs.width * (products / 32 + 1),
           [&](int64_t begin, int64_t end) {
             std::vector<char> scratch(ScratchBytes(first, last, inputs.width));
             function(first, last, inputs, outputs, begin, end, scratch.data());
           });
}

template <typename B>
void Convolve(tensorflow::OpKernelContext* context, const Convolution<B>* first,
              const Convolution<B>& last, const Pixels<const B>& inputs,
              const Pixels<B>& outputs, int64_t rows) {
  ForRows(context, first, last, inputs, outputs, rows,
          BestConvolutions<B>().convolve);
}

// Puts the channels of an NHWC tensor into those of a wider map.
template <typename B>
void CopyPixels(tensorflow::OpKernelContext* context, const Part<B>& part,
                const Pixels<B>& to, int64_t rows) {
  const int64_t channels = part.channels;
  Parallel(context, rows, to.width * (channels / 8 + 1),
           [&](int64_t begin, int64_t end) {
             for (int64_t p = begin * to.width; p < end * to.width; ++p) {
               std::memcpy(static_cast<void*>(to.data + p * to.pixel),
                           part.data + p * channels, channels * sizeof(B));
             }
           });
}

}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_CONVOLVE_H_
