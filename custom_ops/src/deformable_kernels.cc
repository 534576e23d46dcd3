// What the kernels of all devices share: attributes and shapes.

#include "deformable_kernels.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace keras_radn {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

namespace {

absl::Status ReadPair(tensorflow::OpKernelConstruction* context,
                      const char* name, std::vector<int64_t>* values) {
  TF_RETURN_IF_ERROR(context->GetAttr(name, values));
  if (values->size() != 2 || (*values)[0] < 1 || (*values)[1] < 1 ||
      (*values)[0] > kMaxCoordinate || (*values)[1] > kMaxCoordinate) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, " must be 2 positive integers below 2^29. Received: [",
        absl::StrJoin(*values, ", "), "]"));
  }
  return absl::OkStatus();
}

// Size of the output and zeros before the first pixel, along an axis.
absl::Status ResolveAxis(int64_t size, int64_t kernel, int64_t stride,
                         int64_t dilation, const std::string& padding,
                         int64_t* out, int64_t* pad) {
  const int64_t extent = (kernel - 1) * dilation + 1;
  if (size > kMaxCoordinate || extent > kMaxCoordinate) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Images and dilated kernels must have less than 2^29 rows and columns. "
        "Received: image ",
        size, ", dilated kernel ", extent));
  }
  if (padding == "SAME") {
    *out = (size + stride - 1) / stride;
    *pad = std::max<int64_t>(0, (*out - 1) * stride + extent - size) / 2;
    return absl::OkStatus();
  }
  if (size < extent) {
    return absl::InvalidArgumentError(absl::StrCat(
        "With VALID padding the image must be as large as the dilated kernel. "
        "Received: image ",
        size, ", dilated kernel ", extent));
  }
  *out = (size - extent) / stride + 1;
  *pad = 0;
  return absl::OkStatus();
}

}  // namespace

absl::Status GeometryAttributes::Read(
    tensorflow::OpKernelConstruction* context) {
  TF_RETURN_IF_ERROR(ReadPair(context, "kernel_size", &kernel_size_));
  TF_RETURN_IF_ERROR(ReadPair(context, "strides", &strides_));
  TF_RETURN_IF_ERROR(ReadPair(context, "dilations", &dilations_));
  TF_RETURN_IF_ERROR(context->GetAttr("padding", &padding_));
  TF_RETURN_IF_ERROR(context->GetAttr("offset_groups", &offset_groups_));
  const double samples =
      1.0 * kernel_size_[0] * kernel_size_[1] * offset_groups_;
  if (samples > kMaxCoordinate) {
    return absl::InvalidArgumentError(absl::StrCat(
        "offset_groups * taps must be below 2^29. Received: ", samples));
  }
  return absl::OkStatus();
}

absl::Status GeometryAttributes::Resolve(const TensorShape& map,
                                         Geometry* g) const {
  g->batch = map.dim_size(0);
  g->height = map.dim_size(1);
  g->width = map.dim_size(2);
  g->kernel_height = kernel_size_[0];
  g->kernel_width = kernel_size_[1];
  g->stride_y = strides_[0];
  g->stride_x = strides_[1];
  g->dilation_y = dilations_[0];
  g->dilation_x = dilations_[1];
  g->offset_groups = offset_groups_;
  TF_RETURN_IF_ERROR(ResolveAxis(g->height, g->kernel_height, g->stride_y,
                                 g->dilation_y, padding_, &g->out_height,
                                 &g->pad_top));
  TF_RETURN_IF_ERROR(ResolveAxis(g->width, g->kernel_width, g->stride_x,
                                 g->dilation_x, padding_, &g->out_width,
                                 &g->pad_left));
  g->first_row = 0;
  g->rows = g->batch * g->out_height;
  return absl::OkStatus();
}

absl::Status CheckShape(const char* name, const TensorShape& actual,
                        const std::vector<int64_t>& expected) {
  bool equal = actual.dims() == static_cast<int>(expected.size());
  for (int i = 0; equal && i < actual.dims(); ++i) {
    equal = actual.dim_size(i) == expected[i];
  }
  if (equal) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " must have the shape [", absl::StrJoin(expected, ","),
                   "]. Received: ", actual.DebugString()));
}

template <typename T>
absl::Status DeformableOp<T>::OffsetArguments(OpKernelContext* context,
                                              int first,
                                              std::vector<int64_t> positions,
                                              Arguments* a) const {
  a->offset = &context->input(first + 1);
  a->mask = masks_ == 1 ? &context->input(first + 2) : nullptr;
  std::vector<int64_t> expected = positions;
  expected.push_back(2 * attributes_.samples());
  TF_RETURN_IF_ERROR(CheckShape("offset", a->offset->shape(), expected));
  if (a->mask != nullptr) {
    expected.back() = attributes_.samples();
    TF_RETURN_IF_ERROR(CheckShape("mask", a->mask->shape(), expected));
  }
  a->out_shape = std::move(positions);
  return absl::OkStatus();
}

template <typename T>
absl::Status DeformableOp<T>::SumArguments(OpKernelContext* context, int first,
                                           Arguments* a) const {
  a->map = &context->input(first);
  const TensorShape& shape = a->map->shape();
  if (shape.dims() != 4 || shape.dim_size(3) % attributes_.samples() != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "projection must have the shape [batch, height, width, ",
        attributes_.samples(), " * filters]. Received: ", shape.DebugString()));
  }
  Geometry& g = a->geometry;
  TF_RETURN_IF_ERROR(attributes_.Resolve(shape, &g));
  TF_RETURN_IF_ERROR(
      OffsetArguments(context, first, {g.batch, g.out_height, g.out_width}, a));
  const int64_t filters = shape.dim_size(3) / attributes_.samples();
  a->layout = Layout::Sum(g, filters);
  a->out_shape.push_back(filters);
  return absl::OkStatus();
}

template <typename T>
absl::Status DeformableOp<T>::ColumnsArguments(OpKernelContext* context,
                                               int first, Arguments* a) const {
  a->map = &context->input(first);
  const TensorShape& shape = a->map->shape();
  Geometry& g = a->geometry;
  if (shape.dims() != 4) {
    return absl::InvalidArgumentError(
        absl::StrCat("inputs must have the shape [batch, height, width, "
                     "channels]. Received: ",
                     shape.DebugString()));
  }
  TF_RETURN_IF_ERROR(attributes_.Resolve(shape, &g));
  const int64_t channels = shape.dim_size(3);
  if (channels % g.offset_groups != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "offset_groups must divide the channels of the inputs. Received: "
        "offset_groups=",
        g.offset_groups, ", inputs ", shape.DebugString()));
  }
  const Tensor& offset = context->input(first + 1);
  const Tensor& first_row = context->input(first + 2 + masks_);
  if (offset.dims() != 3 || first_row.dims() != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "offset must have 3 dimensions and first_row none. Received: offset ",
        offset.shape().DebugString(), ", first_row ",
        first_row.shape().DebugString()));
  }
  const int64_t all_rows = g.rows;
  g.first_row = first_row.scalar<int64_t>()();
  g.rows = offset.dim_size(0);
  if (g.first_row < 0 || g.first_row > all_rows - g.rows) {
    return absl::InvalidArgumentError(absl::StrCat(
        "The rows must lie among the ", all_rows,
        " of the output. Received: ", g.rows, " from first_row=", g.first_row));
  }
  TF_RETURN_IF_ERROR(OffsetArguments(context, first, {g.rows, g.out_width}, a));
  a->layout = Layout::Columns(g, channels);
  a->out_shape.push_back(g.taps() * channels);
  return absl::OkStatus();
}

template class DeformableOp<float>;
template class DeformableOp<double>;
template class DeformableOp<Eigen::half>;
template class DeformableOp<Eigen::bfloat16>;

}  // namespace keras_radn
