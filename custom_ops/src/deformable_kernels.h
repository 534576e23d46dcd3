// The OpKernels: they check their inputs, allocate outputs and call Launch of
// the device.

#ifndef KERAS_RADN_DEFORMABLE_KERNELS_H_
#define KERAS_RADN_DEFORMABLE_KERNELS_H_

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sampling.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace keras_radn {

// The kernels' own names of TensorFlow's types.
template <typename T>
struct BitsOf {
  using Type = T;
};
template <>
struct BitsOf<Eigen::half> {
  using Type = Half;
};
template <>
struct BitsOf<Eigen::bfloat16> {
  using Type = Bfloat16;
};

template <typename T>
const auto* Bits(const T* data) {
  return reinterpret_cast<const typename BitsOf<T>::Type*>(data);
}
template <typename T>
auto* Bits(T* data) {
  return reinterpret_cast<typename BitsOf<T>::Type*>(data);
}
template <typename T>
Samples<typename BitsOf<T>::Type> Bits(const Samples<T>& s) {
  return {s.geometry, s.layout, Bits(s.map), s.offset, s.mask};
}

// Specialised by each device. Pointers are to the device's memory and none of
// the tensors is empty, as the output is if the map is; `mask_gradient` may be
// null.
template <typename Device, typename T>
struct Launch {
  using C = typename Wide<T>::Type;

  static void Sum(tensorflow::OpKernelContext* context, const Samples<T>&,
                  T* outputs);
  static void Columns(tensorflow::OpKernelContext* context, const Samples<T>&,
                      T* outputs);
  // Overwrites map_gradient.
  static void SumGradient(tensorflow::OpKernelContext* context,
                          const Samples<T>&, const T* gradient, T* map_gradient,
                          C* offset_gradient, C* mask_gradient);
  // Adds to map_gradient.
  static void ColumnsGradient(tensorflow::OpKernelContext* context,
                              const Samples<T>&, const T* gradient,
                              C* map_gradient, C* offset_gradient,
                              C* mask_gradient);
  // Sets `bytes` of memory to zero.
  static void Zero(tensorflow::OpKernelContext* context, void* memory,
                   int64_t bytes);
  // Copies between tensors of equal size.
  static void Copy(tensorflow::OpKernelContext* context, const void* from,
                   void* to, int64_t bytes);
};

// Reads the attributes that all ops have, and checks shapes.
class GeometryAttributes {
 public:
  absl::Status Read(tensorflow::OpKernelConstruction* context);

  // The geometry for a map of this shape: [batch, height, width, any].
  absl::Status Resolve(const tensorflow::TensorShape& map,
                       Geometry* geometry) const;

  int64_t samples() const {
    return kernel_size_[0] * kernel_size_[1] * offset_groups_;
  }

 private:
  std::vector<int64_t> kernel_size_, strides_, dilations_;
  std::string padding_;
  int64_t offset_groups_;
};

// An error unless `actual` is `expected`.
absl::Status CheckShape(const char* name, const tensorflow::TensorShape& actual,
                        const std::vector<int64_t>& expected);

// Common to the four ops: finds the tensors and checks them.
template <typename T>
class DeformableOp : public tensorflow::OpKernel {
 public:
  using C = typename Wide<T>::Type;

  explicit DeformableOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context));
    OP_REQUIRES_OK(context, context->GetAttr("masks", &masks_));
    OP_REQUIRES(context, masks_ <= 1,
                absl::InvalidArgumentError(absl::StrCat(
                    "There can be one mask. Received: masks=", masks_)));
  }

 protected:
  struct Arguments {
    Geometry geometry;
    Layout layout;
    const tensorflow::Tensor *map, *offset, *mask;
    Samples<T> samples() const {
      return {geometry, layout, map->template flat<T>().data(),
              offset->template flat<C>().data(),
              mask == nullptr ? nullptr : mask->template flat<C>().data()};
    }
    // Shape of the output, or of its gradient.
    std::vector<int64_t> out_shape;
  };

  // `first` is the index of the map among the inputs.
  absl::Status SumArguments(tensorflow::OpKernelContext* context, int first,
                            Arguments* a) const;
  absl::Status ColumnsArguments(tensorflow::OpKernelContext* context, int first,
                                Arguments* a) const;

  GeometryAttributes attributes_;
  int masks_ = 0;

 private:
  absl::Status OffsetArguments(tensorflow::OpKernelContext* context, int first,
                               std::vector<int64_t> positions,
                               Arguments* a) const;
};

template <typename Device, typename T>
class DeformableSumOp : public DeformableOp<T> {
 public:
  using DeformableOp<T>::DeformableOp;

  void Compute(tensorflow::OpKernelContext* context) override {
    typename DeformableOp<T>::Arguments a;
    OP_REQUIRES_OK(context, this->SumArguments(context, 0, &a));
    tensorflow::Tensor* outputs;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0, tensorflow::TensorShape(a.out_shape), &outputs));
    if (outputs->NumElements() == 0) return;
    Launch<Device, T>::Sum(context, a.samples(), outputs->flat<T>().data());
  }
};

template <typename Device, typename T>
class DeformableColumnsOp : public DeformableOp<T> {
 public:
  using DeformableOp<T>::DeformableOp;

  void Compute(tensorflow::OpKernelContext* context) override {
    typename DeformableOp<T>::Arguments a;
    OP_REQUIRES_OK(context, this->ColumnsArguments(context, 0, &a));
    tensorflow::Tensor* columns;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0, tensorflow::TensorShape(a.out_shape), &columns));
    if (columns->NumElements() == 0) return;
    Launch<Device, T>::Columns(context, a.samples(), columns->flat<T>().data());
  }
};

// Gradients of both ops; they differ in what they do with the map's.
template <typename Device, typename T, bool kSum>
class DeformableGradOp : public DeformableOp<T> {
 public:
  using DeformableOp<T>::DeformableOp;
  using C = typename Wide<T>::Type;
  using MapGradient = std::conditional_t<kSum, T, C>;

  void Compute(tensorflow::OpKernelContext* context) override {
    typename DeformableOp<T>::Arguments a;
    OP_REQUIRES_OK(context, kSum ? this->SumArguments(context, 1, &a)
                                 : this->ColumnsArguments(context, 1, &a));
    const tensorflow::Tensor& gradient = context->input(0);
    OP_REQUIRES_OK(context,
                   CheckShape("gradient", gradient.shape(), a.out_shape));
    tensorflow::Tensor *map_gradient, *offset_gradient;
    tensorflow::Tensor* mask_gradient = nullptr;
    if constexpr (kSum) {
      OP_REQUIRES_OK(
          context, context->allocate_output(0, a.map->shape(), &map_gradient));
    } else {
      OP_REQUIRES_OK(context,
                     Accumulator(context, a.map->shape(), &map_gradient));
    }
    OP_REQUIRES_OK(context, context->allocate_output(1, a.offset->shape(),
                                                     &offset_gradient));
    if (a.mask != nullptr) {
      OP_REQUIRES_OK(context, context->allocate_output(2, a.mask->shape(),
                                                       &mask_gradient));
    }
    C* offset_data = offset_gradient->flat<C>().data();
    C* mask_data =
        mask_gradient == nullptr ? nullptr : mask_gradient->flat<C>().data();
    if (gradient.NumElements() == 0) {  // as it is if the map has no elements
      if (kSum) {
        Launch<Device, T>::Zero(context,
                                map_gradient->flat<MapGradient>().data(),
                                map_gradient->TotalBytes());
      }
      Launch<Device, T>::Zero(context, offset_data,
                              offset_gradient->TotalBytes());
      if (mask_gradient != nullptr) {
        Launch<Device, T>::Zero(context, mask_data,
                                mask_gradient->TotalBytes());
      }
      return;
    }
    const auto launch = [&](auto function) {
      function(context, a.samples(), gradient.flat<T>().data(),
               map_gradient->flat<MapGradient>().data(), offset_data,
               mask_data);
    };
    if constexpr (kSum) {
      launch(Launch<Device, T>::SumGradient);
    } else {
      launch(Launch<Device, T>::ColumnsGradient);
    }
  }

 private:
  // What the last input has so far, in its own memory or a copy.
  static absl::Status Accumulator(tensorflow::OpKernelContext* context,
                                  const tensorflow::TensorShape& shape,
                                  tensorflow::Tensor** map_gradient) {
    const int last = context->num_inputs() - 1;
    const tensorflow::Tensor& accumulator = context->input(last);
    if (accumulator.shape() != shape) {
      return absl::InvalidArgumentError(
          absl::StrCat("accumulator must have the shape of the inputs, ",
                       shape.DebugString(),
                       ". Received: ", accumulator.shape().DebugString()));
    }
    TF_RETURN_IF_ERROR(context->forward_input_or_allocate_output(
        {last}, 0, shape, map_gradient));
    if ((*map_gradient)->NumElements() > 0 &&
        !(*map_gradient)->SharesBufferWith(accumulator)) {
      Launch<Device, T>::Copy(context, accumulator.flat<C>().data(),
                              (*map_gradient)->flat<C>().data(),
                              accumulator.TotalBytes());
    }
    return absl::OkStatus();
  }
};

// Registers the four ops of a device for a type. `first_row` is read by the
// host, for it decides what is computed.
#define KERAS_RADN_REGISTER(device_name, device, T)                     \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>DeformableSum")               \
                              .Device(device_name)                      \
                              .TypeConstraint<T>("T")                   \
                              .TypeConstraint<Wide<T>::Type>("Tcoord"), \
                          DeformableSumOp<device, T>);                  \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>DeformableSumGrad")           \
                              .Device(device_name)                      \
                              .TypeConstraint<T>("T")                   \
                              .TypeConstraint<Wide<T>::Type>("Tcoord"), \
                          DeformableGradOp<device, T, true>);           \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>DeformableColumns")           \
                              .Device(device_name)                      \
                              .HostMemory("first_row")                  \
                              .TypeConstraint<T>("T")                   \
                              .TypeConstraint<Wide<T>::Type>("Tcoord"), \
                          DeformableColumnsOp<device, T>);              \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>DeformableColumnsGrad")       \
                              .Device(device_name)                      \
                              .HostMemory("first_row")                  \
                              .TypeConstraint<T>("T")                   \
                              .TypeConstraint<Wide<T>::Type>("Tcoord"), \
                          DeformableGradOp<device, T, false>)

}  // namespace keras_radn

#endif  // KERAS_RADN_DEFORMABLE_KERNELS_H_
