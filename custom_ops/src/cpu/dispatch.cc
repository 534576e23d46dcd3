#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cpu/convolutions.h"
#include "cpu/kernels.h"

#ifdef KERAS_RADN_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace keras_radn {

#define DECLARE(isa)                               \
  namespace isa {                                  \
  extern const Kernels<float> kKernelsfloat;       \
  extern const Kernels<double> kKernelsdouble;     \
  extern const Kernels<Half> kKernelsHalf;         \
  extern const Kernels<Bfloat16> kKernelsBfloat16; \
  }
#define DECLARE_CONVOLUTIONS(isa)                            \
  namespace isa {                                            \
  extern const Convolutions<float> kConvolutionsfloat;       \
  extern const Convolutions<Bfloat16> kConvolutionsBfloat16; \
  }
DECLARE(portable)
DECLARE_CONVOLUTIONS(portable)
#ifdef KERAS_RADN_X86
DECLARE(avx2)
DECLARE(avx512)
DECLARE_CONVOLUTIONS(avx2)
DECLARE_CONVOLUTIONS(avx512)
DECLARE_CONVOLUTIONS(avx512_bf16)
#endif
#ifdef KERAS_RADN_AMX
DECLARE_CONVOLUTIONS(amx)
#endif
#undef DECLARE
#undef DECLARE_CONVOLUTIONS

namespace {

enum class InstructionSet { kPortable, kAvx2, kAvx512, kAvx512Bf16, kAmx };

#ifdef KERAS_RADN_AMX
// What the processor has, and the system allows this process to use: saving
// tiles takes 8 KB for each thread.
bool MayUseTiles() {
  constexpr unsigned kTile = 1u << 24, kBfloat16 = 1u << 22;
  unsigned a, b, c, d;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return (d & kTile) != 0 && (d & kBfloat16) != 0 &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// A convolution of small integers, whose sums have no rounding errors.
std::vector<float> Product(const Convolutions<Bfloat16>& kernels) {
  constexpr int64_t kPixels = 50, kChannels = 75, kFilters = 40;
  std::vector<float> kernel(kChannels * kFilters), outputs(kPixels * kFilters);
  for (size_t i = 0; i < kernel.size(); ++i) kernel[i] = i % 13;
  std::vector<Bfloat16> inputs(kPixels * kChannels);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const float value = i % 11;
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    inputs[i].bits = bits >> 16;
  }
  std::vector<char> weights(PackedBytes<float>(1, kChannels, kFilters));
  kernels.pack(kernel.data(), nullptr, 1, kChannels, kFilters, weights.data());
  const Convolution<Bfloat16> convolution{
      1, kChannels, kFilters, nullptr, nullptr, weights.data(), false};
  std::vector<char> scratch(
      ScratchBytes<Bfloat16>(nullptr, convolution, kPixels));
  kernels.convolve_wide(
      nullptr, convolution, {inputs.data(), 1, kPixels, kChannels},
      {outputs.data(), 1, kPixels, kFilters}, 0, 1, scratch.data());
  return outputs;
}

// These kernels were tested without such a processor.
bool TilesAgree() {
  return Product(amx::kConvolutionsBfloat16) ==
         Product(avx512_bf16::kConvolutionsBfloat16);
}
#endif

InstructionSet Detect() {
#ifdef KERAS_RADN_X86
  const char* wanted = std::getenv("KERAS_RADN_CPU");
  const auto is_wanted = [wanted](const char* name) {
    return wanted != nullptr && std::strcmp(wanted, name) == 0;
  };
  // An unknown name is ignored.
  bool any = true;
  for (const char* name :
       {"portable", "avx2", "avx512", "avx512_bf16", "amx"}) {
    any = any && !is_wanted(name);
  }
  const auto allowed = [&](const char* name) { return any || is_wanted(name); };
  __builtin_cpu_init();
  const bool avx512 =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
#ifdef KERAS_RADN_AMX
  if (allowed("amx") && bf16 && MayUseTiles() && TilesAgree()) {
    return InstructionSet::kAmx;
  }
#endif
  if (allowed("avx512_bf16") && bf16) return InstructionSet::kAvx512Bf16;
  if (allowed("avx512") && avx512) return InstructionSet::kAvx512;
  if (allowed("avx2") && __builtin_cpu_supports("avx2") &&
      __builtin_cpu_supports("fma")) {
    return InstructionSet::kAvx2;
  }
#endif
  return InstructionSet::kPortable;
}

InstructionSet Best() {
  static const InstructionSet best = Detect();
  return best;
}

}  // namespace

const char* BestInstructionSet() {
  switch (Best()) {
    case InstructionSet::kAmx:
      return "amx";
    case InstructionSet::kAvx512Bf16:
      return "avx512_bf16";
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx2:
      return "avx2";
    default:
      return "portable";
  }
}

// Only products gain by instructions for bfloat16.
#ifdef KERAS_RADN_X86
#define CHOOSE(name, bf16, tiles)     \
  switch (Best()) {                   \
    case InstructionSet::kAmx:        \
      return tiles::name;             \
    case InstructionSet::kAvx512Bf16: \
      return bf16::name;              \
    case InstructionSet::kAvx512:     \
      return avx512::name;            \
    case InstructionSet::kAvx2:       \
      return avx2::name;              \
    default:                          \
      return portable::name;          \
  }
#else
#define CHOOSE(name, bf16, tiles) return portable::name;
#endif

#ifdef KERAS_RADN_AMX
#define TILES amx
#else
#define TILES avx512_bf16
#endif

#define BEST_KERNELS(T)                 \
  template <>                           \
  const Kernels<T>& BestKernels<T>() {  \
    CHOOSE(kKernels##T, avx512, avx512) \
  }
BEST_KERNELS(float)
BEST_KERNELS(double)
BEST_KERNELS(Half)
BEST_KERNELS(Bfloat16)
#undef BEST_KERNELS

#define BEST_CONVOLUTIONS(T)                     \
  template <>                                    \
  const Convolutions<T>& BestConvolutions<T>() { \
    CHOOSE(kConvolutions##T, avx512_bf16, TILES) \
  }
BEST_CONVOLUTIONS(float)
BEST_CONVOLUTIONS(Bfloat16)
#undef BEST_CONVOLUTIONS
#undef TILES
#undef CHOOSE

}  // namespace keras_radn

// For `keras-radn info`.
extern "C" __attribute__((visibility("default"))) const char*
keras_radn_instruction_set() {
  return keras_radn::BestInstructionSet();
}
