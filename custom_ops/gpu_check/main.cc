// gpu_check [--small] [--configurations N] [--only N]
//
// Runs every launcher of ../src/cuda/kernels.h on the first GPU and compares
// the results with loops in float64 on the host, then measures the kernels.
//
//   --small             few and tiny configurations, for compute-sanitizer
//   --configurations N  how many, chosen and drawn ones (default: 2000)
//   --only N            this configuration alone, which a failure has named
//
// Exit status: 0 if all held, 1 if something differs or the GPU reports an
// error, 2 if nothing could be run: no GPU, no driver that fits, no machine
// code for this GPU, a wrong option.

#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>

#include "comparison.h"
#include "cuda/kernels.h"
#include "device.h"
#include "speed.h"

namespace keras_radn {
namespace gpu_check {
namespace {

// Its text is a sentence for the user; the exit status is 2.
struct CannotRun : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Options {
  bool small = false;
  int64_t configurations = 2000;
  int64_t only = -1;
};

int64_t ParseNumber(const char* text) {
  char* end = nullptr;
  const int64_t number = text == nullptr ? -1 : std::strtoll(text, &end, 10);
  if (number < 0 || end == text || *end != '\0') {
    throw CannotRun(std::string("a number of configurations is an integer, 0 "
                                "or more. Received: ") +
                    (text == nullptr ? "nothing" : text));
  }
  return number;
}

Options Parse(char** words) {
  Options options;
  bool counted = false;
  while (const char* word = *words++) {
    if (std::strcmp(word, "--small") == 0) {
      options.small = true;
    } else if (std::strcmp(word, "--configurations") == 0) {
      options.configurations = ParseNumber(*words);
      counted = true;
      ++words;
    } else if (std::strcmp(word, "--only") == 0) {
      options.only = ParseNumber(*words);
      ++words;
    } else {
      throw CannotRun(std::string("the options are --small, --configurations "
                                  "N and --only N. Received: ") +
                      word);
    }
  }
  if (options.small && !counted) options.configurations = 100;
  return options;
}

std::string VersionText(int version) {
  return std::to_string(version / 1000) + "." +
         std::to_string(version % 1000 / 10);
}

// Prints what the program runs on; throws CannotRun if that is nothing.
void FindGpu() {
  int driver = 0, runtime = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    throw CannotRun(
        "there is no NVIDIA driver (libcuda.so.1), or no GPU that it knows. "
        "Install the driver and look whether nvidia-smi shows the GPU.");
  }
  Require(cudaRuntimeGetVersion(&runtime));
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) {
    throw CannotRun("the driver supports CUDA " + VersionText(driver) +
                    ", and this program was built with CUDA " +
                    VersionText(runtime) +
                    ". Install a newer driver, or build with an older toolkit "
                    "(CUDAToolkit_ROOT).");
  }
  if (error != cudaSuccess || count == 0) {
    throw CannotRun(std::string("the driver finds no GPU (") +
                    cudaGetErrorString(error) +
                    "). Look whether nvidia-smi shows it and whether "
                    "CUDA_VISIBLE_DEVICES hides it.");
  }
  cudaDeviceProp properties;
  Require(cudaGetDeviceProperties(&properties, 0));
  const std::string name = std::string(properties.name) +
                           " (compute capability " +
                           std::to_string(properties.major) + "." +
                           std::to_string(properties.minor) + ")";
  // Starting a kernel shows whether there is code for this GPU.
  const Memory one(sizeof(float));
  Require(cuda::Zero(nullptr, one.data(), sizeof(float)));
  const char* const missing =
      cuda::Narrow(nullptr, one.data<const float>(), one.data<Half>(), 1);
  if (missing != nullptr) {
    throw CannotRun("the kernels cannot be run on " + name + ": " + missing +
                    ". Build for it with -DKERAS_RADN_CUDA_ARCHITECTURES=" +
                    std::to_string(properties.major) +
                    std::to_string(properties.minor) + ".");
  }
  std::printf("%s, driver for CUDA %s, built with CUDA %s\n", name.c_str(),
              VersionText(driver).c_str(), VersionText(runtime).c_str());
}

// Prints a line if something differs. What the device reports as an error
// leaves nothing that could be run after it.
template <typename Function>
bool Holds(const std::string& name, Function differences) {
  std::string found;
  try {
    found = differences();
  } catch (const std::exception& error) {
    throw std::runtime_error(name + ": " + error.what());
  }
  if (found.empty()) return true;
  std::printf("%s: %s\n", name.c_str(), found.c_str());
  return false;
}

int64_t CountFailures(const Options& options) {
  const bool one = options.only >= 0;
  const int64_t first = one ? options.only : 0;
  const int64_t end = one ? first + 1 : options.configurations;
  int64_t failures = 0;
  for (int64_t number = first; number < end; ++number) {
    const Configuration c = ConfigurationOf(number, options.small);
    const std::string name = std::string(options.small ? "--small " : "") +
                             "--only " + std::to_string(number) + " (" +
                             Describe(c) + ")";
    failures += !Holds(name, [&] { return Compare(c); });
  }
  if (!one) {
    failures += !Holds("the other launchers", CompareOthers);
    size_t free = 0, total = 0;
    Require(cudaMemGetInfo(&free, &total));
    const int64_t elements = int64_t{1} << (options.small ? 14 : 31);
    failures += !Holds("large tensors", [&] {
      return CompareLarge(elements, static_cast<int64_t>(free));
    });
  }
  std::printf("%d configurations, %d differ\n", static_cast<int>(end - first),
              static_cast<int>(failures));
  return failures;
}

int Run(char** words) {
  try {
    // Whoever stops the program has read what it found.
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
    const Options options = Parse(words);
    FindGpu();
    const int64_t failures = CountFailures(options);
    if (options.only < 0) PrintSpeed(options.small);
    return failures == 0 ? 0 : 1;
  } catch (const CannotRun& reason) {
    std::fprintf(stderr, "gpu_check: %s\n", reason.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_check: %s\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace gpu_check
}  // namespace keras_radn

int main(int, char** words) { return keras_radn::gpu_check::Run(words + 1); }
