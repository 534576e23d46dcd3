// The iteration by which Muon makes a matrix orthogonal.

#ifndef KERAS_RADN_CPU_NEWTON_SCHULZ_H_
#define KERAS_RADN_CPU_NEWTON_SCHULZ_H_

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "cpu/convolve.h"
#include "cpu/kernels.h"
#include "cpu/training.h"

namespace keras_radn {

// X (a + b X'X + c (X'X)^2) for an X of [rows, columns], with as many rows as
// columns or more, in the products of 1x1 convolutions.
template <typename B>
class NewtonSchulz {
 public:
  // `scale` times the values are those of X, or of its transpose.
  NewtonSchulz(const float* values, float scale, int64_t rows, int64_t columns)
      : turned_(rows < columns),
        rows_(turned_ ? columns : rows),
        columns_(turned_ ? rows : columns),
        x_(rows * columns),
        next_(rows * columns) {
    std::vector<float> scaled(rows * columns);
    if (turned_) {
      for (int64_t i = 0; i < rows_; ++i) {
        for (int64_t j = 0; j < columns_; ++j) {
          scaled[i * columns_ + j] = scale * values[j * rows_ + i];
        }
      }
    } else {
      for (int64_t i = 0; i < rows * columns; ++i) {
        scaled[i] = scale * values[i];
      }
    }
    Round(scaled, &x_);
  }

  void Iterate(float a, float b, float c) {
    const std::vector<float> gram = Gram();
    Round(gram, &rounded_);
    // a + b gram + c gram gram
    std::vector<float> factor(columns_ * columns_);
    Multiply(rounded_.data(), columns_, gram, factor.data(),
             BestConvolutions<B>().convolve_wide);
    for (int64_t i = 0; i < columns_ * columns_; ++i) {
      factor[i] = c * factor[i] + b * gram[i];
    }
    for (int64_t i = 0; i < columns_; ++i) factor[i * columns_ + i] += a;
    Multiply(x_.data(), rows_, factor, next_.data(),
             BestConvolutions<B>().convolve);
    std::swap(x_, next_);
  }

  // Adds `scale` times X to the values, in the order of the constructor's.
  void AddTo(float scale, float* values) const {
    if (turned_) {
      for (int64_t j = 0; j < columns_; ++j) {
        for (int64_t i = 0; i < rows_; ++i) {
          values[j * rows_ + i] += scale * ToFloat(x_[i * columns_ + j]);
        }
      }
    } else {
      for (int64_t i = 0; i < rows_ * columns_; ++i) {
        values[i] += scale * ToFloat(x_[i]);
      }
    }
  }

 private:
  static void Round(const std::vector<float>& values, std::vector<B>* rounded) {
    const int64_t count = values.size();
    rounded->resize(count);
    BestKernels<B>().narrow(values.data(), 1, count, rounded->data(), count);
  }

  // Rows are pixels, columns are channels.
  Pixels<const B> Rows(const B* data, int64_t rows) const {
    return {data, 1, rows, columns_};
  }

  // X'X
  std::vector<float> Gram() const {
    const Convolution<B> like{1,       columns_, columns_, nullptr,
                              nullptr, nullptr,  false};
    const int64_t padded = PaddedFilters(columns_);
    std::vector<float> sums(columns_ * padded);
    const Uninitialized<char> scratch(GradientScratchBytes(like, rows_));
    const Pixels<const B> x = Rows(x_.data(), rows_);
    BestConvolutions<B>().filter_gradient(like, x, x, 0, 1, sums.data(),
                                          scratch.data());
    for (int64_t i = 1; i < columns_ && padded > columns_; ++i) {
      std::copy_n(sums.data() + i * padded, columns_,
                  sums.data() + i * columns_);
    }
    sums.resize(columns_ * columns_);
    return sums;
  }

  template <typename O, typename Function>
  void Multiply(const B* matrix, int64_t rows, const std::vector<float>& factor,
                O* outputs, Function convolve) const {
    const PackedConvolution<B> weights(factor.data(), 1, columns_, columns_);
    const Uninitialized<char> scratch(ScratchBytes<B>(nullptr, *weights, rows));
    convolve(nullptr, *weights, Rows(matrix, rows),
             {outputs, 1, rows, columns_}, 0, 1, scratch.data());
  }

  const bool turned_;  // to more rows than columns, for a small X'X
  const int64_t rows_, columns_;
  std::vector<B> x_, next_, rounded_;
};

}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_NEWTON_SCHULZ_H_
