// Memory of the device.

#ifndef KERAS_RADN_GPU_CHECK_DEVICE_H_
#define KERAS_RADN_GPU_CHECK_DEVICE_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "numbers.h"

namespace keras_radn {
namespace gpu_check {

// Null, or what went wrong, in words; as the launchers return it.
inline void Require(const char* error) {
  if (error != nullptr) throw std::runtime_error(error);
}
inline void Require(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

// Errors of a kernel show when it is waited for.
inline void Finish() { Require(cudaDeviceSynchronize()); }

class Memory {
 public:
  explicit Memory(int64_t bytes) { Require(cudaMalloc(&data_, bytes)); }
  ~Memory() { cudaFree(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  template <typename T = char>
  T* data() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

inline std::vector<char> Download(const void* from, int64_t bytes) {
  std::vector<char> host(bytes);
  Require(cudaMemcpy(host.data(), from, bytes, cudaMemcpyDeviceToHost));
  return host;
}

inline void Upload(const std::vector<char>& host, void* to) {
  Require(cudaMemcpy(to, host.data(), host.size(), cudaMemcpyHostToDevice));
}

// A tensor between margins of NaNs: a kernel that reads beyond it gives NaN,
// and one that writes there is found.
class Guarded {
 public:
  Guarded(Type type, const std::vector<double>& values, int64_t shift = 0)
      : type_(type),
        before_(kMargin + shift * Bytes(type)),
        size_(values.size() * Bytes(type)),
        memory_(before_ + size_ + kMargin) {
    Upload(std::vector<char>(before_ + size_ + kMargin, kNan), memory_.data());
    Upload(Encode(type, values), memory_.data() + before_);
  }

  template <typename T>
  T* data() const {
    return memory_.data<T>() + before_ / sizeof(T);
  }

  // The values; throws if a margin was written to.
  std::vector<double> Read() const {
    const std::vector<char> all =
        Download(memory_.data(), before_ + size_ + kMargin);
    const auto first = all.begin() + before_, end = first + size_;
    for (auto byte = all.begin(); byte < all.end(); ++byte) {
      if ((byte < first || byte >= end) && *byte != kNan) {
        throw std::runtime_error("memory beside the tensor was written to");
      }
    }
    return Decode(type_, std::vector<char>(first, end));
  }

 private:
  // More than most rows of a map, by which a wrong index would go too far.
  static constexpr int64_t kMargin = 1 << 16;
  static constexpr char kNan = '\xff';  // of which NaNs of all types consist

  Type type_;
  int64_t before_, size_;
  Memory memory_;
};

}  // namespace gpu_check
}  // namespace keras_radn

#endif  // KERAS_RADN_GPU_CHECK_DEVICE_H_
