// Ops of a training step, their shapes and their documentation. They have
// kernels for the CPU alone, in cpu/.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace keras_radn {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status DenseBlockTrainingShape(InferenceContext* c) {
  ShapeHandle features, kernel, shape;
  std::vector<ShapeHandle> kernels, bottlenecks, vectors;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &features));
  TF_RETURN_IF_ERROR(c->input("growth_kernels", &kernels));
  DimensionHandle channels = c->Dim(features, 3);
  for (const ShapeHandle& growth : kernels) {
    TF_RETURN_IF_ERROR(c->WithRank(growth, 4, &kernel));
    TF_RETURN_IF_ERROR(c->Add(channels, c->Dim(kernel, 3), &channels));
    TF_RETURN_IF_ERROR(c->ReplaceDim(features, 3, c->Dim(kernel, 2), &shape));
    bottlenecks.push_back(shape);
    vectors.push_back(c->Vector(c->Dim(kernel, 2)));
  }
  TF_RETURN_IF_ERROR(c->ReplaceDim(features, 3, channels, &shape));
  TF_RETURN_IF_ERROR(c->set_output("outputs", {shape}));
  TF_RETURN_IF_ERROR(c->set_output("bottlenecks", bottlenecks));
  TF_RETURN_IF_ERROR(c->set_output("mean", {c->Vector(channels)}));
  TF_RETURN_IF_ERROR(c->set_output("variance", {c->Vector(channels)}));
  TF_RETURN_IF_ERROR(c->set_output("growth_means", vectors));
  return c->set_output("growth_variances", vectors);
}

// Shapes of what a gradient op returns: the features, then the weights.
absl::Status GradientShape(InferenceContext* c,
                           const std::vector<const char*>& names) {
  ShapeHandle outputs, kernel, shape;
  std::vector<ShapeHandle> kernels;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &outputs));
  TF_RETURN_IF_ERROR(c->input("kernels", &kernels));
  TF_RETURN_IF_ERROR(c->WithRank(kernels[0], 4, &kernel));
  TF_RETURN_IF_ERROR(c->ReplaceDim(outputs, 3, c->Dim(kernel, 2), &shape));
  TF_RETURN_IF_ERROR(c->set_output("to_features", {shape}));
  for (const char* name : names) {
    TF_RETURN_IF_ERROR(c->input(name, &kernels));
    TF_RETURN_IF_ERROR(c->set_output(std::string("to_") + name, kernels));
  }
  return absl::OkStatus();
}

absl::Status DenseBlockGradientShape(InferenceContext* c) {
  return GradientShape(c, {"gammas", "betas", "kernels", "growth_gammas",
                           "growth_betas", "growth_kernels"});
}

absl::Status DeformUnitsTrainingShape(InferenceContext* c) {
  ShapeHandle features, kernel, shape;
  DimensionHandle channels, width, taps, offsets;
  std::vector<ShapeHandle> kernels, projected, sums, vectors;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &features));
  TF_RETURN_IF_ERROR(c->input("kernels", &kernels));
  width = c->Dim(features, 3);
  for (const ShapeHandle& one : kernels) {
    TF_RETURN_IF_ERROR(c->WithRank(one, 4, &kernel));
    const DimensionHandle filters = c->Dim(kernel, 3);
    TF_RETURN_IF_ERROR(c->Multiply(filters, 9, &taps));
    TF_RETURN_IF_ERROR(c->ReplaceDim(features, 3, taps, &shape));
    projected.push_back(shape);
    TF_RETURN_IF_ERROR(c->ReplaceDim(features, 3, filters, &shape));
    sums.push_back(shape);
    vectors.push_back(c->Vector(filters));
    TF_RETURN_IF_ERROR(c->Add(width, filters, &width));
  }
  TF_RETURN_IF_ERROR(c->ReplaceDim(features, 3, width, &shape));
  TF_RETURN_IF_ERROR(c->set_output("outputs", {shape}));
  offsets = c->MakeDim(static_cast<int64_t>(18 * kernels.size()));
  TF_RETURN_IF_ERROR(c->ReplaceDim(features, 3, offsets, &shape));
  TF_RETURN_IF_ERROR(c->set_output("offsets", {shape}));
  TF_RETURN_IF_ERROR(c->set_output("projected", projected));
  TF_RETURN_IF_ERROR(c->set_output("sums", sums));
  TF_RETURN_IF_ERROR(c->set_output("batch_means", vectors));
  return c->set_output("batch_variances", vectors);
}

absl::Status DeformUnitsGradientShape(InferenceContext* c) {
  return GradientShape(
      c, {"offset_kernels", "offset_biases", "kernels", "gammas", "betas"});
}

}  // namespace

REGISTER_OP("KerasRadn>DenseBlockTraining")
    .Input("features: T")
    .Input("gammas: N * float")
    .Input("betas: N * float")
    .Input("kernels: N * float")
    .Input("growth_gammas: N * float")
    .Input("growth_betas: N * float")
    .Input("growth_kernels: N * float")
    .Input("means: M * float")
    .Input("variances: M * float")
    .Output("outputs: T")
    .Output("bottlenecks: N * T")
    .Output("mean: float")
    .Output("variance: float")
    .Output("growth_means: N * float")
    .Output("growth_variances: N * float")
    .Attr("N: int >= 1")
    .Attr("M: int >= 0")
    .Attr("T: {bfloat16, float}")
    .Attr("epsilon: float")
    .SetShapeFn(DenseBlockTrainingShape)
    .Doc(R"doc(
Units of a DenseNet in training. Each appends to the channels that it reads:

    x = conv1x1(max(0, norm(channels, gamma, beta)), kernel)
    x = conv3x3(max(0, norm(x, growth_gamma, growth_beta)), growth_kernel)
    channels = concat(channels, x)

norm(x, gamma, beta) is (x - mean) / sqrt(variance + epsilon) * gamma + beta,
with the mean and the biased variance of each channel over the batch, or with
those given.

features: `[batch, height, width, channels]`, not empty.
gammas: `[width]` each, the number of channels before the unit.
betas: as the gammas.
kernels: `[1, 1, width, filters]` each.
growth_gammas: `[filters]` each.
growth_betas: `[filters]` each.
growth_kernels: `[3, 3, filters, growth_rate]` each.
means: none, or of each norm: the first and the second of each unit.
variances: as the means.
outputs: the features and behind them what the units add.
bottlenecks: what the 1x1 convolutions give, `[batch, height, width, filters]`.
mean: of each channel of the outputs over the batch.
variance: of each channel of the outputs, biased.
growth_means: `[filters]` each, of the bottlenecks.
growth_variances: `[filters]` each, of the bottlenecks, biased.
)doc");

REGISTER_OP("KerasRadn>DenseBlockGradient")
    .Input("gradient: T")
    .Input("outputs: T")
    .Input("bottlenecks: N * T")
    .Input("mean: float")
    .Input("variance: float")
    .Input("growth_means: N * float")
    .Input("growth_variances: N * float")
    .Input("gammas: N * float")
    .Input("betas: N * float")
    .Input("kernels: N * float")
    .Input("growth_gammas: N * float")
    .Input("growth_betas: N * float")
    .Input("growth_kernels: N * float")
    .Input("means: M * float")
    .Input("variances: M * float")
    .Output("to_features: T")
    .Output("to_gammas: N * float")
    .Output("to_betas: N * float")
    .Output("to_kernels: N * float")
    .Output("to_growth_gammas: N * float")
    .Output("to_growth_betas: N * float")
    .Output("to_growth_kernels: N * float")
    .Attr("N: int >= 1")
    .Attr("M: int >= 0")
    .Attr("T: {bfloat16, float}")
    .Attr("epsilon: float")
    .SetShapeFn(DenseBlockGradientShape)
    .Doc(R"doc(
The gradients of DenseBlockTraining's inputs, from that of its outputs.

gradient: as the outputs.
outputs: this and all other inputs are those and the outputs of that operation.
to_features: as the features.
to_gammas: as the gammas; the others are as their names say.
)doc");

REGISTER_OP("KerasRadn>DeformUnitsTraining")
    .Input("features: T")
    .Input("offset_kernels: N * float")
    .Input("offset_biases: N * float")
    .Input("kernels: N * float")
    .Input("gammas: N * float")
    .Input("betas: N * float")
    .Input("means: M * float")
    .Input("variances: M * float")
    .Output("outputs: T")
    .Output("offsets: float")
    .Output("projected: N * T")
    .Output("sums: N * T")
    .Output("batch_means: N * float")
    .Output("batch_variances: N * float")
    .Attr("N: int >= 1")
    .Attr("M: int >= 0")
    .Attr("T: {bfloat16, float}")
    .Attr("epsilon: float")
    .Attr("max_offset: float")
    .SetShapeFn(DeformUnitsTrainingShape)
    .Doc(R"doc(
Units of a dense deformable module in training. Each appends to what it reads:

    offset = clip(conv3x3(channels, offset_kernel) + offset_bias)
    x = deformable_conv3x3(channels, kernel, offset)
    channels = concat(channels, max(0, norm(x, gamma, beta)))

norm is as in DenseBlockTraining.

features: `[batch, height, width, channels]`, not empty.
offset_kernels: `[3, 3, width, 18]` each, the channels before the unit.
offset_biases: `[18]` each.
kernels: `[3, 3, width, filters]` each.
gammas: `[filters]` each.
betas: `[filters]` each.
means: none, or of the norm of each unit.
variances: as the means.
outputs: the features and behind them what the units add.
offsets: `[batch, height, width, 18 * N]`, clipped.
projected: products with the taps, `[batch, height, width, 9 * filters]`.
sums: what the norms read, `[batch, height, width, filters]`.
batch_means: `[filters]` each, of the sums.
batch_variances: `[filters]` each, of the sums, biased.
max_offset: to which the absolute offsets are clipped.
)doc");

REGISTER_OP("KerasRadn>DeformUnitsGradient")
    .Input("gradient: T")
    .Input("outputs: T")
    .Input("offsets: float")
    .Input("projected: N * T")
    .Input("sums: N * T")
    .Input("batch_means: N * float")
    .Input("batch_variances: N * float")
    .Input("offset_kernels: N * float")
    .Input("offset_biases: N * float")
    .Input("kernels: N * float")
    .Input("gammas: N * float")
    .Input("betas: N * float")
    .Input("means: M * float")
    .Input("variances: M * float")
    .Output("to_features: T")
    .Output("to_offset_kernels: N * float")
    .Output("to_offset_biases: N * float")
    .Output("to_kernels: N * float")
    .Output("to_gammas: N * float")
    .Output("to_betas: N * float")
    .Attr("N: int >= 1")
    .Attr("M: int >= 0")
    .Attr("T: {bfloat16, float}")
    .Attr("epsilon: float")
    .Attr("max_offset: float")
    .SetShapeFn(DeformUnitsGradientShape)
    .Doc(R"doc(
The gradients of DeformUnitsTraining's inputs, from that of its outputs.

gradient: as the outputs.
outputs: this and all other inputs are those and the outputs of that operation.
to_features: as the features.
to_offset_kernels: as the offset kernels; the others are as their names say.
)doc");

}  // namespace keras_radn
