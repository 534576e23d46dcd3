#include "comparison.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "cuda/kernels.h"
#include "device.h"
#include "reference.h"

namespace keras_radn {
namespace gpu_check {
namespace {

// Relative to the sums' magnitudes. A wrong weight or index is off by the
// magnitude itself, sums in float32 by some 1e-7 of it.
constexpr double kTolerance = 1e-6;

// What differs, or nothing. Outputs are rounded to their type.
std::string Differences(const char* name, const std::vector<double>& actual,
                        const Sums& expected, Type type = Type::kFloat32) {
  int64_t count = 0, first = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::fabs(actual[i] - expected.value[i]);
    const double bound = kTolerance * expected.magnitude[i] +
                         RoundingError(type, expected.value[i]);
    // A NaN is not less than any bound.
    if (!(error <= bound) && count++ == 0) first = i;
  }
  if (count == 0) return "";
  std::ostringstream text;
  text << name << ": " << count << " of " << actual.size()
       << " elements differ, the first is [" << first << "], " << actual[first]
       << " instead of " << expected.value[first] << "; ";
  return text.str();
}

template <typename T>
std::string CompareForward(const Configuration& c, const Tensors& tensors,
                           const Expected& expected) {
  const Guarded map(c.type, tensors.map, c.shift);
  const Guarded offset(Type::kFloat32, tensors.offset);
  const Guarded mask(Type::kFloat32, tensors.mask);
  // Overwritten, whatever is there.
  const Guarded outputs(c.type, std::vector<double>(c.out_size(), 77), c.shift);
  const auto run = c.sum() ? cuda::Sum<T> : cuda::Columns<T>;
  Require(run(nullptr,
              {c.geometry, c.layout(), map.data<T>(), offset.data<float>(),
               c.mask ? mask.data<float>() : nullptr},
              outputs.data<T>()));
  Finish();
  return Differences("forward", outputs.Read(), expected.outputs, c.type);
}

template <typename T>
std::string CompareGradients(const Configuration& c, const Tensors& tensors,
                             const Expected& expected) {
  const Guarded gradient(c.type, tensors.gradient, c.shift);
  const Guarded map(c.type, tensors.map, c.shift);
  const Guarded offset(Type::kFloat32, tensors.offset);
  const Guarded mask(Type::kFloat32, tensors.mask);
  const Guarded map_gradient(Type::kFloat32, tensors.map_gradient, c.shift);
  const std::vector<double> any(2 * c.samples(), 77);
  const Guarded offset_gradient(Type::kFloat32, any);
  const Guarded mask_gradient(Type::kFloat32,
                              std::vector<double>(tensors.mask.size(), 77));
  Require(cuda::Gradient<T>(
      nullptr,
      {c.geometry, c.layout(), map.data<T>(), offset.data<float>(),
       c.mask ? mask.data<float>() : nullptr},
      gradient.data<T>(), map_gradient.data<float>(),
      offset_gradient.data<float>(),
      c.mask ? mask_gradient.data<float>() : nullptr));
  Finish();
  return Differences("gradient of the map", map_gradient.Read(),
                     expected.map_gradient) +
         Differences("gradient of the offset", offset_gradient.Read(),
                     expected.offset_gradient) +
         Differences("gradient of the mask", mask_gradient.Read(),
                     expected.mask_gradient);
}

// Exactly the nearest numbers.
template <typename T>
std::string CompareNarrow(Type type) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  std::vector<double> values = {
      0,       -0.0,    kInfinity,   -kInfinity,  65504,      65519.9,
      65520,   3e38,    1 + 0x1p-11, 1 + 0x3p-11, 1 + 0x1p-8, 1 + 0x3p-8,
      0x1p-24, 0x1p-25, 0x3p-25,     0x1p-126};
  for (int i = 1; i < 4000; ++i) {  // all magnitudes, both signs
    values.push_back(std::sin(i) * std::ldexp(1, i % 60 - 40));
  }
  const Guarded from(Type::kFloat32, values);
  const Guarded to(type, std::vector<double>(values.size(), 77));
  Require(cuda::Narrow(nullptr, from.data<float>(), to.data<T>(),
                       static_cast<int64_t>(values.size())));
  Finish();
  const std::vector<double> actual = to.Read();
  const std::vector<double> expected =
      Rounded(type, Rounded(Type::kFloat32, values));
  for (size_t i = 0; i < values.size(); ++i) {
    if (actual[i] == expected[i]) continue;
    std::ostringstream text;
    text << "Narrow to " << Name(type) << ": " << values[i] << " became "
         << actual[i] << " instead of " << expected[i] << "; ";
    return text.str();
  }
  return "";
}

std::string CompareZeroAndCopy() {
  const std::vector<double> values = {1, 2, 3, 4, 5};
  const Guarded first(Type::kFloat32, values), second(Type::kFloat32, values);
  Require(cuda::Zero(nullptr, first.data<char>(), 3 * sizeof(float)));
  Require(cuda::Copy(nullptr, first.data<char>(), second.data<char>(),
                     4 * sizeof(float)));
  Finish();
  const bool zeroed = first.Read() == std::vector<double>{0, 0, 0, 4, 5};
  const bool copied = second.Read() == std::vector<double>{0, 0, 0, 4, 5};
  return zeroed && copied ? "" : "Zero or Copy: wrong bytes; ";
}

}  // namespace

std::string Compare(const Configuration& configuration) {
  const Tensors tensors = Draw(configuration);
  const Expected expected = Compute(configuration, tensors);
  return WithType(configuration.type, [&](auto number) {
    using T = decltype(number);
    return CompareForward<T>(configuration, tensors, expected) +
           CompareGradients<T>(configuration, tensors, expected);
  });
}

std::string CompareOthers() {
  return CompareNarrow<Half>(Type::kFloat16) +
         CompareNarrow<Bfloat16>(Type::kBfloat16) + CompareZeroAndCopy();
}

}  // namespace gpu_check
}  // namespace keras_radn
