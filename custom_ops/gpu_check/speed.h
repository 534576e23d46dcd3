// Times of the kernels for the shapes of RADN.

#ifndef KERAS_RADN_GPU_CHECK_SPEED_H_
#define KERAS_RADN_GPU_CHECK_SPEED_H_

namespace keras_radn {
namespace gpu_check {

// Prints a table. `small` shapes are only there to run this text.
void PrintSpeed(bool small);

}  // namespace gpu_check
}  // namespace keras_radn

#endif  // KERAS_RADN_GPU_CHECK_SPEED_H_
