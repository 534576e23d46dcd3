// Numbers of the kernels' types, as the host computes them: from their bits.

#ifndef KERAS_RADN_GPU_CHECK_NUMBERS_H_
#define KERAS_RADN_GPU_CHECK_NUMBERS_H_

#include <cstdint>
#include <vector>

#include "sampling.h"

namespace keras_radn {
namespace gpu_check {

enum class Type { kFloat32, kFloat16, kBfloat16 };
constexpr Type kTypes[] = {Type::kFloat32, Type::kFloat16, Type::kBfloat16};

const char* Name(Type type);
int64_t Bytes(Type type);

// Bound of |rounded - exact|, where `exact` is what a kernel stores.
double RoundingError(Type type, double exact);

// The nearest numbers of the type, ties to even; any NaN for a NaN.
std::vector<char> Encode(Type type, const std::vector<double>& values);
std::vector<double> Decode(Type type, const std::vector<char>& bytes);
std::vector<double> Rounded(Type type, const std::vector<double>& values);

// Calls `function` with a number of what the kernels call the type.
template <typename Function>
auto WithType(Type type, Function function) {
  switch (type) {
    case Type::kFloat16:
      return function(Half());
    case Type::kBfloat16:
      return function(Bfloat16());
    default:
      return function(float());
  }
}

}  // namespace gpu_check
}  // namespace keras_radn

#endif  // KERAS_RADN_GPU_CHECK_NUMBERS_H_
