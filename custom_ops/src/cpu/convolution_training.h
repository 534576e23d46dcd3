// A convolution in training, with a batch norm and a ReLU before or behind it.

#ifndef KERAS_RADN_CPU_CONVOLUTION_TRAINING_H_
#define KERAS_RADN_CPU_CONVOLUTION_TRAINING_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cpu/convolve.h"
#include "cpu/training.h"
#include "deformable_kernels.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace keras_radn {

// The attributes that both ops have.
struct ConvolutionAttributes {
  float epsilon;
  bool transposed, norm_first;

  absl::Status Read(tensorflow::OpKernelConstruction* context) {
    TF_RETURN_IF_ERROR(context->GetAttr("epsilon", &epsilon));
    TF_RETURN_IF_ERROR(context->GetAttr("transposed", &transposed));
    TF_RETURN_IF_ERROR(context->GetAttr("norm_first", &norm_first));
    if (!transposed || !norm_first) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "The norm of a transposed convolution is behind it.");
  }
};

// Weights, which both ops have, and the sizes that follow.
struct NormedConvolution {
  const tensorflow::Tensor* kernel;
  tensorflow::OpInputList gammas, betas;  // none, or one
  bool transposed, norm_first;
  int64_t size, channels, filters;
  tensorflow::TensorShape outputs;

  bool normed() const { return gammas.size() > 0; }
  bool before() const { return normed() && norm_first; }
  bool behind() const { return normed() && !norm_first; }
  // Channels of the norm.
  int64_t width() const {
    return !normed() ? 0 : norm_first ? channels : filters;
  }
  // Rows of the outputs for one of the features.
  int64_t scale() const { return transposed ? 2 : 1; }

  absl::Status Read(tensorflow::OpKernelContext* context,
                    const ConvolutionAttributes& attributes,
                    const tensorflow::TensorShape& features) {
    TF_RETURN_IF_ERROR(CheckImages(features));
    TF_RETURN_IF_ERROR(context->input("kernel", &kernel));
    TF_RETURN_IF_ERROR(context->input_list("gammas", &gammas));
    TF_RETURN_IF_ERROR(context->input_list("betas", &betas));
    transposed = attributes.transposed, norm_first = attributes.norm_first;
    channels = features.dim_size(3);
    const tensorflow::TensorShape& shape = kernel->shape();
    const bool is_kernel = shape.dims() == 4;
    if (transposed) {
      size = 4, filters = is_kernel ? shape.dim_size(2) : 1;
      TF_RETURN_IF_ERROR(
          CheckShape("kernel", shape, {4, 4, filters, channels}));
    } else {
      size = is_kernel && shape.dim_size(0) == 1 ? 1 : 3;
      filters = is_kernel ? shape.dim_size(3) : 1;
      TF_RETURN_IF_ERROR(
          CheckShape("kernel", shape, {size, size, channels, filters}));
    }
    outputs = features;
    outputs.set_dim(1, scale() * features.dim_size(1));
    outputs.set_dim(2, scale() * features.dim_size(2));
    outputs.set_dim(3, filters);
    if (gammas.size() > 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("There is one norm or none. Received: ", gammas.size()));
    }
    if (!normed()) return absl::OkStatus();
    TF_RETURN_IF_ERROR(CheckShape("gamma", gammas[0].shape(), {width()}));
    return CheckShape("beta", betas[0].shape(), {width()});
  }

  // The norm, if there is one.
  RectifiedNorm MakeNorm(const tensorflow::Tensor& mean,
                         const tensorflow::Tensor& variance, float epsilon,
                         bool fixed) const {
    return RectifiedNorm(width(), normed() ? Data(gammas[0]) : nullptr,
                         normed() ? Data(betas[0]) : nullptr, Data(mean),
                         Data(variance), epsilon, fixed);
  }
};

}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_CONVOLUTION_TRAINING_H_
