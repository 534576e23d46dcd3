// What the ops should give: equation 4 of the paper as loops in float64, by the
// distance of each pixel from a sample.

#ifndef KERAS_RADN_GPU_CHECK_REFERENCE_H_
#define KERAS_RADN_GPU_CHECK_REFERENCE_H_

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "configuration.h"

namespace keras_radn {
namespace gpu_check {

// Sums, and those of their terms' magnitudes were all weights 1: rounding
// errors are a small part of these.
struct Sums {
  std::vector<double> value, magnitude;

  explicit Sums(std::vector<double> start)
      : value(std::move(start)), magnitude(value.size()) {}
  void Add(int64_t index, double weight, double term) {
    value[index] += weight * term;
    magnitude[index] += std::abs(term);
  }
};

struct Expected {
  Sums outputs, map_gradient, offset_gradient, mask_gradient;
};

Expected Compute(const Configuration& configuration, const Tensors& tensors);

}  // namespace gpu_check
}  // namespace keras_radn

#endif  // KERAS_RADN_GPU_CHECK_REFERENCE_H_
