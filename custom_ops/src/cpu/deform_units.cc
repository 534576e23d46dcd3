// The OpKernel of the units of a dense deformable module, for inference.

#include "cpu/deform_units.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cpu/convolve.h"
#include "cpu/large_pages.h"
#include "deformable_kernels.h"

namespace keras_radn {
namespace {

using tensorflow::OpInputList;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

template <typename T>
class DeformUnitsOp : public tensorflow::OpKernel {
 public:
  using B = typename BitsOf<T>::Type;

  explicit DeformUnitsOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("max_offset", &max_offset_));
  }

  void Compute(OpKernelContext* context) override {
    Arguments a;
    OP_REQUIRES_OK(context, a.Read(context));
    Tensor* outputs;
    OP_REQUIRES_OK(context, context->allocate_output(0, a.shape, &outputs));
    if (outputs->NumElements() == 0) return;
    UseLargePages(*outputs);
    const int units = a.projections.size();
    Tensor offsets, projected;
    TensorShape shape = a.shape;
    shape.set_dim(3, units * kUnitOffsets);
    OP_REQUIRES_OK(
        context, context->allocate_temp(tensorflow::DT_FLOAT, shape, &offsets));
    shape.set_dim(3, a.widest);
    OP_REQUIRES_OK(context,
                   context->allocate_temp(tensorflow::DataTypeToEnum<T>::value,
                                          shape, &projected));
    UseLargePages(offsets);
    UseLargePages(projected);
    const int64_t height = shape.dim_size(1), width = shape.dim_size(2);
    const int64_t rows = shape.dim_size(0) * height;
    Pixels<B> map{Bits(outputs->flat<T>().data()), height, width,
                  a.shape.dim_size(3)};
    const Pixels<const B> features{map.data, height, width, map.pixel};
    for (const Part<B>& part : a.parts) {
      CopyPixels(context, part, map, rows);
      map.data += part.channels;
    }
    Pixels<float> unit_offsets{offsets.flat<float>().data(), height, width,
                               units * kUnitOffsets};
    Pixels<const B> newest = features;
    for (int i = 0; i < units; ++i) {
      const PackedConvolution<B> offset_convolution(
          a.offset_kernels[i], i == 0 ? &a.offset_bias : nullptr, false);
      ForRows<B>(context, nullptr, *offset_convolution, newest, unit_offsets,
                 rows,
                 i == 0 ? BestConvolutions<B>().convolve_wide
                        : BestConvolutions<B>().add_wide);
      const PackedConvolution<B> projection(a.projections[i], nullptr, false);
      const int64_t depth = projection->filters;
      Sampled sampled{UnitGeometry(shape.dim_size(0), height, width),
                      *projection,
                      features,
                      {Bits(projected.flat<T>().data()), height, width, depth},
                      unit_offsets,
                      max_offset_,
                      a.biases[i].template flat<float>().data(),
                      map};
      sampled.Compute(context);
      newest = {map.data, height, width, map.pixel};
      map.data += depth / kTaps;
      unit_offsets.data += kUnitOffsets;
    }
  }

 private:
  // The inputs, and the shape of the output.
  struct Arguments {
    OpInputList features, offset_kernels, projections, biases;
    Tensor offset_bias;
    std::vector<Part<B>> parts;
    TensorShape shape;
    int64_t widest = 0;  // of the projections

    absl::Status Read(OpKernelContext* context) {
      TF_RETURN_IF_ERROR(context->input_list("features", &features));
      TF_RETURN_IF_ERROR(
          context->input_list("offset_kernels", &offset_kernels));
      TF_RETURN_IF_ERROR(context->input_list("projections", &projections));
      TF_RETURN_IF_ERROR(context->input_list("biases", &biases));
      offset_bias = context->input(features.size() + offset_kernels.size());
      int64_t width;
      TF_RETURN_IF_ERROR(ConcatParts<T>(features, &parts, &shape, &width));
      const int64_t units = projections.size();
      int64_t added = width;
      TF_RETURN_IF_ERROR(CheckShape("offset_bias", offset_bias.shape(),
                                    {units * kUnitOffsets}));
      for (int64_t i = 0; i < units; ++i) {
        const int64_t filters = biases[i].NumElements();
        TF_RETURN_IF_ERROR(CheckShape("bias", biases[i].shape(), {filters}));
        TF_RETURN_IF_ERROR(
            CheckShape("offset_kernel", offset_kernels[i].shape(),
                       {3, 3, added, (units - i) * kUnitOffsets}));
        TF_RETURN_IF_ERROR(CheckShape("projection", projections[i].shape(),
                                      {1, 1, width, kTaps * filters}));
        widest = std::max(widest, kTaps * filters);
        width += filters;
        added = filters;
      }
      shape.set_dim(3, width);
      return absl::OkStatus();
    }
  };

  // The projection of a unit and the sums of its samples: max(0, sum + bias)
  // becomes channels of `outputs`. Rows are sampled soon after they have been
  // projected, while they are in the cache.
  struct Sampled {
    Geometry geometry;
    const Convolution<B>& projection;
    Pixels<const B> features;
    Pixels<B> products;
    Pixels<float> offsets;
    float max_offset;
    const float* bias;
    Pixels<B> outputs;

    void Compute(OpKernelContext* context) const {
      const int64_t rows = geometry.rows;
      const int64_t products_each =
          projection.channels * projection.filters / 32 +
          kTaps * (10 + filters() / 4);
      std::vector<char> late(rows);  // that sample rows of another piece
      const auto* pool = context->device()->tensorflow_cpu_worker_threads();
      const int64_t pieces = std::min<int64_t>(pool->num_threads, rows);
      Parallel(context, pieces, rows / pieces * outputs.width * products_each,
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   Piece(rows * i / pieces, rows * (i + 1) / pieces,
                         late.data());
                 }
               });
      Parallel(context, rows, outputs.width * kTaps * (10 + filters() / 4),
               [&](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; ++row) {
                   if (late[row]) Sum(row);
                 }
               });
    }

    int64_t filters() const { return projection.filters / kTaps; }

    // Projects rows, and sums those that sample no other ones.
    void Piece(int64_t begin, int64_t end, char* late) const {
      constexpr int64_t kStep = 4;
      std::vector<char> scratch(std::max<int64_t>(
          ScratchBytes(geometry),
          ScratchBytes<B>(nullptr, projection, outputs.width)));
      std::vector<Extent> extents(end);
      Layout layout = Layout::Sum(geometry, filters());
      layout.offset_pixel = offsets.pixel;
      int64_t projected = begin;
      for (int64_t row = begin; row < end; ++row) {
        BestKernels<B>().extents(
            {geometry, layout, products.data, offsets.data, nullptr},
            extents.data(), row, row + 1, scratch.data());
        const int64_t image = row / outputs.height * outputs.height;
        const int64_t first = image + extents[row].first;
        const int64_t last =
            image + std::min(extents[row].last, outputs.height - 1);
        while (projected < end && projected <= std::max(last, row)) {
          const int64_t next = std::min(projected + kStep, end);
          BestConvolutions<B>().convolve(nullptr, projection, features,
                                         products, projected, next,
                                         scratch.data());
          projected = next;
        }
        late[row] = first < begin || last >= end;
        if (!late[row]) Sum(row);
      }
    }

    void Sum(int64_t row) const {
      SumRows<B>(geometry, products.data, filters(), offsets, max_offset,
                 outputs, row, row + 1);
      BestConvolutions<B>().bias_relu(bias, filters(), outputs, row, row + 1);
    }
  };

  float max_offset_;
};

#define REGISTER(type)                                        \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>DeformUnits")       \
                              .Device(tensorflow::DEVICE_CPU) \
                              .TypeConstraint<type>("T"),     \
                          DeformUnitsOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
