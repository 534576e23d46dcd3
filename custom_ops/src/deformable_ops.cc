// The ops, their shapes and their documentation. Kernels are in cpu/ and cuda/.

#include <cstdint>
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

absl::Status SumShape(InferenceContext* c) {
  ShapeHandle map, offset;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &map));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &offset));
  DimensionHandle samples, filters;
  TF_RETURN_IF_ERROR(c->Divide(c->Dim(offset, 3), 2, true, &samples));
  filters = c->UnknownDim();
  if (c->ValueKnown(samples) && c->Value(samples) > 0) {
    TF_RETURN_IF_ERROR(
        c->Divide(c->Dim(map, 3), c->Value(samples), true, &filters));
  }
  DimensionHandle batch;
  TF_RETURN_IF_ERROR(c->Merge(c->Dim(map, 0), c->Dim(offset, 0), &batch));
  c->set_output(
      0, c->MakeShape({batch, c->Dim(offset, 1), c->Dim(offset, 2), filters}));
  return absl::OkStatus();
}

absl::Status ColumnsShape(InferenceContext* c) {
  ShapeHandle inputs, offset, scalar;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &inputs));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 3, &offset));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(c->num_inputs() - 1), 0, &scalar));
  std::vector<int64_t> kernel_size;
  TF_RETURN_IF_ERROR(c->GetAttr("kernel_size", &kernel_size));
  if (kernel_size.size() != 2) {
    return absl::InvalidArgumentError("kernel_size must have 2 elements");
  }
  DimensionHandle depth;
  TF_RETURN_IF_ERROR(
      c->Multiply(c->Dim(inputs, 3), kernel_size[0] * kernel_size[1], &depth));
  c->set_output(0, c->MakeShape({c->Dim(offset, 0), c->Dim(offset, 1), depth}));
  return absl::OkStatus();
}

// Inputs: gradient, map, offset, mask, ...; outputs: as map, offset and mask.
absl::Status GradShape(InferenceContext* c) {
  for (int i = 0; i < c->num_outputs(); ++i) {
    c->set_output(i, c->input(i + 1));
  }
  return absl::OkStatus();
}

}  // namespace

#define GEOMETRY_ATTRS                       \
  Attr("T: {half, bfloat16, float, double}") \
      .Attr("Tcoord: {float, double}")       \
      .Attr("masks: int >= 0")               \
      .Attr("kernel_size: list(int) >= 2")   \
      .Attr("strides: list(int) >= 2")       \
      .Attr("dilations: list(int) >= 2")     \
      .Attr("padding: {'SAME', 'VALID'}")    \
      .Attr("offset_groups: int >= 1")

REGISTER_OP("KerasRadn>DeformableSum")
    .Input("projection: T")
    .Input("offset: Tcoord")
    .Input("mask: masks * Tcoord")
    .Output("outputs: T")
    .GEOMETRY_ATTRS.SetShapeFn(SumShape)
    .Doc(R"doc(
Sum of bilinear samples, one per offset group and kernel tap, each of channels
of its own.

projection: `[batch, height, width, offset_groups * taps * filters]`.
offset: `[batch, out_height, out_width, offset_groups * taps * 2]`, (dy, dx) in
  pixels. A sample whose offset is NaN or infinite is zero.
mask: none, or one of `[batch, out_height, out_width, offset_groups * taps]`.
outputs: `[batch, out_height, out_width, filters]`.
Tcoord: float, or double if T is double.
)doc");

REGISTER_OP("KerasRadn>DeformableSumGrad")
    .Input("gradient: T")
    .Input("projection: T")
    .Input("offset: Tcoord")
    .Input("mask: masks * Tcoord")
    .Output("projection_gradient: T")
    .Output("offset_gradient: Tcoord")
    .Output("mask_gradient: masks * Tcoord")
    .GEOMETRY_ATTRS.SetShapeFn(GradShape);

REGISTER_OP("KerasRadn>DeformableColumns")
    .Input("inputs: T")
    .Input("offset: Tcoord")
    .Input("mask: masks * Tcoord")
    .Input("first_row: int64")
    .Output("columns: T")
    .GEOMETRY_ATTRS.SetShapeFn(ColumnsShape)
    .Doc(R"doc(
Bilinear samples of all channels: what a matrix product turns into a deformable
convolution.

The rows of the output are counted over the whole batch, so that a call can
compute some of them: of `batch * out_height` rows, `rows` from `first_row` on.

inputs: `[batch, height, width, channels]`.
offset: `[rows, out_width, offset_groups * taps * 2]`, (dy, dx) in pixels. A
  sample whose offset is NaN or infinite is zero.
mask: none, or one of `[rows, out_width, offset_groups * taps]`.
first_row: scalar.
columns: `[rows, out_width, taps * channels]`.
Tcoord: float, or double if T is double.
)doc");

REGISTER_OP("KerasRadn>DeformableColumnsGrad")
    .Input("gradient: T")
    .Input("inputs: T")
    .Input("offset: Tcoord")
    .Input("mask: masks * Tcoord")
    .Input("first_row: int64")
    .Input("accumulator: Tcoord")
    .Output("inputs_gradient: Tcoord")
    .Output("offset_gradient: Tcoord")
    .Output("mask_gradient: masks * Tcoord")
    .GEOMETRY_ATTRS.SetShapeFn(GradShape)
    .Doc(R"doc(
accumulator: of the shape of `inputs`; `inputs_gradient` is the sum of it and
  of the gradient of these rows.
)doc");

#undef GEOMETRY_ATTRS

}  // namespace keras_radn
