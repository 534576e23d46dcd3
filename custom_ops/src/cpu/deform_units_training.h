// The units of a dense deformable module in training.
//
// All units read and write one map of the module's final width. What a part of
// it adds to the offsets of all later units is one convolution, in both
// directions: those of few filters are slow.

#ifndef KERAS_RADN_CPU_DEFORM_UNITS_TRAINING_H_
#define KERAS_RADN_CPU_DEFORM_UNITS_TRAINING_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cpu/deform_units.h"
#include "cpu/training.h"
#include "deformable_kernels.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace keras_radn {

// Weights of the units, which both ops have, and the sizes that follow. Part p
// of the channels is what unit p - 1 added, part 0 are the features.
struct DeformUnits {
  tensorflow::OpInputList offset_kernels, offset_biases, kernels, gammas, betas;
  tensorflow::OpInputList means, variances;  // none, or one of each unit
  std::vector<int64_t> starts;  // of the parts, and the width behind the last

  int count() const { return kernels.size(); }
  bool fixed() const { return means.size() > 0; }
  int64_t filters(int i) const { return kernels[i].dim_size(3); }
  int64_t channels(int i) const { return starts[i + 1]; }  // that unit i reads
  int64_t added(int part) const { return starts[part + 1] - starts[part]; }
  int64_t width() const { return starts.back(); }
  int64_t offsets() const { return count() * kUnitOffsets; }

  absl::Status Read(tensorflow::OpKernelContext* context, int64_t features) {
    TF_RETURN_IF_ERROR(context->input_list("offset_kernels", &offset_kernels));
    TF_RETURN_IF_ERROR(context->input_list("offset_biases", &offset_biases));
    TF_RETURN_IF_ERROR(context->input_list("kernels", &kernels));
    TF_RETURN_IF_ERROR(context->input_list("gammas", &gammas));
    TF_RETURN_IF_ERROR(context->input_list("betas", &betas));
    TF_RETURN_IF_ERROR(ReadMoments(context, count(), &means, &variances));
    starts = {0, features};
    for (int i = 0; i < count(); ++i) {
      const int64_t width = starts.back();
      const int64_t filters = gammas[i].NumElements();
      TF_RETURN_IF_ERROR(CheckShape("offset_kernel", offset_kernels[i].shape(),
                                    {3, 3, width, kUnitOffsets}));
      TF_RETURN_IF_ERROR(
          CheckShape("offset_bias", offset_biases[i].shape(), {kUnitOffsets}));
      TF_RETURN_IF_ERROR(
          CheckShape("kernel", kernels[i].shape(), {3, 3, width, filters}));
      TF_RETURN_IF_ERROR(CheckShape("gamma", gammas[i].shape(), {filters}));
      TF_RETURN_IF_ERROR(CheckShape("beta", betas[i].shape(), {filters}));
      if (fixed()) {
        TF_RETURN_IF_ERROR(CheckShape("mean", means[i].shape(), {filters}));
        TF_RETURN_IF_ERROR(
            CheckShape("variance", variances[i].shape(), {filters}));
      }
      starts.push_back(width + filters);
    }
    return absl::OkStatus();
  }

  RectifiedNorm MakeNorm(int i, const tensorflow::Tensor& mean,
                         const tensorflow::Tensor& variance,
                         float epsilon) const {
    return RectifiedNorm(filters(i), Data(gammas[i]), Data(betas[i]),
                         Data(fixed() ? means[i] : mean),
                         Data(fixed() ? variances[i] : variance), epsilon,
                         fixed());
  }

  // Calls visit(tap, channel of the part, unit) for each run of offsets in the
  // kernel that part p and the units from p on share,
  // [3, 3, added, 18 * units].
  template <typename Visit>
  void ForOffsets(int part, const Visit& visit) const {
    for (int64_t tap = 0; tap < kTaps; ++tap) {
      for (int64_t c = 0; c < added(part); ++c) {
        for (int i = part; i < count(); ++i) visit(tap, c, i);
      }
    }
  }
  // Where such a run is in the kernel of the unit.
  int64_t OffsetRow(int64_t tap, int part, int64_t channel, int unit) const {
    return (tap * channels(unit) + starts[part] + channel) * kUnitOffsets;
  }
  std::vector<float> OffsetKernel(int part) const {
    std::vector<float> kernel;
    ForOffsets(part, [&](int64_t tap, int64_t c, int i) {
      const float* from = Data(offset_kernels[i]) + OffsetRow(tap, part, c, i);
      kernel.insert(kernel.end(), from, from + kUnitOffsets);
    });
    return kernel;
  }
  std::vector<float> OffsetBias() const {
    std::vector<float> bias;
    for (const tensorflow::Tensor& part : offset_biases) {
      bias.insert(bias.end(), Data(part), Data(part) + kUnitOffsets);
    }
    return bias;
  }

  // A 3x3 kernel as that of a 1x1 convolution, [channels, taps, filters]; see
  // keras_radn/ops/projection.py.
  std::vector<float> Projection(int i) const {
    const int64_t depth = channels(i), count = filters(i);
    std::vector<float> projection(kTaps * depth * count);
    const float* from = Data(kernels[i]);
    for (int64_t tap = 0; tap < kTaps; ++tap) {
      for (int64_t c = 0; c < depth; ++c, from += count) {
        std::copy(from, from + count,
                  projection.data() + (c * kTaps + tap) * count);
      }
    }
    return projection;
  }
};

}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_DEFORM_UNITS_TRAINING_H_
