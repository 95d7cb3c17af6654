// Elementary functions of vectors, made for throughput: they run on the accumulators, in the innermost loop.
//
//   float                   exp   log   tanh  sigmoid  softplus  reciprocal
//   largest error, ulp      1.2   1.2   2.65  2.5      3         0.55
//   AVX-512 instructions    13    37    19    17       28        5
//
// Measured over all floats against double (`make check-native`), fused and not, with subnormals flushed to 0, as
// kernels run. NaN gives NaN and infinity its limit; a result below 2^-126 may be 0, or that small. double takes the C
// library.
//
// The polynomials have the least largest relative error; tests/backends/cpu/native/minimax.py finds them.
#pragma once

#include <cmath>

#include "vector.h"

namespace [[gnu::visibility("hidden")]] gateflow {

namespace detail {

using F = Vec<float>;
using I = Mask<float>;
using U = Vec<std::uint32_t>;

template <class V, class Function>
GATEFLOW_INLINE V per_lane(V x, Function function) {
    for (int i = 0; i < lanes<Element<V>>; ++i) x[i] = function(x[i]);
    return x;
}

#ifdef GATEFLOW_AVX512
constexpr __mmask16 all = 0xffff;  // intrinsics without a mask draw GCC's warning of uninitialized values
#endif

template <class V>
constexpr bool is_float = std::is_same_v<Element<V>, float>;

// a < b ? a : b and a > b ? a : b; b where one is NaN. GCC finds the instruction only where neither is a constant.
template <class V>
GATEFLOW_INLINE V smaller(V a, V b) {
#if defined(GATEFLOW_AVX512)
    if constexpr (is_float<V>) return _mm512_maskz_min_ps(all, a, b);
#elif defined(__AVX__) && GATEFLOW_VECTOR_BYTES == 32
    if constexpr (is_float<V>) return _mm256_min_ps(a, b);
#elif defined(__SSE2__) && GATEFLOW_VECTOR_BYTES == 16
    if constexpr (is_float<V>) return _mm_min_ps(a, b);
#endif
    return select(a < b, a, b);
}

template <class V>
GATEFLOW_INLINE V larger(V a, V b) {
#if defined(GATEFLOW_AVX512)
    if constexpr (is_float<V>) return _mm512_maskz_max_ps(all, a, b);
#elif defined(__AVX__) && GATEFLOW_VECTOR_BYTES == 32
    if constexpr (is_float<V>) return _mm256_max_ps(a, b);
#elif defined(__SSE2__) && GATEFLOW_VECTOR_BYTES == 16
    if constexpr (is_float<V>) return _mm_max_ps(a, b);
#endif
    return select(a > b, a, b);
}

// NaN stays NaN.
GATEFLOW_INLINE F clamp(F x, float low, float high) {
    return smaller(splat(high), larger(splat(low), x));
}

#ifdef GATEFLOW_AVX512
// One Newton step from a guess of 1 / b to a / b. Fused by name: a product alone could be so small as to be flushed.
GATEFLOW_INLINE F newton(F a, F b, F quotient, F guess) {
    return _mm512_fmadd_ps(guess, _mm512_fnmadd_ps(b, quotient, a), quotient);
}
#endif

// a / b for 2^-100 < |b| < 2^126: on AVX-512 the division takes 16 cycles, this takes 3.
GATEFLOW_INLINE F divide(F a, F b) {
#ifdef GATEFLOW_AVX512
    const F guess = _mm512_maskz_rcp14_ps(all, b);
    return newton(a, b, a * guess, guess);
#else
    return a / b;
#endif
}

// 1.5 · 2^23, so that a sum with it is rounded to an integer, plus the bias of the exponent.
constexpr float magic = 12582912 + 127;

// e^x = 2^power · fraction, |x| < 2^21: the power as an integer in the low bits of a float, one shift from 2^power.
struct Exponential {
    F power, fraction;
    U shifted;
};

GATEFLOW_INLINE Exponential exponential(F x) {
    const F shifted = x * 1.44269504f + magic, n = shifted - magic;
    const F r = x - n * 0.693359375f + n * 2.12194440e-4f;  // ln 2 in two pieces, so that n · the first is exact
    F p = r * 0.0013810061f + 0.008368657f;
    p = p * r + 0.04166844f;
    p = p * r + 0.16666521f;
    p = p * r + 0.49999994f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return {n, p, bits<U>(shifted)};
}

GATEFLOW_INLINE F two_to_the(I n) {
    return bits<F>(bits<U>(n + 127) << 23);
}

// 2^power for -126 <= power <= 127.
GATEFLOW_INLINE F power_of_two(Exponential e) {
    return bits<F>(e.shifted << 23);
}

}  // namespace detail

template <class V>
GATEFLOW_INLINE V exp(V x) {
    if constexpr (!detail::is_float<V>) {
        return detail::per_lane(x, [](Element<V> a) { return std::exp(a); });
    } else {
        // e^-104 rounds to 0 and e^89 to infinity: beyond, the result stays the same.
        const auto e = detail::exponential(detail::clamp(x, -104.0f, 89.0f));
#ifdef GATEFLOW_AVX512
        return _mm512_maskz_scalef_ps(detail::all, e.fraction, e.power);
#else
        // One factor alone cannot be as small or as large as the result.
        const auto n = bits<detail::I>(e.shifted - bits<detail::U>(splat(detail::magic))), half = n >> 1;
        return e.fraction * detail::two_to_the(half) * detail::two_to_the(n - half);
#endif
    }
}

// 1 / (1 + e^-x). Below -88.37 it is less than 2^-127.
template <class V>
GATEFLOW_INLINE V sigmoid(V x) {
    if constexpr (!detail::is_float<V>) {
        return 1 / (1 + exp(-x));
    } else {
        // These bounds keep the power within -126 to 127, as `power_of_two` needs.
        const auto e = detail::exponential(-detail::clamp(x, -88.37f, 87.3f));
        return detail::divide(splat(1.0f), e.fraction * detail::power_of_two(e) + 1.0f);
    }
}

// h / (h + 1), where h = (e^2x - 1) / 2 = 2^n (e^2r - 1) / 2 + (2^n - 1) / 2 keeps its relative accuracy at 0.
template <class V>
GATEFLOW_INLINE V tanh(V x) {
    if constexpr (!detail::is_float<V>) {
        return detail::per_lane(x, [](Element<V> a) { return std::tanh(a); });
    } else {
        x = detail::clamp(x, -9.02f, 9.02f);  // there it rounds to 1
        const V shifted = x * 2.88539008f + detail::magic, n = shifted - detail::magic;
        const V r = x - n * 0.34657359f, scale = bits<V>(bits<detail::U>(shifted) << 23);
        V p = r * 0.044411246f + 0.13386357f;
        p = p * r + 0.33333794f;
        p = p * r + 0.66666174f;
        p = p * r + 0.99999994f;
        const V h = scale * (r * r * p + r) + (scale * 0.5f - 0.5f);
        return detail::divide(h, h + 1.0f);
    }
}

template <class V>
GATEFLOW_INLINE V log(V x) {
    if constexpr (!detail::is_float<V>) {
        return detail::per_lane(x, [](Element<V> a) { return std::log(a); });
    } else {
        constexpr float least = 1.17549435e-38f, infinity = __builtin_inff();
        const auto tiny = x < least;
        const V normal = select(tiny, x * 8388608.0f, x);  // by 2^23
        // x = 2^n (1 + f) with √½ <= 1 + f < √2: with the bits of √½ taken off, n is the exponent.
        constexpr std::uint32_t root = 0x3f3504f3;
        const auto over = bits<detail::U>(normal) - root;
        const V f = bits<V>((over & 0x7fffff) + root) - 1.0f;
        const V n = __builtin_convertvector(bits<detail::I>(over) >> 23, V) - select(tiny, splat(23.0f), V{});
        V p = f * 0.087083906f - 0.14270948f;
        p = p * f + 0.149138f;
        p = p * f - 0.16577165f;
        p = p * f + 0.19963104f;
        p = p * f - 0.2500135f;
        p = p * f + 0.3333391f;
        const V square = f * f, tail = square * f * p - n * 2.12194440e-4f - square * 0.5f;
        V y = n * 0.693359375f + (f + tail);
        y = select(x == 0.0f, splat(-infinity), y);
        y = select(x < 0.0f, splat(__builtin_nanf("")), y);
        return select((x == infinity) | (x != x), x, y);
    }
}

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), at no x cut short.
template <class V>
GATEFLOW_INLINE V softplus(V x) {
    const V positive = select(x > 0, x, V{}), negative = select(x > 0, -x, x);
    if constexpr (!detail::is_float<V>) {
        const V tail = detail::per_lane(negative, [](Element<V> a) { return std::log1p(std::exp(a)); });
        return positive + tail;
    } else {
        // The least power that `power_of_two` has is -126, that of e^-87.34.
        const auto e = detail::exponential(detail::larger(splat(-87.34f), negative));
        const V t = e.fraction * detail::power_of_two(e);
        V p = t * -0.0033184474f + 0.02020448f;
        p = p * t - 0.057664268f;
        p = p * t + 0.10680539f;
        p = p * t - 0.15355387f;
        p = p * t + 0.19695398f;
        p = p * t - 0.24958587f;
        p = p * t + 0.33330512f;
        p = p * t - 0.4999993f;
        p = p * t + 1.0f;
        return p * t + positive;
    }
}

template <class V>
GATEFLOW_INLINE V sqrt(V x) {
#if defined(GATEFLOW_AVX512)
    if constexpr (detail::is_float<V>) return _mm512_maskz_sqrt_ps(detail::all, x);
#elif defined(__AVX__) && GATEFLOW_VECTOR_BYTES == 32
    if constexpr (detail::is_float<V>) return _mm256_sqrt_ps(x);
#elif defined(__SSE2__) && GATEFLOW_VECTOR_BYTES == 16
    if constexpr (detail::is_float<V>) return _mm_sqrt_ps(x);
#endif
    return detail::per_lane(x, [](Element<V> a) { return std::sqrt(a); });
}

template <class V>
GATEFLOW_INLINE V abs(V x) {
    using Bits = Mask<Element<V>>;
    return bits<V>(bits<Bits>(x) & ~bits<Bits>(splat(-Element<V>(0))));
}

// 1 / x, infinity for 0 and 0 for infinity.
template <class V>
GATEFLOW_INLINE V reciprocal(V x) {
#ifdef GATEFLOW_AVX512
    if constexpr (detail::is_float<V>) {
        const V guess = _mm512_maskz_rcp14_ps(detail::all, x), better = detail::newton(splat(1.0f), x, guess, guess);
        return select(better == better, better, guess);  // 0 · infinity: the guess was right already
    }
#endif
    return 1 / x;
}

// As in torch: where one of the two is NaN, so is the result.
template <class V>
GATEFLOW_INLINE V minimum(V a, V b) {
    return select(a != a, a, detail::smaller(a, b));
}

template <class V>
GATEFLOW_INLINE V maximum(V a, V b) {
    return select(a != a, a, detail::larger(a, b));
}

template <class V>
GATEFLOW_INLINE V relu(V x) {
    return detail::larger(V{}, x);
}

}  // namespace gateflow
