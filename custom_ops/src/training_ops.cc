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

// Outputs to_NAME have the shapes of the inputs NAME.
absl::Status SetLikeInputs(InferenceContext* c,
                           const std::vector<const char*>& names) {
  std::vector<ShapeHandle> shapes;
  for (const char* name : names) {
    TF_RETURN_IF_ERROR(c->input(name, &shapes));
    TF_RETURN_IF_ERROR(c->set_output(std::string("to_") + name, shapes));
  }
  return absl::OkStatus();
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
  return SetLikeInputs(c, names);
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

// Shapes of the outputs and of the norm's channels.
absl::Status ConvolutionTrainingShape(InferenceContext* c) {
  ShapeHandle features, kernel, shape;
  bool transposed, norm_first;
  std::vector<ShapeHandle> gammas;
  TF_RETURN_IF_ERROR(c->GetAttr("transposed", &transposed));
  TF_RETURN_IF_ERROR(c->GetAttr("norm_first", &norm_first));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &features));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &kernel));
  TF_RETURN_IF_ERROR(c->input("gammas", &gammas));
  const DimensionHandle filters = c->Dim(kernel, transposed ? 2 : 3);
  TF_RETURN_IF_ERROR(c->ReplaceDim(features, 3, filters, &shape));
  for (int i = 1; transposed && i < 3; ++i) {
    DimensionHandle side;
    TF_RETURN_IF_ERROR(c->Multiply(c->Dim(features, i), 2, &side));
    TF_RETURN_IF_ERROR(c->ReplaceDim(shape, i, side, &shape));
  }
  const bool behind = !gammas.empty() && !norm_first;
  const ShapeHandle moments =
      gammas.empty() ? c->Vector(0)
                     : c->Vector(norm_first ? c->Dim(features, 3) : filters);
  TF_RETURN_IF_ERROR(c->set_output("outputs", {shape}));
  TF_RETURN_IF_ERROR(
      c->set_output("products", {behind ? shape : c->MakeShape({0, 0, 0, 0})}));
  TF_RETURN_IF_ERROR(c->set_output("mean", {moments}));
  return c->set_output("variance", {moments});
}

absl::Status ContextTrainingShape(InferenceContext* c) {
  ShapeHandle features, shape;
  DimensionHandle channels, side;
  std::vector<int64_t> sizes;
  std::vector<ShapeHandle> averages;
  TF_RETURN_IF_ERROR(c->GetAttr("sizes", &sizes));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &features));
  for (const int64_t size : sizes) {
    shape = features;
    for (int i = 1; i < 3; ++i) {
      TF_RETURN_IF_ERROR(c->Add(c->Dim(features, i), size - 1, &side));
      TF_RETURN_IF_ERROR(c->Divide(side, size, false, &side));
      TF_RETURN_IF_ERROR(c->ReplaceDim(shape, i, side, &shape));
    }
    averages.push_back(shape);
  }
  TF_RETURN_IF_ERROR(c->Add(c->Dim(features, 3), sizes.size(), &channels));
  TF_RETURN_IF_ERROR(c->ReplaceDim(features, 3, channels, &shape));
  TF_RETURN_IF_ERROR(c->set_output("outputs", {shape}));
  return c->set_output("averages", averages);
}

absl::Status ContextGradientShape(InferenceContext* c) {
  ShapeHandle gradient;
  DimensionHandle channels;
  std::vector<int64_t> sizes;
  TF_RETURN_IF_ERROR(c->GetAttr("sizes", &sizes));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &gradient));
  TF_RETURN_IF_ERROR(c->Subtract(c->Dim(gradient, 3), sizes.size(), &channels));
  TF_RETURN_IF_ERROR(c->ReplaceDim(gradient, 3, channels, &gradient));
  TF_RETURN_IF_ERROR(c->set_output("to_features", {gradient}));
  return SetLikeInputs(c, {"kernels", "biases"});
}

absl::Status ConvolutionGradientShape(InferenceContext* c) {
  return SetLikeInputs(c, {"features", "kernel", "gammas", "betas"});
}

}  // namespace

REGISTER_OP("KerasRadn>ContextTraining")
    .Input("features: T")
    .Input("kernels: N * float")
    .Input("biases: N * float")
    .Output("outputs: T")
    .Output("averages: N * float")
    .Attr("N: int >= 1")
    .Attr("sizes: list(int)")
    .Attr("T: {bfloat16, float}")
    .SetShapeFn(ContextTrainingShape)
    .Doc(R"doc(
Appends to the channels for each size

    enlarge(conv1x1(average(features, size), kernel) + bias).

features: `[batch, height, width, channels]`.
kernels: `[1, 1, channels, 1]` each.
biases: `[1]` each.
outputs: `[batch, height, width, channels + N]`.
averages: of windows of size times size pixels, the last of which may be
  partial, `[batch, ceil(height / size), ceil(width / size), channels]`.
sizes: sides of the windows, which the maps are enlarged by bilinearly.
)doc");

REGISTER_OP("KerasRadn>ContextGradient")
    .Input("gradient: T")
    .Input("averages: N * float")
    .Input("kernels: N * float")
    .Input("biases: N * float")
    .Output("to_features: T")
    .Output("to_kernels: N * float")
    .Output("to_biases: N * float")
    .Attr("N: int >= 1")
    .Attr("sizes: list(int)")
    .Attr("T: {bfloat16, float}")
    .SetShapeFn(ContextGradientShape)
    .Doc(R"doc(
The gradients of ContextTraining's inputs, from that of its outputs.

gradient: as the outputs.
averages: of that operation; the other inputs are its own.
to_features: as the features; the others are as their names say.
)doc");

REGISTER_OP("KerasRadn>ConvolutionTraining")
    .Input("features: T")
    .Input("kernel: float")
    .Input("gammas: N * float")
    .Input("betas: N * float")
    .Input("means: M * float")
    .Input("variances: M * float")
    .Output("outputs: T")
    .Output("products: T")
    .Output("mean: float")
    .Output("variance: float")
    .Attr("N: int >= 0")
    .Attr("M: int >= 0")
    .Attr("T: {bfloat16, float}")
    .Attr("epsilon: float")
    .Attr("transposed: bool")
    .Attr("norm_first: bool")
    .SetShapeFn(ConvolutionTrainingShape)
    .Doc(R"doc(
A convolution in training: with norm_first

    conv(max(0, norm(features, gamma, beta)), kernel),

otherwise max(0, norm(conv(features, kernel), gamma, beta)), or without a norm
conv(features, kernel). norm is as in DenseBlockTraining.

features: `[batch, height, width, channels]`, not empty if there is a norm.
kernel: `[1, 1, channels, filters]` or `[3, 3, channels, filters]`, of a
  convolution with zeros around the features; if transposed, that of a
  transposed convolution with stride 2, `[4, 4, filters, channels]`.
gammas: one of as many elements as the norm has channels, or none.
betas: as the gammas.
means: none, or what the norm uses in place of the batch's.
variances: as the means.
outputs: `[batch, height, width, filters]`, or of twice the height and width.
products: what a norm behind the convolution reads; otherwise empty.
mean: that the norm uses.
variance: that the norm uses, biased.
)doc");

REGISTER_OP("KerasRadn>ConvolutionGradient")
    .Input("gradient: T")
    .Input("features: T")
    .Input("products: T")
    .Input("mean: float")
    .Input("variance: float")
    .Input("kernel: float")
    .Input("gammas: N * float")
    .Input("betas: N * float")
    .Output("to_features: T")
    .Output("to_kernel: float")
    .Output("to_gammas: N * float")
    .Output("to_betas: N * float")
    .Attr("N: int >= 0")
    .Attr("T: {bfloat16, float}")
    .Attr("epsilon: float")
    .Attr("transposed: bool")
    .Attr("norm_first: bool")
    .Attr("fixed: bool")
    .SetShapeFn(ConvolutionGradientShape)
    .Doc(R"doc(
The gradients of ConvolutionTraining's inputs, from that of its outputs.

gradient: as the outputs.
features: this and the other inputs are those and the outputs of that operation.
to_features: as the features; the others are as their names say.
fixed: whether the mean and the variance are not those of the batch.
)doc");

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
