// The gradient of a sum of samples, for ops that have one inside of them.

#ifndef KERAS_RADN_CPU_LAUNCH_H_
#define KERAS_RADN_CPU_LAUNCH_H_

#include "sampling.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace keras_radn {

// As Launch::SumGradient, for float and bfloat16.
template <typename T>
void SumGradient(tensorflow::OpKernelContext* context, const Samples<T>&,
                 const T* gradient, T* map_gradient,
                 typename Wide<T>::Type* offset_gradient,
                 typename Wide<T>::Type* mask_gradient);

}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_LAUNCH_H_
