// Ops for inference only, their shapes and their documentation. They have
// kernels for the CPU alone, in cpu/, and no gradients.

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

// Twice as high and wide as the features, with the filters of the bias.
absl::Status FusedDeconvolutionShape(InferenceContext* c) {
  ShapeHandle features, bias;
  DimensionHandle height, width;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &features));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(c->num_inputs() - 1), 1, &bias));
  TF_RETURN_IF_ERROR(c->Multiply(c->Dim(features, 1), 2, &height));
  TF_RETURN_IF_ERROR(c->Multiply(c->Dim(features, 2), 2, &width));
  c->set_output(
      0, c->MakeShape({c->Dim(features, 0), height, width, c->Dim(bias, 0)}));
  return absl::OkStatus();
}

// The features, with the sum of what each kernel of a list adds.
absl::Status DenseBlockShape(InferenceContext* c) {
  ShapeHandle features, kernel;
  std::vector<ShapeHandle> kernels;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &features));
  TF_RETURN_IF_ERROR(c->input("growth_kernels", &kernels));
  DimensionHandle channels = c->Dim(features, 3);
  for (const ShapeHandle& growth : kernels) {
    TF_RETURN_IF_ERROR(c->WithRank(growth, 4, &kernel));
    TF_RETURN_IF_ERROR(c->Add(channels, c->Dim(kernel, 3), &channels));
  }
  TF_RETURN_IF_ERROR(c->ReplaceDim(features, 3, channels, &features));
  c->set_output(0, features);
  return absl::OkStatus();
}

// The concatenated features, with what the units add.
absl::Status DeformUnitsShape(InferenceContext* c) {
  std::vector<ShapeHandle> features, biases;
  TF_RETURN_IF_ERROR(c->input("features", &features));
  TF_RETURN_IF_ERROR(c->input("biases", &biases));
  ShapeHandle shape, vector;
  TF_RETURN_IF_ERROR(c->WithRank(features[0], 4, &shape));
  DimensionHandle channels = c->MakeDim(0);
  for (const ShapeHandle& part : features) {
    TF_RETURN_IF_ERROR(c->WithRank(part, 4, &vector));
    TF_RETURN_IF_ERROR(c->Add(channels, c->Dim(vector, 3), &channels));
  }
  for (const ShapeHandle& bias : biases) {
    TF_RETURN_IF_ERROR(c->WithRank(bias, 1, &vector));
    TF_RETURN_IF_ERROR(c->Add(channels, c->Dim(vector, 0), &channels));
  }
  TF_RETURN_IF_ERROR(c->ReplaceDim(shape, 3, channels, &shape));
  c->set_output(0, shape);
  return absl::OkStatus();
}

absl::Status FusedConvolutionShape(InferenceContext* c) {
  ShapeHandle features, kernel;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &features));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &kernel));
  TF_RETURN_IF_ERROR(c->ReplaceDim(features, 3, c->Dim(kernel, 3), &features));
  c->set_output(0, features);
  return absl::OkStatus();
}

// The output is as the images, which come last.
absl::Status ReconstructShape(InferenceContext* c) {
  ShapeHandle images;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(c->num_inputs() - 1), 4, &images));
  c->set_output(0, images);
  return absl::OkStatus();
}

}  // namespace

REGISTER_OP("KerasRadn>Attention")
    .Input("features: T")
    .Input("queries: T")
    .Input("keys: T")
    .Input("values: T")
    .Output("outputs: T")
    .Attr("window_size: int >= 0 = 0")
    .Attr("pool_size: int >= 1 = 1")
    .Attr("T: {bfloat16, float}")
    .SetShapeFn(tensorflow::shape_inference::UnchangedShape)
    .Doc(R"doc(
Adds to each pixel the mean of the values, weighted by the softmax of the
products of its query with the keys.

With windows the pixels of a block, of half a window's side, look at the keys
of the window around it only, which is moved to the inside at the borders.

features: `[batch, height, width, channels]`.
queries: `[batch, height, width, depth]`.
keys: `[batch, rows, columns, depth]`, of any number of positions.
values: `[batch, rows, columns, channels]`.
outputs: as the features.
window_size: side of the windows in pixels, a multiple of twice the pool_size;
  0 for no windows.
pool_size: pixels from one key to the next.
)doc");

REGISTER_OP("KerasRadn>DenseBlock")
    .Input("features: T")
    .Input("scales: N * float")
    .Input("offsets: N * float")
    .Input("kernels: N * float")
    .Input("biases: N * float")
    .Input("growth_kernels: N * float")
    .Output("outputs: T")
    .Attr("N: int >= 1")
    .Attr("T: {bfloat16, float}")
    .SetShapeFn(DenseBlockShape)
    .Doc(R"doc(
Units of a DenseNet, each of which appends to the channels that it reads:

    x = max(0, channels * scale + offset)
    x = max(0, conv1x1(x, kernel) + bias)
    channels = concat(channels, conv3x3(x, growth_kernel))

features: `[batch, height, width, channels]`.
scales: `[width]` each, the number of channels before the unit.
offsets: as the scales.
kernels: `[1, 1, width, filters]` each.
biases: `[filters]` each.
growth_kernels: `[3, 3, filters, growth_rate]` each.
outputs: the features and behind them what the units add.
)doc");

REGISTER_OP("KerasRadn>DeformUnits")
    .Input("features: P * T")
    .Input("offset_kernels: N * float")
    .Input("offset_bias: float")
    .Input("projections: N * float")
    .Input("biases: N * float")
    .Output("outputs: T")
    .Attr("P: int >= 1")
    .Attr("N: int >= 1")
    .Attr("max_offset: float")
    .Attr("T: {bfloat16, float}")
    .SetShapeFn(DeformUnitsShape)
    .Doc(R"doc(
Units of a dense deformable module: 3x3 deformable convolutions, each of which
appends max(0, result + bias) to the channels that it reads. The offsets come
from a 3x3 convolution of the same channels. It is given as the sum of what
each part of them adds to the offsets of all units that read it.

features: `[batch, height, width, channels]` each; they are concatenated.
offset_kernels: `[3, 3, added, 18 * (N - i)]` of unit i, of the channels that
    were added last before it; the first are all features.
offset_bias: `[18 * N]`.
projections: `[1, 1, width, 9 * filters]` each, the taps of the kernels.
biases: `[filters]` each.
outputs: the features and behind them what the units add.
max_offset: to which the absolute offsets are clipped.
)doc");

REGISTER_OP("KerasRadn>FusedConvolution")
    .Input("features: T")
    .Input("kernel: float")
    .Input("affine: affines * float")
    .Input("bias: biases * float")
    .Output("outputs: T")
    .Attr("affines: int >= 0")
    .Attr("biases: int >= 0")
    .Attr("relu: bool")
    .Attr("T: {bfloat16, float}")
    .SetShapeFn(FusedConvolutionShape)
    .Doc(R"doc(
A convolution with stride 1 and SAME padding, and what stands around it.

features: `[batch, height, width, channels]`.
kernel: `[1, 1, channels, filters]` or `[3, 3, channels, filters]`.
affine: a scale and an offset, each `[channels]`, or none: the convolution is
    that of max(0, features * scale + offset).
bias: `[filters]`, or none.
outputs: `[batch, height, width, filters]`.
relu: whether the outputs are max(0, sums).
)doc");

REGISTER_OP("KerasRadn>FusedDeconvolution")
    .Input("features: N * T")
    .Input("kernel: float")
    .Input("bias: float")
    .Output("outputs: T")
    .Attr("N: int >= 1")
    .Attr("T: {bfloat16, float}")
    .SetShapeFn(FusedDeconvolutionShape)
    .Doc(R"doc(
max(0, transposed 4x4 convolution with stride 2 and SAME padding + bias).

features: `[batch, height, width, channels]` each; they are concatenated.
kernel: `[4, 4, filters, sum of the channels]`.
bias: `[filters]`.
outputs: `[batch, 2 * height, 2 * width, filters]`.
)doc");

REGISTER_OP("KerasRadn>Reconstruct")
    .Input("features: T")
    .Input("context: N * Tcoord")
    .Input("kernel: Tcoord")
    .Input("bias: Tcoord")
    .Input("images: Tcoord")
    .Output("outputs: Tcoord")
    .Attr("N: int >= 1")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Tcoord: {float, double}")
    .Attr("sizes: list(int) >= 1")
    .SetShapeFn(ReconstructShape)
    .Doc(R"doc(
A 3x3 convolution of the features and of maps that are enlarged bilinearly to
their size; what lies in the images is added to them.

features: `[batch, padded_height, padded_width, channels]`.
context: maps `[batch, ceil(padded_height / size), ceil(padded_width / size), 1]`.
kernel: `[3, 3, channels + maps, 3]`.
bias: `[3]`.
images: `[batch, height, width, 3]`, no larger than the features.
outputs: as the images.
sizes: by which the maps are enlarged, even numbers.
Tcoord: float, or double if T is double.
)doc");

}  // namespace keras_radn
