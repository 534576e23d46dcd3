#include "reference.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace keras_radn {
namespace gpu_check {
namespace {

// A pixel of an axis near a sample, with its weight and the derivative of that
// (to the right, where there are two).
struct Near {
  int64_t pixel;
  double weight, slope;
};

std::vector<Near> FindNear(int64_t base, double offset, int64_t size) {
  std::vector<Near> near;
  if (!std::isfinite(offset) || std::fabs(offset) > 1e15) return near;
  // Apart from each other, for their sum would lose digits of the fraction.
  const int64_t whole = base + static_cast<int64_t>(std::floor(offset));
  // Below 1 also for an offset such as -1e-30, where it would be rounded.
  const double fraction = std::min(offset - std::floor(offset), 1 - 0x1p-50);
  for (int64_t pixel = whole - 1; pixel <= whole + 2; ++pixel) {
    if (pixel < 0 || pixel >= size) continue;
    const double distance = static_cast<double>(pixel - whole) - fraction;
    const double weight = std::max(0.0, 1 - std::fabs(distance));
    const double slope = distance <= -1 || distance > 1 ? 0
                         : distance <= 0                ? -1
                                                        : 1;
    if (weight != 0 || slope != 0) near.push_back({pixel, weight, slope});
  }
  return near;
}

class Loop {
 public:
  Loop(const Configuration& configuration, const Tensors& tensors,
       Expected* expected)
      : c_(configuration), g_(c_.geometry), t_(tensors), e_(*expected) {}

  void Run() {
    int64_t sample = 0;
    for (int64_t row = 0; row < g_.rows; ++row) {
      for (int64_t column = 0; column < g_.out_width; ++column) {
        for (int64_t group = 0; group < g_.offset_groups; ++group) {
          for (int64_t tap = 0; tap < g_.taps(); ++tap) {
            AddSample(row, column, group, tap, sample++);
          }
        }
      }
    }
  }

 private:
  void AddSample(int64_t row, int64_t column, int64_t group, int64_t tap,
                 int64_t sample) {
    const int64_t image = (g_.first_row + row) / g_.out_height;
    const int64_t out_row = (g_.first_row + row) % g_.out_height;
    const int64_t tap_y = tap / g_.kernel_width, tap_x = tap % g_.kernel_width;
    const std::vector<Near> rows =
        FindNear(out_row * g_.stride_y - g_.pad_top + tap_y * g_.dilation_y,
                 t_.offset[2 * sample], g_.height);
    const std::vector<Near> columns =
        FindNear(column * g_.stride_x - g_.pad_left + tap_x * g_.dilation_x,
                 t_.offset[2 * sample + 1], g_.width);
    const double mask = c_.mask ? t_.mask[sample] : 1;
    // Where the channels stand: see Layout.
    const int64_t taps = g_.taps(), groups = g_.offset_groups;
    const int64_t map_taps = c_.sum() ? taps : 1;
    const int64_t map_channel = group * map_taps + (c_.sum() ? tap : 0);
    int64_t out = row * g_.out_width + column;
    if (!c_.sum()) out = (out * taps + tap) * groups + group;

    for (const Near& y : rows) {
      for (const Near& x : columns) {
        const int64_t pixel =
            (image * g_.height + y.pixel) * g_.width + x.pixel;
        const int64_t map = pixel * groups * map_taps + map_channel;
        for (int64_t channel = 0; channel < c_.depth; ++channel) {
          AddTerm(map * c_.depth + channel, out * c_.depth + channel, sample,
                  mask, y, x);
        }
      }
    }
  }

  void AddTerm(int64_t map, int64_t out, int64_t sample, double mask,
               const Near& y, const Near& x) {
    const double value = t_.map[map], gradient = t_.gradient[out];
    const double weight = y.weight * x.weight, product = value * gradient;
    e_.outputs.Add(out, weight, mask * value);
    e_.map_gradient.Add(map, weight, mask * gradient);
    e_.offset_gradient.Add(2 * sample, y.slope * x.weight, mask * product);
    e_.offset_gradient.Add(2 * sample + 1, y.weight * x.slope, mask * product);
    if (c_.mask) e_.mask_gradient.Add(sample, weight, product);
  }

  const Configuration& c_;
  const Geometry& g_;
  const Tensors& t_;
  Expected& e_;
};

}  // namespace

Expected Compute(const Configuration& configuration, const Tensors& tensors) {
  const auto zeros = [](int64_t size) {
    return Sums(std::vector<double>(size));
  };
  const int64_t samples = configuration.samples();
  Expected expected = {zeros(configuration.out_size()),
                       Sums(tensors.map_gradient), zeros(2 * samples),
                       zeros(configuration.mask ? samples : 0)};
  for (size_t i = 0; i < tensors.map_gradient.size(); ++i) {
    expected.map_gradient.magnitude[i] = std::fabs(tensors.map_gradient[i]);
  }
  Loop(configuration, tensors, &expected).Run();
  return expected;
}

}  // namespace gpu_check
}  // namespace keras_radn
