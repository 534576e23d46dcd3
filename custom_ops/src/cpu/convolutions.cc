// Compiled once per instruction set, as kernels.cc is.

#include "cpu/convolutions.h"

#include "cpu/attention.h"
#include "cpu/context_sums.h"
#include "cpu/convolution.h"
#include "cpu/filter_gradient.h"
#include "cpu/norms.h"

namespace keras_radn {
namespace KERAS_RADN_ISA {

// `extern`, for a constant of a namespace would be local to this file.
#define CONVOLUTIONS(T)                                                \
  extern const Convolutions<T> kConvolutions##T;                       \
  const Convolutions<T> kConvolutions##T = {PackConvolution<T>,        \
                                            Convolve<T, T, false>,     \
                                            Convolve<T, float, false>, \
                                            Convolve<T, float, true>,  \
                                            PackDeconvolution<T>,      \
                                            Deconvolve<T>,             \
                                            BiasReluPixels<T>,         \
                                            PackAttention<T>,          \
                                            Attend<T>,                 \
                                            FilterGradient<T>,         \
                                            Moments<T>,                \
                                            Rectify<T>,                \
                                            RectifyGradient<T>,        \
                                            RectifiedSums<T>,          \
                                            RectifiedGradient<T>,      \
                                            AddRectified<T>,           \
                                            CenterGradient<T>,         \
                                            SumWindow<T>,              \
                                            AddToPixels<T>}
CONVOLUTIONS(float);
CONVOLUTIONS(Bfloat16);
#undef CONVOLUTIONS

}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn
