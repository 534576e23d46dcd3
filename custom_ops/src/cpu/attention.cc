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

// A part of an image.
struct Area {
  int64_t y, x, height, width;

  int64_t Size() const { return height * width; }
};

// The rows of an area; those of the image lie as far apart as before.
template <typename T>
Pixels<T> Inside(const Pixels<T>& image, const Area& area) {
  return {image.data + (area.y * image.width + area.x) * image.pixel,
          area.height, image.width, image.pixel};
}

// Copies the first `columns` pixels of each row.
template <typename T>
void CopyRows(const Pixels<const T>& from, int64_t columns,
              const Pixels<T>& to) {
  for (int64_t y = 0; y < from.height; ++y) {
    std::copy_n(from.data + y * from.width * from.pixel, columns * from.pixel,
                to.data + y * to.width * to.pixel);
  }
}

// Blocks of pixels and the windows of keys around them, along one side.
struct Side {
  int64_t pixels, keys, block, pool;

  int64_t Blocks() const { return (pixels + block - 1) / block; }
  int64_t Window() const { return std::min(keys, 2 * block / pool); }
  int64_t Pixels(int64_t i) const {
    return std::min(block, pixels - i * block);
  }
  int64_t Key(int64_t i) const {
    const int64_t step = block / pool;
    return std::clamp<int64_t>(i * step - step / 2, 0, keys - Window());
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
    const int64_t block = window_ / 2;
    for (int64_t image = 0; image < batch; ++image) {
      const auto map = [image, batch](const Tensor& tensor) {
        return Pixels<const B>{Bits(tensor.flat<T>().data()) +
                                   image * (tensor.NumElements() / batch),
                               tensor.dim_size(1), tensor.dim_size(2),
                               tensor.dim_size(3)};
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
    Pixels<const B> features, queries, keys, values;
    Pixels<B> outputs;
  };

  static Attention<B> Sizes(const Image& image, int64_t positions) {
    Attention<B> a{};
    a.positions = positions;
    a.depth = image.keys.pixel, a.channels = image.values.pixel;
    return a;
  }

  static int64_t Cost(const Attention<B>& a, int64_t pixels) {
    return pixels * a.positions * (a.depth + a.channels) / 32 + 1;
  }

  static void AttendToAll(OpKernelContext* context, const Image& image) {
    Attention<B> a = Sizes(image, image.keys.height * image.keys.width);
    std::vector<char> packed(PackedBytes(a));
    a.packed = packed.data();
    a.queries = image.queries.data, a.features = image.features.data;
    a.outputs = image.outputs.data;
    const auto& kernels = BestConvolutions<B>();
    kernels.pack_attention(image.keys.data, image.values.data, a.positions,
                           a.depth, a.channels, packed.data());
    const int64_t pixels = image.features.height * image.features.width;
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
        const Area block{y * down.block, x * across.block, down.Pixels(y),
                         across.Pixels(x)};
        const auto gather = [](const Pixels<const B>& from, const Area& area,
                               std::vector<B>& to) {
          CopyRows(Inside(from, area), area.width,
                   {to.data(), area.height, area.width, from.pixel});
        };
        gather(image.keys, window, keys);
        gather(image.values, window, values);
        kernels.pack_attention(keys.data(), values.data(), a.positions, a.depth,
                               a.channels, packed.data());
        gather(image.queries, block, queries);
        gather(image.features, block, features);
        kernels.attend(a, 0, block.Size(), scratch.data());
        CopyRows<B>({features.data(), block.height, block.width, a.channels},
                    block.width, Inside(image.outputs, block));
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
