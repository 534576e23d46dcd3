#include "numbers.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace keras_radn {
namespace gpu_check {
namespace {

// A 16-bit type: a sign, an exponent, a mantissa.
struct Format {
  int mantissa_bits;
  int bias;

  int lowest_exponent() const { return 1 - bias; }  // of what is not subnormal
  int infinity() const { return (2 * bias + 1) << mantissa_bits; }
};

Format FormatOf(Type type) {
  return type == Type::kFloat16 ? Format{10, 15} : Format{7, 127};
}

uint16_t EncodeNumber(Format format, double value) {
  const int sign = std::signbit(value) ? 0x8000 : 0;
  const int infinity = format.infinity();
  if (std::isnan(value))
    return sign | infinity | 1 << (format.mantissa_bits - 1);
  if (std::isinf(value)) return sign | infinity;
  const double magnitude = std::fabs(value);
  const int lowest = format.lowest_exponent();
  const int exponent =
      magnitude == 0 ? lowest : std::max(lowest, std::ilogb(magnitude));
  // A mantissa that is rounded up to the next power of 2 carries over.
  const double mantissa =
      std::nearbyint(std::ldexp(magnitude, format.mantissa_bits - exponent));
  const int64_t bits = (int64_t{exponent - lowest} << format.mantissa_bits) +
                       static_cast<int64_t>(mantissa);
  return sign | static_cast<int>(std::min<int64_t>(bits, infinity));
}

double DecodeNumber(Format format, uint16_t number) {
  const int bits = number & 0x7fff;
  const double sign = number & 0x8000 ? -1 : 1;
  const int field = bits >> format.mantissa_bits;
  const int mantissa = bits & ((1 << format.mantissa_bits) - 1);
  if (bits > format.infinity()) return std::nan("");
  if (bits == format.infinity()) {
    return sign * std::numeric_limits<double>::infinity();
  }
  const int implicit = field > 0 ? 1 << format.mantissa_bits : 0;
  const int exponent = std::max(field - 1, 0) + format.lowest_exponent();
  return sign *
         std::ldexp(implicit + mantissa, exponent - format.mantissa_bits);
}

}  // namespace

const char* Name(Type type) {
  return type == Type::kFloat32   ? "float32"
         : type == Type::kFloat16 ? "float16"
                                  : "bfloat16";
}

int64_t Bytes(Type type) { return type == Type::kFloat32 ? 4 : 2; }

double RoundingError(Type type, double exact) {
  if (type == Type::kFloat32) return 0;  // a part of the sums' error
  const Format format = FormatOf(type);
  const double step = std::ldexp(std::fabs(exact), -1 - format.mantissa_bits);
  const double smallest =
      std::ldexp(1, format.lowest_exponent() - format.mantissa_bits - 1);
  return 1.01 * std::max(step, smallest);
}

std::vector<char> Encode(Type type, const std::vector<double>& values) {
  std::vector<char> bytes(values.size() * Bytes(type));
  for (size_t i = 0; i < values.size(); ++i) {
    char* const to = bytes.data() + i * Bytes(type);
    if (type == Type::kFloat32) {
      const float number = static_cast<float>(values[i]);
      std::memcpy(to, &number, sizeof(number));
    } else {
      const uint16_t number = EncodeNumber(FormatOf(type), values[i]);
      std::memcpy(to, &number, sizeof(number));
    }
  }
  return bytes;
}

std::vector<double> Decode(Type type, const std::vector<char>& bytes) {
  std::vector<double> values(bytes.size() / Bytes(type));
  for (size_t i = 0; i < values.size(); ++i) {
    const char* const from = bytes.data() + i * Bytes(type);
    if (type == Type::kFloat32) {
      float number;
      std::memcpy(&number, from, sizeof(number));
      values[i] = number;
    } else {
      uint16_t number;
      std::memcpy(&number, from, sizeof(number));
      values[i] = DecodeNumber(FormatOf(type), number);
    }
  }
  return values;
}

std::vector<double> Rounded(Type type, const std::vector<double>& values) {
  return Decode(type, Encode(type, values));
}

}  // namespace gpu_check
}  // namespace keras_radn
