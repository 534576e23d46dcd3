#include "speed.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "configuration.h"
#include "cuda/kernels.h"
#include "device.h"

namespace keras_radn {
namespace gpu_check {
namespace {

// More than the second-level cache of any GPU, so that no run finds there what
// the one before has left.
constexpr int64_t kScratchBytes = int64_t{1} << 28;

class Clock {
 public:
  explicit Clock(bool small)
      : bytes_(small ? 1 << 16 : kScratchBytes),
        repetitions_(small ? 2 : 20),
        scratch_(2 * bytes_) {
    Require(cudaEventCreate(&start_));
    Require(cudaEventCreate(&stop_));
  }
  ~Clock() {
    cudaEventDestroy(start_);
    cudaEventDestroy(stop_);
  }
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;

  // Median time of the device's work, by its own clock, after warming up.
  template <typename Function>
  double Milliseconds(Function start_work) {
    std::vector<float> times;
    for (int i = 0; i < repetitions_ + 3; ++i) {
      Require(cuda::Zero(nullptr, scratch_.data(), bytes_));
      Require(cudaEventRecord(start_, nullptr));
      start_work();
      Require(cudaEventRecord(stop_, nullptr));
      Require(cudaEventSynchronize(stop_));
      float milliseconds;
      Require(cudaEventElapsedTime(&milliseconds, start_, stop_));
      if (i >= 3) times.push_back(milliseconds);
    }
    std::nth_element(times.begin(), times.begin() + repetitions_ / 2,
                     times.end());
    return times[repetitions_ / 2];
  }

  // Bytes that a copy reads and writes, in 10^9 per second.
  double CopyBandwidth() {
    const double milliseconds = Milliseconds([&] {
      Require(cuda::Copy(nullptr, scratch_.data(), scratch_.data() + bytes_,
                         bytes_));
    });
    return 2 * bytes_ / milliseconds / 1e6;
  }

 private:
  int64_t bytes_;
  int repetitions_;
  Memory scratch_;
  cudaEvent_t start_, stop_;
};

// Normally distributed numbers; the same ones follow each other again and
// again.
class Random : public Memory {
 public:
  Random(Type type, int64_t size, double deviation)
      : Memory(size * Bytes(type)) {
    std::mt19937_64 engine(size);
    std::normal_distribution<double> normal(0, deviation);
    std::vector<double> values(std::min<int64_t>(size, 1 << 16));
    for (double& value : values) value = normal(engine);
    Upload(Encode(type, values), data());
    const int64_t bytes = size * Bytes(type);
    int64_t there = values.size() * Bytes(type);
    while (there < bytes) {
      const int64_t more = std::min(there, bytes - there);
      Require(cuda::Copy(nullptr, data(), data() + there, more));
      there += more;
    }
  }
};

struct Shape {
  int64_t height, width, channels, filters;
};

// Time of an op on a shape, forward or backward, as TensorFlow's op runs it.
template <typename T>
void PrintRow(Clock& clock, double copy, const Shape& shape, Type type,
              bool backward) {
  Configuration c;
  c.type = type;
  c.geometry = MakeGeometry(1, {shape.height, shape.width}, {3, 3});
  c.depth = shape.filters;
  const int64_t size = c.map_size(), map_bytes = size * sizeof(T);
  const int64_t out_bytes = c.out_size() * sizeof(T);
  const int64_t offset_bytes = 2 * c.samples() * sizeof(float);
  const Random map(type, size, 1), out(type, c.out_size(), 1);
  // Offsets of 0 would be quick: nothing is added where a weight is 0.
  const Random offset(Type::kFloat32, 2 * c.samples(), 2);
  const Memory sums(size * sizeof(float)), map_gradient(map_bytes);
  const Memory offset_gradient(offset_bytes);
  const Samples<T> samples{c.geometry, c.layout(), map.data<T>(),
                           offset.data<float>(), nullptr};
  const double milliseconds = clock.Milliseconds([&] {
    if (!backward) {
      Require(cuda::Sum(nullptr, samples, out.data<T>()));
      return;
    }
    Require(cuda::Zero(nullptr, sums.data(), size * sizeof(float)));
    Require(cuda::Gradient(nullptr, samples, out.data<T>(), sums.data<float>(),
                           offset_gradient.data<float>(), nullptr));
    if constexpr (sizeof(T) < sizeof(float)) {
      Require(cuda::Narrow(nullptr, sums.data<float>(), map_gradient.data<T>(),
                           size));
    }
  });
  // What must be read or written once, whatever the kernels do.
  const double bytes =
      (backward ? 2 : 1) * (map_bytes + offset_bytes) + out_bytes;
  const double speed = bytes / milliseconds / 1e6;
  std::printf("| %dx%d, %d to %d | %s | %s | %.3f | %.0f | %.0f%% |\n",
              static_cast<int>(shape.height), static_cast<int>(shape.width),
              static_cast<int>(shape.channels), static_cast<int>(shape.filters),
              Name(type), backward ? "backward" : "forward", milliseconds,
              speed, 100 * speed / copy);
}

}  // namespace

void PrintSpeed(bool small) {
  std::vector<Shape> shapes = {
      {180, 320, 256, 32}, {360, 640, 128, 32}, {45, 80, 512, 32}};
  if (small) shapes = {{5, 6, 16, 8}};
  Clock clock(small);
  const double copy = clock.CopyBandwidth();
  std::printf(
      "\nA copy moves %.0f GB/s. The sampling of 3x3 taps, without the matrix "
      "product before it:\n\n"
      "| shape | type | direction | ms | GB/s | of a copy |\n"
      "|---|---|---|---:|---:|---:|\n",
      copy);
  for (const Shape& shape : shapes) {
    for (const Type type : kTypes) {
      for (const bool backward : {false, true}) {
        WithType(type, [&](auto number) {
          PrintRow<decltype(number)>(clock, copy, shape, type, backward);
        });
      }
    }
  }
}

}  // namespace gpu_check
}  // namespace keras_radn
