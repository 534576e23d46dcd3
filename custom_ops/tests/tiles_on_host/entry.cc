// The convolutions with C linkage, with stand-ins for AMX and AVX-512 BF16.

#include <cstdint>
#include <vector>

#include "cpu/convolutions.cc"

namespace {

using keras_radn::Bfloat16;
using keras_radn::Convolution;
using keras_radn::amx::kConvolutionsBfloat16;

}  // namespace

extern "C" {

// Products of tiles so far.
int64_t count_tile_products() { return keras_radn::amx::tile_products; }

// A convolution of one image, of `size` 1, 3, or 4 with stride 2; the scale may
// be null.
void convolve(int64_t size, int64_t channels, int64_t filters,
              const float* kernel, const float* bias, const float* scale,
              const float* offset, bool relu, int64_t height, int64_t width,
              const Bfloat16* inputs, float* outputs) {
  std::vector<char> weights(
      keras_radn::PackedBytes<float>(size, channels, filters));
  kConvolutionsBfloat16.pack(kernel, bias, size, channels, filters,
                             weights.data());
  const Convolution<Bfloat16> convolution{
      size, channels, filters, scale, offset, weights.data(), relu};
  std::vector<char> scratch(
      keras_radn::ScratchBytes<Bfloat16>(nullptr, convolution, width));
  const int64_t stride = size == 4 ? 2 : 1;
  kConvolutionsBfloat16.convolve_wide(
      nullptr, convolution, {inputs, height, width, channels},
      {outputs, height / stride, width / stride, filters}, 0, height / stride,
      scratch.data());
}

// A deconvolution of 4x4 of one image.
void deconvolve(int64_t channels, int64_t filters, const float* kernel,
                const float* bias, int64_t height, int64_t width,
                const Bfloat16* inputs, Bfloat16* outputs) {
  std::vector<char> weights(
      keras_radn::PackedBytes<float>(4, channels, filters));
  kConvolutionsBfloat16.pack_deconvolution(kernel, bias, channels, filters,
                                           weights.data());
  const Convolution<Bfloat16> convolution{
      4, channels, filters, nullptr, nullptr, weights.data(), false};
  const keras_radn::Part<Bfloat16> part{inputs, channels};
  std::vector<char> scratch(
      keras_radn::ScratchBytes<Bfloat16>(nullptr, convolution, width));
  kConvolutionsBfloat16.deconvolve(convolution, &part, 1,
                                   {outputs, 2 * height, 2 * width, filters}, 0,
                                   height, scratch.data());
}

// The attention of some pixels to as many positions.
void attend(int64_t positions, int64_t depth, int64_t channels,
            const Bfloat16* queries, const Bfloat16* keys,
            const Bfloat16* values, const Bfloat16* features,
            Bfloat16* outputs) {
  keras_radn::Attention<Bfloat16> attention{
      positions, depth, channels, nullptr, queries, features, outputs};
  std::vector<char> packed(keras_radn::PackedBytes(attention));
  kConvolutionsBfloat16.pack_attention(keys, values, positions, depth, channels,
                                       packed.data());
  attention.packed = packed.data();
  std::vector<char> scratch(keras_radn::ScratchBytes(attention));
  kConvolutionsBfloat16.attend(attention, 0, positions, scratch.data());
}
}
