// What the kernels are checked on.

#ifndef KERAS_RADN_GPU_CHECK_CONFIGURATION_H_
#define KERAS_RADN_GPU_CHECK_CONFIGURATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "numbers.h"
#include "sampling.h"

namespace keras_radn {
namespace gpu_check {

enum class Op { kSum, kColumns };
enum class Offsets {
  kNormal,  // some pixels
  kZero,    // as when training begins
  kWhole,   // on pixels and on the border
  kWild,    // half of them far outside, infinite or NaN
};

struct Configuration {
  Op op = Op::kSum;
  Type type = Type::kFloat32;
  Geometry geometry = {};
  int64_t depth = 0;  // channels of a sample
  bool mask = false;
  Offsets offsets = Offsets::kNormal;
  int64_t shift = 0;  // elements by which the tensors are not aligned
  int64_t seed = 0;   // of the tensors' values

  bool sum() const { return op == Op::kSum; }
  Layout layout() const;
  int64_t positions() const { return geometry.rows * geometry.out_width; }
  int64_t map_size() const;
  int64_t out_size() const;
  int64_t samples() const { return positions() * geometry.samples(); }
};

// The configuration in words, on one line.
std::string Describe(const Configuration& configuration);

struct Pair {
  int64_t y, x;
};

// A geometry of all rows; the padding is TensorFlow's "same" or "valid".
Geometry MakeGeometry(int64_t batch, Pair size, Pair kernel,
                      Pair stride = {1, 1}, Pair dilation = {1, 1},
                      bool same = true, int64_t offset_groups = 1);

// The first ones are chosen, the others drawn from their number. `small` ones
// are quick even where the kernels run a hundred times slower.
Configuration ConfigurationOf(int64_t number, bool small);

// The tensors of a configuration. Those of its type hold numbers of the type.
struct Tensors {
  std::vector<double> map, offset, mask;
  std::vector<double> gradient;      // of the output
  std::vector<double> map_gradient;  // what is there before
};

Tensors Draw(const Configuration& configuration);

}  // namespace gpu_check
}  // namespace keras_radn

#endif  // KERAS_RADN_GPU_CHECK_CONFIGURATION_H_
