// Vectors of channels: loads and stores that widen and narrow the types.
//
// Included by kernels.cc only, once per instruction set.

#ifndef KERAS_RADN_CPU_LANES_H_
#define KERAS_RADN_CPU_LANES_H_

#include <cstdint>
#include <cstring>

#include "sampling.h"

#if defined(__AVX512BW__) || defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace keras_radn {
namespace KERAS_RADN_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <typename A, int kLanes>
struct Vector {
  typedef A Type __attribute__((vector_size(kLanes * sizeof(A))));
};
template <typename A, int kLanes>
using VectorOf = typename Vector<A, kLanes>::Type;

template <typename To, typename From>
inline To BitCast(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

template <int kLanes>
struct Io {
  using F = VectorOf<float, kLanes>;
  using D = VectorOf<double, kLanes>;
  using I = VectorOf<int32_t, kLanes>;
  using U = VectorOf<uint32_t, kLanes>;
  using S = VectorOf<uint16_t, kLanes>;

  static F Load(const float* p) { return Read<F>(p); }
  static D Load(const double* p) { return Read<D>(p); }

  static F Load(const Bfloat16* p) {
    return BitCast<F>(__builtin_convertvector(Read<S>(p), U) << 16);
  }

  // Without denormal floats, which TensorFlow's threads flush to zero.
  static F Load(const Half* p) {
    const U half = __builtin_convertvector(Read<S>(p), U);
    const U sign = (half & 0x8000u) << 16;
    const U bits = half & 0x7fffu;
    const U normal = (bits << 13) + (112u << 23);
    const F small = __builtin_convertvector(BitCast<I>(bits), F) * 0x1p-24f;
    U result = Select(bits < 0x0400u, BitCast<U>(small), normal);
    result = Select(bits >= 0x7c00u, normal + (112u << 23), result);
    return BitCast<F>(result | sign);
  }

  static void Store(const F& v, float* p) { memcpy(p, &v, sizeof(v)); }
  static void Store(const D& v, double* p) { memcpy(p, &v, sizeof(v)); }

  static void Store(const F& v, Bfloat16* p) {
#ifdef __AVX512BF16__
    if constexpr (kLanes == 16) {
      const __m256bh narrow = _mm512_cvtneps_pbh(v);
      memcpy(static_cast<void*>(p), &narrow, sizeof(narrow));
      return;
    }
#endif
    Write(Round(v) >> 16, p);
  }

  // To nearest, ties to even, as everywhere in TensorFlow.
  static void Store(const F& v, Half* p) {
    const U bits = BitCast<U>(v);
    const U sign = (bits >> 16) & 0x8000u;
    const U magnitude = bits & 0x7fffffffu;
    const U normal =
        (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    const F scaled = BitCast<F>(magnitude) * 0x1p24f + 0x1p23f;
    const U small = BitCast<U>(scaled) - 0x4b000000u;
    U result = Select(magnitude < 0x38800000u, small, normal);
    result = Select(magnitude >= 0x477ff000u, U{} + 0x7c00u, result);
    result = Select(magnitude > 0x7f800000u, U{} + 0x7e00u, result);
    Write(result | sign, p);
  }

  // Bits of the nearest bfloat16, ties to even, in the upper half.
  static U Round(const F& v) {
    const U bits = BitCast<U>(v);
    const U rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
    return Select((bits & 0x7fffffffu) > 0x7f800000u, bits | 0x400000u,
                  rounded);
  }

  template <typename V, typename T>
  static V Read(const T* p) {
    V v;
    memcpy(&v, p, sizeof(v));
    return v;
  }
  template <typename T>
  static void Write(const U& v, T* p) {
    const S narrow = __builtin_convertvector(v, S);
    memcpy(p, &narrow, sizeof(narrow));
  }
  template <typename Condition>
  static U Select(const Condition& condition, const U& yes, const U& no) {
    const U all = BitCast<U>(condition);
    return (yes & all) | (no & ~all);
  }
};

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define KERAS_RADN_SHUFFLE
#endif
#endif

// Sum of the upper and the lower half.
template <typename A, int kLanes>
inline VectorOf<A, kLanes / 2> Halve(const VectorOf<A, kLanes>& v) {
#ifdef KERAS_RADN_SHUFFLE
  // memcpy would take the address of `v`, which then stays in memory.
  if constexpr (kLanes == 16) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
           __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  } else if constexpr (kLanes == 8) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3) +
           __builtin_shufflevector(v, v, 4, 5, 6, 7);
  } else if constexpr (kLanes == 4) {
    return __builtin_shufflevector(v, v, 0, 1) +
           __builtin_shufflevector(v, v, 2, 3);
  }
#endif
  VectorOf<A, kLanes / 2> halves[2];
  memcpy(halves, &v, sizeof(halves));
  return halves[0] + halves[1];
}

template <typename A, int kLanes>
inline A HorizontalSum(const VectorOf<A, kLanes>& v) {
  if constexpr (kLanes == 1) {
    return v[0];
  } else if constexpr (kLanes == 2) {
    return v[0] + v[1];
  } else {
    return HorizontalSum<A, kLanes / 2>(Halve<A, kLanes>(v));
  }
}

// What lies below `floor` becomes 0; NaN stays.
template <typename V, typename C>
inline V Relu(const V& v, C floor) {
  using I = decltype(v < floor);
  return BitCast<V>(BitCast<I>(v) & ~(v < floor));
}

// max(0, input * scale + offset), per channel.
template <int kLanes, typename T, typename C, typename O>
inline void AffineRelu(const T* input, const C* scale, const C* offset,
                       O* output, int64_t depth) {
  int64_t c = 0;
  for (; c + kLanes <= depth; c += kLanes) {
    Io<kLanes>::Store(
        Relu(Io<kLanes>::Load(input + c) * Io<kLanes>::Load(scale + c) +
                 Io<kLanes>::Load(offset + c),
             C(0)),
        output + c);
  }
  if constexpr (kLanes > 1) {
    if (c < depth) {
      AffineRelu<kLanes / 2>(input + c, scale + c, offset + c, output + c,
                             depth - c);
    }
  }
}

// The first `count` elements, fewer than 2 * kHalf.
template <int kHalf, typename T>
inline void CopySome(const T* from, T* to, int64_t count) {
  if (count & kHalf) {
    memcpy(to, from, kHalf * sizeof(T));
    from += kHalf, to += kHalf;
  }
  if constexpr (kHalf > 1) CopySome<kHalf / 2>(from, to, count);
}

// Some channels of a pixel, in registers: kLanes of them, or, if kPaired, twice
// as many bfloat16, those of even and of odd index apart. These need no
// shuffles: a bfloat16 is the upper half of a float.
template <typename T, int kLanes, bool kPaired>
struct Packet {
  using C = typename Wide<T>::Type;
  using V = VectorOf<C, kLanes>;
  static constexpr int kParts = kPaired ? 2 : 1;
  static constexpr int kChannels = kLanes * kParts;

  V parts[kParts] = {};

  static Packet Load(const T* p) {
    Packet packet;
    if constexpr (kPaired) {
      using U = VectorOf<uint32_t, kLanes>;
      const U bits = Io<kLanes>::template Read<U>(p);
      packet.parts[0] = BitCast<V>(bits << 16);
      packet.parts[1] = BitCast<V>(bits & 0xffff0000u);
    } else {
      packet.parts[0] = Io<kLanes>::Load(p);
    }
    return packet;
  }

  void Store(T* p) const {
    if constexpr (kPaired) {
      const auto bits = (Io<kLanes>::Round(parts[0]) >> 16) |
                        (Io<kLanes>::Round(parts[1]) & 0xffff0000u);
      memcpy(static_cast<void*>(p), &bits, sizeof(bits));
    } else {
      Io<kLanes>::Store(parts[0], p);
    }
  }

  // Adds weight * other, or weight * the channels at p.
  void Add(C weight, const Packet& other) {
    for (int i = 0; i < kParts; ++i) parts[i] += weight * other.parts[i];
  }
  void Add(C weight, const T* p) { Add(weight, Load(p)); }

  // Adds the products with another packet, or with the channels at p.
  void Add(const Packet& factor, const Packet& other) {
    for (int i = 0; i < kParts; ++i) {
      parts[i] += factor.parts[i] * other.parts[i];
    }
  }
  void Add(const Packet& factor, const T* p) { Add(factor, Load(p)); }

  void Add(const Packet& other) {
    for (int i = 0; i < kParts; ++i) parts[i] += other.parts[i];
  }

  C Sum() const {
    if constexpr (kPaired) {
      return HorizontalSum<C, kLanes>(parts[0] + parts[1]);
    } else {
      return HorizontalSum<C, kLanes>(parts[0]);
    }
  }
};

// The packets for a number of channels: wide ones first, then ever narrower
// ones for what is left.
template <typename T, int kLanes, bool kPaired>
struct NextPacket {
  using Type = Packet<T, kLanes / 2, kPaired>;
};
template <typename T>
struct NextPacket<T, 1, true> {
  using Type = Packet<T, 1, false>;
};
template <typename T>
struct NextPacket<T, 1, false> {
  using Type = void;
};

#ifdef __AVX512BW__
// The first `count` channels of a packet. More than half of them take as long
// as all, and narrower packets for what is left of the half take longer.
class PartOfPacket {
 public:
  using P = Packet<Bfloat16, 16, true>;
  static constexpr int kChannels = P::kChannels;

  explicit PartOfPacket(int64_t count) : mask_((1u << count) - 1) {}

  PartOfPacket Load(const Bfloat16* p) const {
    PartOfPacket packet = *this;
    const auto bits =
        BitCast<VectorOf<uint32_t, 16>>(_mm512_maskz_loadu_epi16(mask_, p));
    packet.all_.parts[0] = BitCast<P::V>(bits << 16);
    packet.all_.parts[1] = BitCast<P::V>(bits & 0xffff0000u);
    return packet;
  }
  void Store(Bfloat16* p) const {
    Bfloat16 all[kChannels];
    all_.Store(all);
    _mm512_mask_storeu_epi16(p, mask_, _mm512_loadu_si512(all));
  }
  void Add(float weight, const Bfloat16* p) { all_.Add(weight, Load(p).all_); }
  void Add(const PartOfPacket& factor, const Bfloat16* p) {
    all_.Add(factor.all_, Load(p).all_);
  }
  void Add(const PartOfPacket& other) { all_.Add(other.all_); }
  float Sum() const { return all_.Sum(); }

 private:
  __mmask32 mask_;
  P all_;
};
#else
class PartOfPacket;
#endif

// Whether there is a `PartOfPacket` of a packet.
template <typename P>
struct HasParts {
  static constexpr bool kValue = false;
};
#ifdef __AVX512BW__
template <>
struct HasParts<PartOfPacket::P> {
  static constexpr bool kValue = true;
};
#endif

template <typename T>
struct IsPaired {
  static constexpr bool kValue = false;
};
template <>
struct IsPaired<Bfloat16> {
  static constexpr bool kValue = true;
};
template <typename T>
using WidestPacket = Packet<T, kVectorBytes / sizeof(typename Wide<T>::Type),
                            IsPaired<T>::kValue>;

}  // namespace
}  // namespace KERAS_RADN_ISA
}  // namespace keras_radn

#endif  // KERAS_RADN_CPU_LANES_H_
