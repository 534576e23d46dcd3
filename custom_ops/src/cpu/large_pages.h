// Large pages for what an OpKernel allocates.

#ifndef KERAS_RADN_CPU_LARGE_PAGES_H_
#define KERAS_RADN_CPU_LARGE_PAGES_H_

#include <cstdint>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "tensorflow/core/framework/tensor.h"

namespace keras_radn {

// For a tensor that nobody has written to. Memory is fresh at each call, and
// the faults of small pages take several times as long as writing them.
inline void UseLargePages(const tensorflow::Tensor& tensor) {
#ifdef MADV_HUGEPAGE
  constexpr uintptr_t kPage = 2 << 20;
  const auto begin = reinterpret_cast<uintptr_t>(tensor.tensor_data().data());
  const uintptr_t first = (begin + kPage - 1) / kPage * kPage;
  const uintptr_t last = (begin + tensor.TotalBytes()) / kPage * kPage;
  // Only advice: without large pages all works, too.
  if (first < last) {
    madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
  }
#endif
}

}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_LARGE_PAGES_H_
