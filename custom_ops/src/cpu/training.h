// What the ops of a training step share: rows in fixed chunks, batch norms, and
// the gradients of convolutions.

#ifndef KERAS_RADN_CPU_TRAINING_H_
#define KERAS_RADN_CPU_TRAINING_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cpu/convolve.h"
#include "cpu/parallel.h"
#include "deformable_kernels.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace keras_radn {

inline float ToFloat(float value) { return value; }
inline float ToFloat(Bfloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

template <typename B>
B FromFloat(float value);
template <>
inline float FromFloat<float>(float value) {
  return value;
}
// To nearest, ties to even; NaN stays.
template <>
inline Bfloat16 FromFloat<Bfloat16>(float value) {
  return {
      Eigen::numext::bit_cast<uint16_t>(static_cast<Eigen::bfloat16>(value))};
}

inline const float* Data(const tensorflow::Tensor& tensor) {
  return tensor.flat<float>().data();
}
inline float* Data(tensorflow::Tensor* tensor) {
  return tensor->flat<float>().data();
}

// Memory that nobody has written to.
template <typename P>
class Uninitialized {
 public:
  explicit Uninitialized(int64_t count) : data_(new P[count]) {}
  P* data() const { return data_.get(); }

 private:
  std::unique_ptr<P[]> data_;
};

// Rows of a batch in parts that do not depend on the number of threads: a sum
// over all rows, made of those of the parts in their order, has the same bits
// with any number.
class Chunks {
 public:
  Chunks(int64_t rows, int64_t width) : rows_(rows), width_(width) {
    constexpr int64_t kPixels = 512, kMost = 16;
    const int64_t wanted =
        std::min(kMost, std::max<int64_t>(1, rows * width / kPixels));
    step_ = (rows + wanted - 1) / wanted;
    count_ = (rows + step_ - 1) / step_;
  }

  int64_t count() const { return count_; }
  int64_t pixels() const { return rows_ * width_; }
  // Pixels of a chunk, at most.
  int64_t size() const { return step_ * width_; }

  // Calls work(chunk, first row, last row); `products` are those of a pixel.
  template <typename Work>
  void For(tensorflow::OpKernelContext* context, int64_t products,
           const Work& work) const {
    Parallel(context, count_, size() * (products / 16 + 1),
             [&](int64_t begin, int64_t end) {
               for (int64_t i = begin; i < end; ++i) {
                 work(i, i * step_, std::min(rows_, (i + 1) * step_));
               }
             });
  }

 private:
  const int64_t rows_, width_;
  int64_t step_, count_;
};

// Two sums for each channel, of each chunk.
class ChannelSums {
 public:
  ChannelSums(const Chunks& chunks, int64_t channels)
      : channels_(channels), sums_(chunks.count() * 2 * channels) {}

  double* of(int64_t chunk) { return sums_.data() + chunk * 2 * channels_; }

  // The sums of all chunks.
  std::vector<double> Total() const {
    std::vector<double> total(2 * channels_);
    for (size_t i = 0; i < sums_.size(); ++i) {
      total[i % total.size()] += sums_[i];
    }
    return total;
  }

 private:
  const int64_t channels_;
  std::vector<double> sums_;
};

// Mean and biased variance of channels.
template <typename B>
class Statistics {
 public:
  Statistics(const Chunks& chunks, int64_t channels)
      : channels_(channels),
        counts_(chunks.count()),
        shifts_(chunks.count() * channels),
        sums_(chunks, channels) {}

  void Add(int64_t chunk, const Pixels<const B>& x, int64_t begin,
           int64_t end) {
    // Squares of differences from some pixel: those of the values themselves
    // would lose a variance that is small beside the mean.
    float* shift = shifts_.data() + chunk * channels_;
    const B* first = x.data + begin * x.width * x.pixel;
    for (int64_t c = 0; c < channels_; ++c) shift[c] = ToFloat(first[c]);
    counts_[chunk] = (end - begin) * x.width;
    BestConvolutions<B>().moments(channels_, shift, x, begin, end,
                                  sums_.of(chunk));
  }

  void Finish(float* mean, float* variance) {
    for (int64_t c = 0; c < channels_; ++c) {
      double count = 0, average = 0, squares = 0;
      for (size_t i = 0; i < counts_.size(); ++i) {
        const double n = counts_[i], sum = sums_.of(i)[c];
        const double difference =
            shifts_[i * channels_ + c] + sum / n - average;
        squares += sums_.of(i)[channels_ + c] - sum * sum / n +
                   difference * difference * count * n / (count + n);
        average += difference * n / (count + n);
        count += n;
      }
      mean[c] = average;
      variance[c] = std::max(0.0, squares / count);
    }
  }

 private:
  const int64_t channels_;
  std::vector<int64_t> counts_;
  std::vector<float> shifts_;
  ChannelSums sums_;
};

// A batch norm that is followed by a ReLU.
class RectifiedNorm {
 public:
  // `fixed` says that mean and variance do not depend on the batch.
  RectifiedNorm(int64_t channels, const float* gamma, const float* beta,
                const float* mean, const float* variance, float epsilon,
                bool fixed)
      : fixed_(fixed), mean_(mean, mean + channels) {
    for (int64_t c = 0; c < channels; ++c) {
      inverse_.push_back(1 / std::sqrt(variance[c] + epsilon));
      scale_.push_back(gamma[c] * inverse_[c]);
      offset_.push_back(beta[c] - mean[c] * scale_[c]);
    }
  }

  int64_t channels() const { return scale_.size(); }
  const float* scale() const { return scale_.data(); }
  const float* offset() const { return offset_.data(); }
  Norm view() const { return {channels(), scale(), offset(), mean_.data()}; }

  // From the sums that Kernels::rectify_gradient makes. The gradient of the
  // norm's inputs is scale * gradient - constant - slope * (x - mean); both are
  // added.
  void Gradients(const std::vector<double>& sums, double pixels,
                 float* to_gamma, float* to_beta, float* constant,
                 float* slope) const {
    for (int64_t c = 0; c < channels(); ++c) {
      const double sum = sums[c], products = sums[channels() + c];
      to_gamma[c] = inverse_[c] * products;
      to_beta[c] = sum;
      if (fixed_) continue;
      constant[c] += scale_[c] * sum / pixels;
      slope[c] += scale_[c] * inverse_[c] * inverse_[c] * products / pixels;
    }
  }

 private:
  const bool fixed_;
  std::vector<float> mean_, inverse_, scale_, offset_;
};

// The gradient of a kernel, [size, size, channels, filters], of each chunk.
template <typename B>
class KernelGradient {
 public:
  KernelGradient(const Chunks& chunks, const Convolution<B>& convolution)
      : convolution_(convolution),
        rows_(convolution.size * convolution.size * convolution.channels),
        padded_(PaddedFilters(convolution.filters)),
        chunks_(chunks.count()),
        sums_(chunks_ * rows_ * padded_) {}

  // Adds the part of these rows of the inputs and of the outputs' gradient.
  void Add(int64_t chunk, const Pixels<const B>& inputs,
           const Pixels<const B>& gradients, int64_t begin, int64_t end) {
    const Uninitialized<char> scratch(
        GradientScratchBytes(convolution_, gradients.width));
    BestConvolutions<B>().filter_gradient(
        convolution_, inputs, gradients, begin, end,
        sums_.data() + chunk * rows_ * padded_, scratch.data());
  }

  void Finish(float* kernel) const {
    const int64_t filters = convolution_.filters;
    for (int64_t row = 0; row < rows_; ++row, kernel += filters) {
      std::fill(kernel, kernel + filters, 0.0f);
      for (int64_t i = 0; i < chunks_; ++i) {
        const float* part = sums_.data() + (i * rows_ + row) * padded_;
        for (int64_t f = 0; f < filters; ++f) kernel[f] += part[f];
      }
    }
  }

 private:
  const Convolution<B> convolution_;
  const int64_t rows_, padded_, chunks_;
  std::vector<float> sums_;
};

// The kernel of the convolution that takes the gradient of a convolution's
// outputs to that of its inputs.
inline std::vector<float> Transposed(const float* kernel, int64_t size,
                                     int64_t channels, int64_t filters) {
  const int64_t taps = size * size;
  std::vector<float> transposed(taps * channels * filters);
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t f = 0; f < filters; ++f) {
        transposed[((taps - 1 - tap) * filters + f) * channels + c] =
            kernel[(tap * channels + c) * filters + f];
      }
    }
  }
  return transposed;
}

template <typename T>
Pixels<const T> Const(const Pixels<T>& pixels) {
  return {pixels.data, pixels.height, pixels.width, pixels.pixel};
}

// The same pixels, from row `begin` on, for what looks at no other row.
template <typename T>
Pixels<T> From(const Pixels<T>& pixels, int64_t begin) {
  return {pixels.data + begin * pixels.width * pixels.pixel, pixels.height,
          pixels.width, pixels.pixel};
}

// The gradients of a convolution that reads its inputs as they are: adds that
// of the inputs to `to_inputs` and returns that of the kernel, [size, size,
// channels, filters].
template <typename B>
std::vector<float> ConvolutionGradients(
    tensorflow::OpKernelContext* context, const Chunks& chunks,
    const std::vector<float>& kernel, int64_t size, int64_t channels,
    int64_t filters, const Pixels<const B>& inputs,
    const Pixels<const B>& gradients, const Pixels<float>& to_inputs) {
  const PackedConvolution<B> back(
      Transposed(kernel.data(), size, channels, filters).data(), size, filters,
      channels);
  KernelGradient<B> gradient(
      chunks, Convolution<B>{size, channels, filters, nullptr, nullptr, nullptr,
                             false});
  chunks.For(context, 2 * kernel.size(),
             [&](int64_t chunk, int64_t begin, int64_t end) {
               gradient.Add(chunk, inputs, gradients, begin, end);
               const Uninitialized<char> scratch(
                   ScratchBytes<B>(nullptr, *back, inputs.width));
               BestConvolutions<B>().add_wide(nullptr, *back, gradients,
                                              to_inputs, begin, end,
                                              scratch.data());
             });
  std::vector<float> to_kernel(kernel.size());
  gradient.Finish(to_kernel.data());
  return to_kernel;
}

// Images whose channels have statistics.
inline absl::Status CheckBatch(const tensorflow::TensorShape& features) {
  TF_RETURN_IF_ERROR(CheckImages(features));
  if (features.num_elements() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "An empty batch has no statistics. Received: ", features.DebugString()));
}

// Finds the moments that norms may be given in place of the batch's: none, or
// those of all norms.
inline absl::Status ReadMoments(tensorflow::OpKernelContext* context, int norms,
                                tensorflow::OpInputList* means,
                                tensorflow::OpInputList* variances) {
  TF_RETURN_IF_ERROR(context->input_list("means", means));
  TF_RETURN_IF_ERROR(context->input_list("variances", variances));
  if (means->size() == variances->size() &&
      (means->size() == 0 || means->size() == norms)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "means and variances must be those of all norms or none. Received: ",
      means->size(), " and ", variances->size(), " for ", norms, " norms"));
}

// Allocates a list of outputs with the shapes of inputs.
inline absl::Status AllocateLike(tensorflow::OpKernelContext* context,
                                 const char* name,
                                 const tensorflow::OpInputList& inputs,
                                 tensorflow::OpOutputList* outputs) {
  TF_RETURN_IF_ERROR(context->output_list(name, outputs));
  tensorflow::Tensor* unused;
  for (int i = 0; i < inputs.size(); ++i) {
    TF_RETURN_IF_ERROR(outputs->allocate(i, inputs[i].shape(), &unused));
  }
  return absl::OkStatus();
}

// A map of gradients, in float: those of the outputs, to which others are
// added. It is the memory of `gradient`, input 0, if this is of the same type
// and nobody else's.
template <typename T>
absl::Status AccumulatorOf(tensorflow::OpKernelContext* context,
                           const tensorflow::Tensor& gradient,
                           tensorflow::Tensor* total) {
  TF_RETURN_IF_ERROR(context->forward_input_or_allocate_temp(
      {0}, tensorflow::DT_FLOAT, gradient.shape(), {}, total));
  if (total->SharesBufferWith(gradient)) return absl::OkStatus();
  const auto* from = Bits(gradient.flat<T>().data());
  float* to = Data(total);
  Parallel(context, gradient.NumElements(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = ToFloat(from[i]);
  });
  return absl::OkStatus();
}

}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_TRAINING_H_
