// Indices that 32 bits do not hold. Nearly all of the memory is zero: there are
// too many elements for the loops of reference.h.

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "comparison.h"
#include "cuda/kernels.h"
#include "device.h"

namespace keras_radn {
namespace gpu_check {
namespace {

constexpr int64_t kChannels = 8;

class Zeros : public Memory {
 public:
  explicit Zeros(int64_t bytes) : Memory(bytes) {
    Require(cuda::Zero(nullptr, data(), bytes));
  }
};

// The channels of a pixel: different in each, and exact in float16.
std::vector<double> Pixel(int64_t first) {
  std::vector<double> values;
  for (int64_t i = 0; i < kChannels; ++i) values.push_back(first + i);
  return values;
}

void Put(const std::vector<double>& values, const Memory& to, int64_t index) {
  Upload(Encode(Type::kFloat16, values), to.data<Half>() + index);
}

bool Holds(const Memory& memory, Type type, int64_t index,
           const std::vector<double>& expected) {
  const char* const from = memory.data() + index * Bytes(type);
  return Decode(type, Download(from, expected.size() * Bytes(type))) ==
         expected;
}

// A point kernel samples the corners of a large image.
std::string CompareMap(bool sum, int64_t elements) {
  const int64_t width = 1024, height = elements / kChannels / width + 1;
  const Geometry g =
      MakeGeometry(1, {height, width}, {1, 1}, {height - 1, width - 1});
  const Layout layout =
      sum ? Layout::Sum(g, kChannels) : Layout::Columns(g, kChannels);
  const int64_t corners[] = {0, width - 1, (height - 1) * width,
                             height * width - 1};
  const int64_t size = height * width * kChannels;
  const Zeros map(size * sizeof(Half));
  const Zeros map_gradient(size * sizeof(float));
  const Zeros offset(4 * 2 * sizeof(float));
  const Zeros offset_gradient(4 * 2 * sizeof(float));
  const Zeros outputs(4 * kChannels * sizeof(Half));
  const Zeros gradient(4 * kChannels * sizeof(Half));
  for (int i = 0; i < 4; ++i) {
    Put(Pixel(1 + 8 * i), map, corners[i] * kChannels);
    Put(Pixel(101 + 8 * i), gradient, i * kChannels);
  }
  const auto forward = sum ? cuda::Sum<Half> : cuda::Columns<Half>;
  const Samples<Half> samples{g, layout, map.data<Half>(), offset.data<float>(),
                              nullptr};
  Require(forward(nullptr, samples, outputs.data<Half>()));
  Require(cuda::Gradient(nullptr, samples, gradient.data<Half>(),
                         map_gradient.data<float>(),
                         offset_gradient.data<float>(), nullptr));
  Finish();
  for (int i = 0; i < 4; ++i) {
    if (!Holds(outputs, Type::kFloat16, i * kChannels, Pixel(1 + 8 * i)) ||
        !Holds(map_gradient, Type::kFloat32, corners[i] * kChannels,
               Pixel(101 + 8 * i))) {
      return "a map of " + std::to_string(size) + " elements: corner " +
             std::to_string(i) + " differs; ";
    }
  }
  return "";
}

// Columns of more elements than their map; the last position's are compared.
std::string CompareColumns(int64_t elements) {
  const int64_t taps = 9, width = 1024;
  const int64_t height = elements / (taps * kChannels * width) + 2;
  const Geometry g = MakeGeometry(1, {height, width}, {3, 3});
  const Layout layout = Layout::Columns(g, kChannels);
  const int64_t pixels = height * width;
  const int64_t size = pixels * taps * kChannels;
  const Zeros map(pixels * kChannels * sizeof(Half));
  const Zeros map_gradient(pixels * kChannels * sizeof(float));
  const Zeros offset(2 * pixels * taps * sizeof(float));
  const Zeros offset_gradient(2 * pixels * taps * sizeof(float));
  const Zeros columns(size * sizeof(Half));
  const int64_t last = (pixels - 1) * kChannels;
  const int64_t above = last - (width + 1) * kChannels;  // and to the left
  Put(Pixel(1), map, last);
  Put(Pixel(11), map, above);
  const Samples<Half> samples{g, layout, map.data<Half>(), offset.data<float>(),
                              nullptr};
  Require(cuda::Columns(nullptr, samples, columns.data<Half>()));
  Finish();
  const int64_t first_tap = size - taps * kChannels;
  const int64_t middle_tap = first_tap + 4 * kChannels;
  if (!Holds(columns, Type::kFloat16, first_tap, Pixel(11)) ||
      !Holds(columns, Type::kFloat16, middle_tap, Pixel(1))) {
    return "columns of " + std::to_string(size) + " elements differ; ";
  }
  Require(cuda::Zero(nullptr, columns.data(), size * sizeof(Half)));
  Put(Pixel(21), columns, first_tap);
  Put(Pixel(31), columns, middle_tap);
  Require(cuda::Gradient(nullptr, samples, columns.data<Half>(),
                         map_gradient.data<float>(),
                         offset_gradient.data<float>(), nullptr));
  Finish();
  if (!Holds(map_gradient, Type::kFloat32, above, Pixel(21)) ||
      !Holds(map_gradient, Type::kFloat32, last, Pixel(31))) {
    return "gradients of columns of " + std::to_string(size) +
           " elements differ; ";
  }
  return "";
}

}  // namespace

std::string CompareLarge(int64_t elements, int64_t memory) {
  // A map in float16 and its gradient in float32.
  const int64_t needed = elements * 7;
  if (memory < needed) {
    std::printf(
        "left out: tensors of more than 2^31 elements, for they need %.0f GB "
        "and %.0f GB are free\n",
        needed / 1e9, memory / 1e9);
    return "";
  }
  return CompareMap(true, elements) + CompareMap(false, elements) +
         CompareColumns(elements);
}

}  // namespace gpu_check
}  // namespace keras_radn
