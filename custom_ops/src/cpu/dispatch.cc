#include <cstdlib>
#include <cstring>

#include "cpu/convolutions.h"
#include "cpu/kernels.h"

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
#undef DECLARE
#undef DECLARE_CONVOLUTIONS

namespace {

enum class InstructionSet { kPortable, kAvx2, kAvx512, kAvx512Bf16 };

InstructionSet Detect() {
#ifdef KERAS_RADN_X86
  const char* wanted = std::getenv("KERAS_RADN_CPU");
  const auto is_wanted = [wanted](const char* name) {
    return wanted != nullptr && std::strcmp(wanted, name) == 0;
  };
  // An unknown name is ignored.
  const bool any = !is_wanted("portable") && !is_wanted("avx2") &&
                   !is_wanted("avx512") && !is_wanted("avx512_bf16");
  const auto allowed = [&](const char* name) { return any || is_wanted(name); };
  __builtin_cpu_init();
  const bool avx512 =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (allowed("avx512_bf16") && avx512 &&
      __builtin_cpu_supports("avx512bf16")) {
    return InstructionSet::kAvx512Bf16;
  }
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
#define CHOOSE(name, widest)          \
  switch (Best()) {                   \
    case InstructionSet::kAvx512Bf16: \
      return widest::name;            \
    case InstructionSet::kAvx512:     \
      return avx512::name;            \
    case InstructionSet::kAvx2:       \
      return avx2::name;              \
    default:                          \
      return portable::name;          \
  }
#else
#define CHOOSE(name, widest) return portable::name;
#endif

#define BEST_KERNELS(T)                \
  template <>                          \
  const Kernels<T>& BestKernels<T>() { \
    CHOOSE(kKernels##T, avx512)        \
  }
BEST_KERNELS(float)
BEST_KERNELS(double)
BEST_KERNELS(Half)
BEST_KERNELS(Bfloat16)
#undef BEST_KERNELS

#define BEST_CONVOLUTIONS(T)                     \
  template <>                                    \
  const Convolutions<T>& BestConvolutions<T>() { \
    CHOOSE(kConvolutions##T, avx512_bf16)        \
  }
BEST_CONVOLUTIONS(float)
BEST_CONVOLUTIONS(Bfloat16)
#undef BEST_CONVOLUTIONS
#undef CHOOSE

}  // namespace keras_radn

// For `keras-radn info`.
extern "C" __attribute__((visibility("default"))) const char*
keras_radn_instruction_set() {
  return keras_radn::BestInstructionSet();
}
