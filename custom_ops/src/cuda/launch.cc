// Starts the CUDA kernels on TensorFlow's stream. Compiled without CUDA's
// headers, which TensorFlow's wheel does not have.

#include <cstdint>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cuda/kernels.h"
#include "deformable_kernels.h"
#include "tensorflow/core/util/determinism.h"
#include "xla/stream_executor/stream.h"

namespace keras_radn {
namespace {

using tensorflow::OpKernelContext;

void* Stream(OpKernelContext* context) {
  return context->op_device_context()
      ->stream()
      ->platform_specific_handle()
      .stream;
}

// False if there was an error.
bool Check(OpKernelContext* context, cuda::Error error) {
  if (error == nullptr) return true;
  context->SetStatus(absl::InternalError(absl::StrCat(
      "The deformable convolution could not be started on the GPU: ", error,
      ". If the GPU or its driver is not one that this build of keras-radn "
      "supports, run `keras-radn build-ops`, or use "
      "implementation=\"gather\".")));
  return false;
}

bool CheckDeterminism(OpKernelContext* context) {
  if (!tensorflow::OpDeterminismRequired()) return true;
  context->SetStatus(absl::UnimplementedError(
      "Determinism is required (tf.config.experimental."
      "enable_op_determinism), but on a GPU the gradient of the compiled "
      "deformable convolution is added up in an order that varies. Use "
      "implementation=\"gather\" instead."));
  return false;
}

}  // namespace

// Eigen::GpuDevice is a name here: op_kernel.h declares it, and only CUDA's
// headers would define it.
template <typename T>
struct Launch<Eigen::GpuDevice, T> {
  static void Sum(OpKernelContext* context, const Samples<T>& samples,
                  T* outputs) {
    Check(context, cuda::Sum(Stream(context), Bits(samples), Bits(outputs)));
  }

  static void Columns(OpKernelContext* context, const Samples<T>& samples,
                      T* outputs) {
    Check(context,
          cuda::Columns(Stream(context), Bits(samples), Bits(outputs)));
  }

  static void SumGradient(OpKernelContext* context, const Samples<T>& samples,
                          const T* gradient, T* map_gradient,
                          float* offset_gradient, float* mask_gradient) {
    if (!CheckDeterminism(context)) return;
    void* const stream = Stream(context);
    const Geometry& g = samples.geometry;
    const int64_t count =
        g.batch * g.height * g.width * samples.layout.map_pixel;
    const int64_t bytes = count * sizeof(float);
    // 16 bits are too narrow for the sums. The memory may be given away when
    // this returns: its next user is behind us on the same stream.
    tensorflow::Tensor workspace;
    float* sums;
    if constexpr (std::is_same_v<T, float>) {
      sums = map_gradient;
    } else {
      OP_REQUIRES_OK(
          context,
          context->allocate_temp(tensorflow::DT_FLOAT,
                                 tensorflow::TensorShape({count}), &workspace));
      sums = workspace.flat<float>().data();
    }
    if (!Check(context, cuda::Zero(stream, sums, bytes)) ||
        !Check(context, cuda::Gradient(stream, Bits(samples), Bits(gradient),
                                       sums, offset_gradient, mask_gradient))) {
      return;
    }
    if constexpr (!std::is_same_v<T, float>) {
      Check(context, cuda::Narrow(stream, sums, Bits(map_gradient), count));
    }
  }

  static void ColumnsGradient(OpKernelContext* context,
                              const Samples<T>& samples, const T* gradient,
                              float* map_gradient, float* offset_gradient,
                              float* mask_gradient) {
    if (!CheckDeterminism(context)) return;
    Check(context,
          cuda::Gradient(Stream(context), Bits(samples), Bits(gradient),
                         map_gradient, offset_gradient, mask_gradient));
  }

  static void Zero(OpKernelContext* context, void* memory, int64_t bytes) {
    Check(context, cuda::Zero(Stream(context), memory, bytes));
  }

  static void Copy(OpKernelContext* context, const void* from, void* to,
                   int64_t bytes) {
    Check(context, cuda::Copy(Stream(context), from, to, bytes));
  }
};

#define REGISTER(T) \
  KERAS_RADN_REGISTER(tensorflow::DEVICE_GPU, Eigen::GpuDevice, T)
REGISTER(float);
REGISTER(Eigen::half);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace keras_radn

// For `keras-radn info`.
extern "C" __attribute__((visibility("default"))) const char*
keras_radn_gpu_targets() {
  return keras_radn::cuda::Targets();
}
