// The units of a dense block in training.
//
// All units read and write one map of the block's final width. What batch norms
// and ReLUs make of it is computed where a convolution reads it, in both
// directions, and the statistics of a channel are computed once, however many
// units read it.

#ifndef KERAS_RADN_CPU_DENSE_BLOCK_TRAINING_H_
#define KERAS_RADN_CPU_DENSE_BLOCK_TRAINING_H_

#include <cstdint>

#include "absl/status/status.h"
#include "cpu/training.h"
#include "deformable_kernels.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace keras_radn {

// Weights of the units, which both ops have, and the sizes that follow.
struct DenseUnits {
  tensorflow::OpInputList gammas, betas, kernels;
  tensorflow::OpInputList growth_gammas, growth_betas, growth_kernels;
  tensorflow::OpInputList means, variances;  // none, or in order of the norms
  int64_t channels, width;  // before the first unit and after the last

  int count() const { return kernels.size(); }
  bool fixed() const { return means.size() > 0; }

  absl::Status Read(tensorflow::OpKernelContext* context, int64_t features) {
    TF_RETURN_IF_ERROR(context->input_list("gammas", &gammas));
    TF_RETURN_IF_ERROR(context->input_list("betas", &betas));
    TF_RETURN_IF_ERROR(context->input_list("kernels", &kernels));
    TF_RETURN_IF_ERROR(context->input_list("growth_gammas", &growth_gammas));
    TF_RETURN_IF_ERROR(context->input_list("growth_betas", &growth_betas));
    TF_RETURN_IF_ERROR(context->input_list("growth_kernels", &growth_kernels));
    TF_RETURN_IF_ERROR(ReadMoments(context, 2 * count(), &means, &variances));
    channels = width = features;
    for (int i = 0; i < count(); ++i) {
      const int64_t filters = growth_gammas[i].NumElements();
      const tensorflow::TensorShape& growth = growth_kernels[i].shape();
      const int64_t growth_rate = growth.dims() == 4 ? growth.dim_size(3) : 1;
      TF_RETURN_IF_ERROR(CheckNorm(gammas[i], betas[i], 2 * i, width));
      TF_RETURN_IF_ERROR(
          CheckShape("kernel", kernels[i].shape(), {1, 1, width, filters}));
      TF_RETURN_IF_ERROR(
          CheckNorm(growth_gammas[i], growth_betas[i], 2 * i + 1, filters));
      TF_RETURN_IF_ERROR(
          CheckShape("growth_kernel", growth, {3, 3, filters, growth_rate}));
      width += growth_rate;
    }
    return absl::OkStatus();
  }

  // Norms of unit i; mean and variance are those of the batch.
  RectifiedNorm Bottleneck(int i, const float* mean, const float* variance,
                           float epsilon) const {
    return Make(gammas[i], betas[i], 2 * i, mean, variance, epsilon);
  }
  RectifiedNorm Growth(int i, const float* mean, const float* variance,
                       float epsilon) const {
    return Make(growth_gammas[i], growth_betas[i], 2 * i + 1, mean, variance,
                epsilon);
  }

 private:
  absl::Status CheckNorm(const tensorflow::Tensor& gamma,
                         const tensorflow::Tensor& beta, int norm,
                         int64_t expected) const {
    TF_RETURN_IF_ERROR(CheckShape("gamma", gamma.shape(), {expected}));
    TF_RETURN_IF_ERROR(CheckShape("beta", beta.shape(), {expected}));
    if (!fixed()) return absl::OkStatus();
    TF_RETURN_IF_ERROR(CheckShape("mean", means[norm].shape(), {expected}));
    return CheckShape("variance", variances[norm].shape(), {expected});
  }

  RectifiedNorm Make(const tensorflow::Tensor& gamma,
                     const tensorflow::Tensor& beta, int norm,
                     const float* mean, const float* variance,
                     float epsilon) const {
    if (fixed()) mean = Data(means[norm]), variance = Data(variances[norm]);
    return RectifiedNorm(gamma.NumElements(), Data(gamma), Data(beta), mean,
                         variance, epsilon, fixed());
  }
};

}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_DENSE_BLOCK_TRAINING_H_
