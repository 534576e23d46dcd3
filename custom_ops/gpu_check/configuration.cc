#include "configuration.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace keras_radn {
namespace gpu_check {
namespace {

using Engine = std::mt19937_64;

int64_t Choose(Engine& engine, std::initializer_list<int64_t> values) {
  return values.begin()[engine() % values.size()];
}

int64_t Between(Engine& engine, int64_t first, int64_t last) {
  return first + static_cast<int64_t>(engine() % (last - first + 1));
}

// Output size and zeros before the first pixel, along an axis.
void Pad(int64_t size, int64_t kernel, int64_t stride, int64_t dilation,
         bool same, int64_t* out, int64_t* before) {
  const int64_t extent = (kernel - 1) * dilation + 1;
  *out = same ? (size + stride - 1) / stride : (size - extent) / stride + 1;
  const int64_t zeros = (*out - 1) * stride + extent - size;
  *before = same ? std::max<int64_t>(0, zeros) / 2 : 0;
}

Configuration Drawn(int64_t number) {
  Engine engine(number);
  Configuration c;
  c.op = engine() % 2 ? Op::kSum : Op::kColumns;
  c.type = kTypes[engine() % 3];
  const auto pair = [&](int64_t first, int64_t last) {
    // Braces make the order of evaluation certain.
    return Pair{Between(engine, first, last), Between(engine, first, last)};
  };
  const int64_t batch = Between(engine, 1, 3);
  const int64_t groups = Between(engine, 1, 3);
  const bool same = engine() % 3 > 0;
  const Pair kernel = pair(1, 3), stride = pair(1, 3), dilation = pair(1, 3);
  Pair size = pair(1, 11);
  if (!same) {  // the image must hold the kernel
    size.y += (kernel.y - 1) * dilation.y;
    size.x += (kernel.x - 1) * dilation.x;
  }
  c.geometry =
      MakeGeometry(batch, size, kernel, stride, dilation, same, groups);
  // Those that fill vectors of 16 bytes, and those that do not.
  c.depth = Choose(engine, {1, 2, 3, 4, 7, 8, 12, 16, 24, 32, 40, 72});
  c.mask = engine() % 2;
  c.offsets = static_cast<Offsets>(engine() % 4);
  c.shift = engine() % 4 == 0;
  c.seed = number;
  if (!c.sum() && engine() % 2) {  // columns may be a part of the rows
    Geometry& g = c.geometry;
    g.first_row = Between(engine, 0, g.rows - 1);
    g.rows = Between(engine, 1, g.rows - g.first_row);
  }
  return c;
}

// Configurations that drawing would not give, for each op and type.
std::vector<Geometry> Chosen(bool small) {
  std::vector<Geometry> chosen = {
      MakeGeometry(0, {5, 7}, {3, 3}),  // no image
      MakeGeometry(2, {0, 7}, {3, 3}),  // no row
      MakeGeometry(2, {1, 1}, {3, 3}),
      MakeGeometry(1, {1, 257}, {1, 3}),
      // More rows than CUDA's grids may have in their second dimension.
      MakeGeometry(1, {small ? 300 : 70001, 3}, {3, 1}),
  };
  if (!small) chosen.push_back(MakeGeometry(2, {45, 80}, {3, 3}));
  return chosen;
}

double DrawOffset(Engine& engine, Offsets kind) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double wild[] = {std::nan(""), kInfinity, -kInfinity, 1e30,    -1e30,
                         0x1p40,       -0x1p40,   0x1p31,     -0x1p31, 0x1p29,
                         -0x1p29,      1e7,       -1e7,       5,       -5,
                         1e-9,         -1e-9,     1e-30,      -1e-30};
  std::normal_distribution<double> normal(0, 2);
  const double some = static_cast<float>(normal(engine));
  switch (kind) {
    case Offsets::kZero:
      return 0;
    case Offsets::kWhole:
      return std::round(some);
    case Offsets::kWild:
      if (engine() % 2)
        return static_cast<float>(wild[engine() % std::size(wild)]);
      return some;
    default:
      return some;
  }
}

}  // namespace

Layout Configuration::layout() const {
  return sum() ? Layout::Sum(geometry, depth)
               : Layout::Columns(geometry, depth * geometry.offset_groups);
}

int64_t Configuration::map_size() const {
  const Geometry& g = geometry;
  const int64_t taps = sum() ? g.taps() : 1;
  return g.batch * g.height * g.width * g.offset_groups * taps * depth;
}

int64_t Configuration::out_size() const {
  return positions() * depth * (sum() ? 1 : geometry.samples());
}

std::string Describe(const Configuration& configuration) {
  static const char* const kOffsets[] = {"normal", "zero", "whole", "wild"};
  const Geometry& g = configuration.geometry;
  std::ostringstream text;
  text << (configuration.sum() ? "sum" : "columns") << ' '
       << Name(configuration.type) << ", map " << g.batch << 'x' << g.height
       << 'x' << g.width << ", output " << g.out_height << 'x' << g.out_width
       << ", rows " << g.first_row << " to " << g.first_row + g.rows
       << ", kernel " << g.kernel_height << 'x' << g.kernel_width << ", stride "
       << g.stride_y << 'x' << g.stride_x << ", dilation " << g.dilation_y
       << 'x' << g.dilation_x << ", padding " << g.pad_top << 'x' << g.pad_left
       << ", offset groups " << g.offset_groups << ", depth "
       << configuration.depth << ", "
       << kOffsets[static_cast<int>(configuration.offsets)] << " offsets"
       << (configuration.mask ? ", mask" : "")
       << (configuration.shift ? ", not aligned" : "");
  return text.str();
}

Geometry MakeGeometry(int64_t batch, Pair size, Pair kernel, Pair stride,
                      Pair dilation, bool same, int64_t offset_groups) {
  Geometry g = {};
  g.batch = batch;
  g.height = size.y;
  g.width = size.x;
  g.kernel_height = kernel.y;
  g.kernel_width = kernel.x;
  g.stride_y = stride.y;
  g.stride_x = stride.x;
  g.dilation_y = dilation.y;
  g.dilation_x = dilation.x;
  g.offset_groups = offset_groups;
  Pad(size.y, kernel.y, stride.y, dilation.y, same, &g.out_height, &g.pad_top);
  Pad(size.x, kernel.x, stride.x, dilation.x, same, &g.out_width, &g.pad_left);
  g.rows = batch * g.out_height;
  return g;
}

Configuration ConfigurationOf(int64_t number, bool small) {
  const std::vector<Geometry> chosen = Chosen(small);
  const int64_t count = chosen.size();
  const int64_t index = number / 6;
  if (index >= count) return Drawn(number);
  Configuration c;
  c.op = number % 2 ? Op::kSum : Op::kColumns;
  c.type = kTypes[number / 2 % 3];
  c.geometry = chosen[index];
  c.depth = c.geometry.height > 1000 ? 8 : 32;
  c.mask = true;
  c.seed = number;
  return c;
}

Tensors Draw(const Configuration& configuration) {
  Engine engine(configuration.seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform(-1, 1);
  const auto draw = [&](Type type, int64_t size, auto&& number) {
    std::vector<double> values(size);
    for (double& value : values) value = number();
    return Rounded(type, values);
  };
  const auto value = [&] { return normal(engine); };
  Tensors t;
  t.map = draw(configuration.type, configuration.map_size(), value);
  t.gradient = draw(configuration.type, configuration.out_size(), value);
  t.map_gradient = draw(Type::kFloat32, configuration.map_size(), value);
  t.offset = draw(Type::kFloat32, 2 * configuration.samples(),
                  [&] { return DrawOffset(engine, configuration.offsets); });
  if (configuration.mask) {
    t.mask = draw(Type::kFloat32, configuration.samples(),
                  [&] { return uniform(engine); });
  }
  return t;
}

}  // namespace gpu_check
}  // namespace keras_radn
