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

}  // namespace keras_radn
