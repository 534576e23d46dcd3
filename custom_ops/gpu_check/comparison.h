// The kernels on the device against the loops on the host.

#ifndef KERAS_RADN_GPU_CHECK_COMPARISON_H_
#define KERAS_RADN_GPU_CHECK_COMPARISON_H_

#include <cstdint>
#include <string>

#include "configuration.h"

namespace keras_radn {
namespace gpu_check {

// Runs the op and its gradients. Returns what differs, or nothing; throws
// std::runtime_error if the device reports an error.
std::string Compare(const Configuration& configuration);

// Does the same for the launchers without geometry: Narrow, Zero, Copy.
std::string CompareOthers();

// Checks indices in maps and outputs of more than `elements` elements. Parts
// that do not fit into `memory`, the free bytes of the device, are left out,
// which is printed.
std::string CompareLarge(int64_t elements, int64_t memory);

}  // namespace gpu_check
}  // namespace keras_radn

#endif  // KERAS_RADN_GPU_CHECK_COMPARISON_H_
