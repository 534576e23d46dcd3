// The OpKernel of the self-attention, for inference.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cpu/convolve.h"
#include "cpu/large_pages.h"
#include "deformable_kernels.h"

namespace keras_radn {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// Pixels or keys of a map, [height, width, depth].
template <typename T>
struct Map {
  T* data;
  int64_t height, width, depth;

  T* Row(int64_t y, int64_t x) const { return data + (y * width + x) * depth; }
  int64_t Size() const { return height * width; }
};

// A part of a map.
struct Area {
  int64_t y, x, height, width;

  int64_t Size() const { return height * width; }
};

// Copies a part of a map to or from where it lies without gaps.
template <typename T>
void Gather(const Map<const T>& map, const Area& area, T* out) {
  for (int64_t y = 0; y < area.height; ++y) {
    const T* row = map.Row(area.y + y, area.x);
    out = std::copy(row, row + area.width * map.depth, out);
  }
}
template <typename T>
void Scatter(const T* in, const Area& area, const Map<T>& map) {
  for (int64_t y = 0; y < area.height; ++y, in += area.width * map.depth) {
    std::copy(in, in + area.width * map.depth, map.Row(area.y + y, area.x));
  }
}

// Blocks of pixels and the windows of keys around them, along one side.
struct Side {
  int64_t pixels, keys, block, pool;

  int64_t Blocks() const { return (pixels + block - 1) / block; }
  int64_t Window() const { return std::min(keys, 2 * block / pool); }
  int64_t Pixel(int64_t i) const { return i * block; }
  int64_t Pixels(int64_t i) const {
    return std::min(block, pixels - i * block);
  }
  int64_t Key(int64_t i) const {
    const int64_t step = block / pool;
    return std::clamp<int64_t>(i * step - step / 2, 0,
                               std::max<int64_t>(keys - 2 * step, 0));
  }
};

template <typename T>
class AttentionOp : public tensorflow::OpKernel {
 public:
  using B = typename BitsOf<T>::Type;

  explicit AttentionOp(tensorflow::OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("window_size", &window_));
    OP_REQUIRES_OK(context, context->GetAttr("pool_size", &pool_));
    OP_REQUIRES(context, window_ % (2 * pool_) == 0,
                absl::InvalidArgumentError(absl::StrCat(
                    "window_size must be a multiple of twice the pool_size. "
                    "Received: ",
                    window_, " and ", pool_)));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& features = context->input(0);
    const Tensor& queries = context->input(1);
    const Tensor& keys = context->input(2);
    const Tensor& values = context->input(3);
    const TensorShape& shape = features.shape();
    OP_REQUIRES_OK(context, CheckImages(shape));
    OP_REQUIRES_OK(context, CheckImages(keys.shape()));
    const int64_t batch = shape.dim_size(0), height = shape.dim_size(1);
    const int64_t width = shape.dim_size(2), channels = shape.dim_size(3);
    const int64_t rows = keys.dim_size(1), columns = keys.dim_size(2);
    const int64_t depth = keys.dim_size(3);
    OP_REQUIRES_OK(context, CheckShape("queries", queries.shape(),
                                       {batch, height, width, depth}));
    OP_REQUIRES_OK(context, CheckShape("keys", keys.shape(),
                                       {batch, rows, columns, depth}));
    OP_REQUIRES_OK(context, CheckShape("values", values.shape(),
                                       {batch, rows, columns, channels}));
    const auto pooled = [this](int64_t side) {
      return (side + pool_ - 1) / pool_;
    };
    OP_REQUIRES(
        context,
        window_ == 0 || (rows == pooled(height) && columns == pooled(width)),
        absl::InvalidArgumentError(absl::StrCat(
            "keys must be the pixels, pooled by ", pool_, ". Received: ",
            keys.shape().DebugString(), " for ", shape.DebugString())));
    Tensor* outputs;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &outputs));
    if (outputs->NumElements() == 0) return;
    OP_REQUIRES(context, rows * columns > 0,
                absl::InvalidArgumentError(
                    absl::StrCat("keys must have some pixels. Received: ",
                                 keys.shape().DebugString())));
    UseLargePages(*outputs);
    const int64_t block = window_ > 0 ? window_ / 2 : 0;
    for (int64_t image = 0; image < batch; ++image) {
      const auto map = [image](const Tensor& tensor) {
        const int64_t size[] = {tensor.dim_size(1), tensor.dim_size(2),
                                tensor.dim_size(3)};
        return Map<const B>{
            Bits(tensor.flat<T>().data()) + image * size[0] * size[1] * size[2],
            size[0], size[1], size[2]};
      };
      const Image maps{
          map(features),
          map(queries),
          map(keys),
          map(values),
          {Bits(outputs->flat<T>().data()) + image * height * width * channels,
           height, width, channels}};
      if (window_ == 0 || std::max(height, width) <= window_) {
        AttendToAll(context, maps);
      } else {
        AttendToWindows(context, maps, {height, rows, block, pool_},
                        {width, columns, block, pool_});
      }
    }
  }

 private:
  struct Image {
    Map<const B> features, queries, keys, values;
    Map<B> outputs;
  };

  static Attention<B> Sizes(const Image& image, int64_t positions) {
    Attention<B> a{};
    a.positions = positions;
    a.depth = image.keys.depth, a.channels = image.values.depth;
    return a;
  }

  static int64_t Cost(const Attention<B>& a, int64_t pixels) {
    return pixels * a.positions * (a.depth + a.channels) / 32 + 1;
  }

  static void AttendToAll(OpKernelContext* context, const Image& image) {
    Attention<B> a = Sizes(image, image.keys.Size());
    std::vector<char> packed(PackedBytes(a));
    a.packed = packed.data();
    a.queries = image.queries.data, a.features = image.features.data;
    a.outputs = image.outputs.data;
    const auto& kernels = BestConvolutions<B>();
    kernels.pack_attention(image.keys.data, image.values.data, a.positions,
                           a.depth, a.channels, packed.data());
    const int64_t pixels = image.features.Size();
    const int64_t tiles = (pixels + kAttentionTile - 1) / kAttentionTile;
    Parallel(context, tiles, Cost(a, kAttentionTile),
             [&](int64_t begin, int64_t end) {
               std::vector<char> scratch(ScratchBytes(a));
               kernels.attend(a, begin * kAttentionTile,
                              std::min(pixels, end * kAttentionTile),
                              scratch.data());
             });
  }

  static void AttendToWindows(OpKernelContext* context, const Image& image,
                              const Side& down, const Side& across) {
    const auto& kernels = BestConvolutions<B>();
    const Attention<B> sizes = Sizes(image, down.Window() * across.Window());
    const int64_t pixels = down.block * across.block;
    const auto attend = [&](int64_t begin, int64_t end) {
      Attention<B> a = sizes;
      std::vector<char> packed(PackedBytes(a)), scratch(ScratchBytes(a));
      std::vector<B> keys(a.positions * a.depth), queries(pixels * a.depth);
      std::vector<B> values(a.positions * a.channels);
      std::vector<B> features(pixels * a.channels);
      a.packed = packed.data();
      a.queries = queries.data();
      a.features = a.outputs = features.data();
      for (int64_t i = begin; i < end; ++i) {
        const int64_t y = i / across.Blocks(), x = i % across.Blocks();
        const Area window{down.Key(y), across.Key(x), down.Window(),
                          across.Window()};
        const Area block{down.Pixel(y), across.Pixel(x), down.Pixels(y),
                         across.Pixels(x)};
        Gather(image.keys, window, keys.data());
        Gather(image.values, window, values.data());
        kernels.pack_attention(keys.data(), values.data(), a.positions, a.depth,
                               a.channels, packed.data());
        Gather(image.queries, block, queries.data());
        Gather(image.features, block, features.data());
        kernels.attend(a, 0, block.Size(), scratch.data());
        Scatter(features.data(), block, image.outputs);
      }
    };
    Parallel(context, down.Blocks() * across.Blocks(), Cost(sizes, pixels),
             attend);
  }

  int64_t window_, pool_;
};

#define REGISTER(type)                                        \
  REGISTER_KERNEL_BUILDER(Name("KerasRadn>Attention")         \
                              .Device(tensorflow::DEVICE_CPU) \
                              .TypeConstraint<type>("T"),     \
                          AttentionOp<type>)
REGISTER(float);
REGISTER(Eigen::bfloat16);
#undef REGISTER

}  // namespace
}  // namespace keras_radn
