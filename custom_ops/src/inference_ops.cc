// Ops for inference only, their shapes and their documentation. They have
// kernels for the CPU alone, in cpu/inference.cc, and no gradients.

#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace keras_radn {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status ConcatAffineReluShape(InferenceContext* c) {
  const int count = c->num_inputs() - 2;
  ShapeHandle shape, input, vector;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &shape));
  DimensionHandle channels = c->Dim(shape, 3);
  for (int i = 1; i < count; ++i) {
    TF_RETURN_IF_ERROR(c->WithRank(c->input(i), 4, &input));
    TF_RETURN_IF_ERROR(c->Add(channels, c->Dim(input, 3), &channels));
    TF_RETURN_IF_ERROR(c->ReplaceDim(input, 3, c->Dim(shape, 3), &input));
    TF_RETURN_IF_ERROR(c->Merge(shape, input, &shape));
  }
  for (int i = count; i < count + 2; ++i) {
    TF_RETURN_IF_ERROR(c->WithRank(c->input(i), 1, &vector));
    TF_RETURN_IF_ERROR(c->Merge(channels, c->Dim(vector, 0), &channels));
  }
  TF_RETURN_IF_ERROR(c->ReplaceDim(shape, 3, channels, &shape));
  c->set_output(0, shape);
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

REGISTER_OP("KerasRadn>ConcatAffineRelu")
    .Input("inputs: N * T")
    .Input("scale: Tcoord")
    .Input("offset: Tcoord")
    .Output("outputs: T")
    .Attr("N: int >= 1")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("Tcoord: {float, double}")
    .SetShapeFn(ConcatAffineReluShape)
    .Doc(R"doc(
max(0, concat(inputs) * scale + offset), with scale and offset per channel.

inputs: each `[batch, height, width, channels]`; only the channels differ.
scale: `[sum of the channels]`.
offset: `[sum of the channels]`.
outputs: `[batch, height, width, sum of the channels]`.
Tcoord: float, or double if T is double.
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
