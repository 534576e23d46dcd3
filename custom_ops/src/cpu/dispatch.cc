#include <cstdlib>
#include <cstring>

#include "cpu/kernels.h"

namespace keras_radn {

#define DECLARE(isa)                               \
  namespace isa {                                  \
  extern const Kernels<float> kKernelsfloat;       \
  extern const Kernels<double> kKernelsdouble;     \
  extern const Kernels<Half> kKernelsHalf;         \
  extern const Kernels<Bfloat16> kKernelsBfloat16; \
  }
DECLARE(portable)
#ifdef KERAS_RADN_X86
DECLARE(avx2)
DECLARE(avx512)
#endif
#undef DECLARE

namespace {

enum class InstructionSet { kPortable, kAvx2, kAvx512 };

InstructionSet Detect() {
#ifdef KERAS_RADN_X86
  const char* wanted = std::getenv("KERAS_RADN_CPU");
  const auto is_wanted = [wanted](const char* name) {
    return wanted != nullptr && std::strcmp(wanted, name) == 0;
  };
  // A name that is none of the three chooses nothing.
  const bool any =
      !is_wanted("portable") && !is_wanted("avx2") && !is_wanted("avx512");
  const auto allowed = [&](const char* name) { return any || is_wanted(name); };
  __builtin_cpu_init();
  if (allowed("avx512") && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::kAvx512;
  }
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
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx2:
      return "avx2";
    default:
      return "portable";
  }
}

#ifdef KERAS_RADN_X86
#define BEST_KERNELS(T)                \
  template <>                          \
  const Kernels<T>& BestKernels<T>() { \
    switch (Best()) {                  \
      case InstructionSet::kAvx512:    \
        return avx512::kKernels##T;    \
      case InstructionSet::kAvx2:      \
        return avx2::kKernels##T;      \
      default:                         \
        return portable::kKernels##T;  \
    }                                  \
  }
#else
#define BEST_KERNELS(T)                \
  template <>                          \
  const Kernels<T>& BestKernels<T>() { \
    return portable::kKernels##T;      \
  }
#endif
BEST_KERNELS(float)
BEST_KERNELS(double)
BEST_KERNELS(Half)
BEST_KERNELS(Bfloat16)
#undef BEST_KERNELS

}  // namespace keras_radn

// For `keras-radn info`.
extern "C" __attribute__((visibility("default"))) const char*
keras_radn_instruction_set() {
  return keras_radn::BestInstructionSet();
}
