// Elementary functions of vectors, made for throughput: they run on the accumulators, in the innermost loop.
//
//   float                   exp   log   tanh  sigmoid  softplus  reciprocal
//   largest error, ulp      1.2   1.2   2.65  2.5      3         0.55
//   AVX-512 instructions    13    37    19    17       28        5
//
//   float                   expm1  log1p  erf  erfc  ndtr  sin  cos  pow  hardsigmoid
//   largest error, ulp      1.7    1.7    2.6  6.5   7     1.6  1.6  0.6  1.4
//   AVX-512 instructions    22     52     49   56    65    65   65   180  3
//
// Of functions made of these (`compiler/compositions.py`): silu 3, gelu 7.5, mish 6, elu 1.7, hardswish 3, softsign 2.
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

// From the power, and what is left of x without it.
GATEFLOW_INLINE Exponential exponential(F shifted, F r) {
    F p = r * 0.0013810061f + 0.008368657f;
    p = p * r + 0.04166844f;
    p = p * r + 0.16666521f;
    p = p * r + 0.49999994f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return {shifted - magic, p, bits<U>(shifted)};
}

// x without n log 2: that in two pieces, so that n · the first is exact.
GATEFLOW_INLINE F without_powers(F x, F n) {
    return x - n * 0.693359375f + n * 2.12194440e-4f;
}

GATEFLOW_INLINE Exponential exponential(F x) {
    const F shifted = x * 1.44269504f + magic;
    return exponential(shifted, without_powers(x, shifted - magic));
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

// e^x - 1, by the same h as tanh, from half the scale: 2^128 is no float.
template <class V>
GATEFLOW_INLINE V expm1(V x) {
    if constexpr (!detail::is_float<V>) {
        return detail::per_lane(x, [](Element<V> a) { return std::expm1(a); });
    } else {
        x = detail::clamp(x, -18.0f, 89.0f);
        const V shifted = x * 1.44269504f + detail::magic, r = detail::without_powers(x, shifted - detail::magic);
        const V scale = bits<V>((bits<detail::U>(shifted) - 1) << 23);
        V p = r * 0.0013878514f + 0.008366473f;
        p = p * r + 0.04166724f;
        p = p * r + 0.16666543f;
        p = p * r + 0.49999997f;
        const V h = scale * (r * r * p + r) + (scale - 0.5f);
        return select(abs(x) < 1e-30f, x, h + h);  // half of the smallest numbers would be flushed
    }
}

template <class V>
GATEFLOW_INLINE V log1p(V x) {
    if constexpr (!detail::is_float<V>) {
        return detail::per_lane(x, [](Element<V> a) { return std::log1p(a); });
    } else {
        const V near = 1 + x, y = log(near);
        // What the sum has rounded off x, put back; at -1 and infinity there is nothing to put back.
        const V whole = y + detail::divide(x - (near - 1.0f), near);
        return select((near == 0.0f) | (near == __builtin_inff()), y, whole);
    }
}

namespace detail {

// e^(-s x²), s a power of two. The square is taken in two pieces: its rounding would be multiplied by the exponent.
GATEFLOW_INLINE F gauss(F x, float s) {
    const F high = bits<F>(bits<U>(x) & 0xfffff000), square = high * high * -s;  // of 12 bits, so its square is exact
    const F rest = (x - high) * (x + high) * -s, shifted = (square + rest) * 1.44269504f + magic;
    const auto e = exponential(shifted, without_powers(square, shifted - magic) + rest);
    return e.fraction * power_of_two(e);
}

// e^(x²) erfc(x), 0 <= x <= 9.4.
GATEFLOW_INLINE F scaled_erfc(F x) {
    const F t = divide(splat(1.0f), x + 3.0f), q = (x - 3.0f) * t;
    F p = q * -0.00033050746f - 0.0004931814f;
    p = p * q + 0.0030778958f;
    p = p * q - 0.0012216369f;
    p = p * q - 0.026837854f;
    p = p * q + 0.11952832f;
    p = p * q - 0.31046632f;
    p = p * q + 0.5902283f;
    p = p * q - 0.8833945f;
    p = p * q + 1.0740069f;
    return p * t;
}

// erf(x), |x| < 0.85.
GATEFLOW_INLINE F small_erf(F x) {
    const F square = x * x;
    F p = square * -0.0006315125f + 0.005051094f;
    p = p * square - 0.026802547f;
    p = p * square + 0.112827174f;
    p = p * square - 0.37612572f;
    p = p * square + 1.1283791f;
    return x * p;
}

}  // namespace detail

template <class V>
GATEFLOW_INLINE V erfc(V x) {
    if constexpr (!detail::is_float<V>) {
        return detail::per_lane(x, [](Element<V> a) { return std::erfc(a); });
    } else {
        const V a = detail::smaller(splat(9.3f), abs(x));  // from 9.2 on it is below 2^-126
        const V tail = detail::gauss(a, 1) * detail::scaled_erfc(a);
        return select(a < 0.45f, 1 - detail::small_erf(x), select(x < 0, 2 - tail, tail));
    }
}

// Φ, the share of a normal distribution below x: erfc(-x / √2) / 2.
template <class V>
GATEFLOW_INLINE V ndtr(V x) {
    if constexpr (!detail::is_float<V>) {
        return detail::per_lane(x, [](Element<V> a) { return std::erfc(a * -M_SQRT1_2) / 2; });
    } else {
        const V a = detail::smaller(splat(13.2f), abs(x));  // from 13 on it is below 2^-126
        const V tail = detail::gauss(a, 0.5f) * detail::scaled_erfc(a * 0.70710678f) * 0.5f;
        const V near = detail::small_erf(x * 0.70710678f) * 0.5f + 0.5f;
        return select(a < 0.64f, near, select(x > 0, 1 - tail, tail));
    }
}

template <class V>
GATEFLOW_INLINE V erf(V x) {
    if constexpr (!detail::is_float<V>) {
        return detail::per_lane(x, [](Element<V> a) { return std::erf(a); });
    } else {
        const V a = detail::smaller(splat(4.0f), abs(x)), square = a * a;  // there it rounds to 1
        const auto e = detail::exponential(-square);
        const V far = 1 - e.fraction * detail::power_of_two(e) * detail::scaled_erfc(a);
        return select(a < 0.85f, detail::small_erf(x), select(x < 0, -far, far));
    }
}

namespace detail {

typedef float Half __attribute__((vector_size(GATEFLOW_VECTOR_BYTES / 2)));

// Half of the lanes: as many as there are doubles in a vector.
GATEFLOW_INLINE Vec<double> widened(F x, int half) {
    Half lane[2];
    std::memcpy(lane, &x, sizeof x);
    return __builtin_convertvector(lane[half], Vec<double>);
}

// f of floats in double.
template <class Function, class... Floats>
GATEFLOW_INLINE F in_double(Function f, Floats... x) {
    const Half lane[2] = {__builtin_convertvector(f(widened(x, 0)...), Half),
                          __builtin_convertvector(f(widened(x, 1)...), Half)};
    F y;
    std::memcpy(&y, lane, sizeof y);
    return y;
}

// sin(x + turns π/2), |x| < 2^16.
GATEFLOW_INLINE F sine(F x, std::uint32_t turns) {
    const F shifted = x * 0.636619772f + 12582912.0f, n = shifted - 12582912.0f;
    // π/2 in two pieces: n · the first is exact, and what is left is right to the last place, at the zeros too.
    const auto rest = [](Vec<double> a, Vec<double> k) {
        return a - k * 1.57079632673412561417e+00 - k * 6.07710050650619224932e-11;
    };
    const F r = in_double(rest, x, n);
    const F square = r * r;
    F odd = square * -0.00019514957f + 0.008332158f;
    odd = odd * square - 0.16666655f;
    odd = odd * square * r + r;
    F even = square * 2.443809e-05f - 0.0013887364f;
    even = even * square + 0.041666646f;
    even = even * square * square - square * 0.5f + 1.0f;
    const U quadrant = bits<U>(shifted) + turns;
    const F y = select(bits<I>(quadrant << 31) < 0, even, odd);
    return bits<F>(bits<U>(y) ^ (quadrant >> 1 << 31));
}

// Lanes beyond the range of `sine`, by the C library, which has all of π.
template <class Function>
GATEFLOW_INLINE F with_large(F x, F y, Function function) {
    const I large = abs(x) >= 65536.0f;
    return __builtin_expect(sum(large) != 0, 0) ? select(large, per_lane(x, function), y) : y;
}

}  // namespace detail

template <class V>
GATEFLOW_INLINE V sin(V x) {
    const auto library = [](Element<V> a) { return std::sin(a); };
    if constexpr (!detail::is_float<V>)
        return detail::per_lane(x, library);
    else
        return detail::with_large(x, detail::sine(x, 0), library);
}

template <class V>
GATEFLOW_INLINE V cos(V x) {
    const auto library = [](Element<V> a) { return std::cos(a); };
    if constexpr (!detail::is_float<V>)
        return detail::per_lane(x, library);
    else
        return detail::with_large(x, detail::sine(x, 1), library);
}

namespace detail {

// 2^(p · log2(m 2^n)), m from √½ to √2, in double: the power multiplies what the logarithm is wrong by.
GATEFLOW_INLINE Vec<double> power(Vec<double> n, Vec<double> m, Vec<double> p) {
    using D = Vec<double>;
    const D s = (m - 1.0) / (m + 1.0), square = s * s;
    D log2 = square * 0.2829156808004018 + 0.3199046845069063;
    log2 = log2 * square + 0.41220927507328314;
    log2 = log2 * square + 0.577077942163774;
    log2 = log2 * square + 0.9617966941139429;
    log2 = log2 * square + 2.8853900817778495;
    D y = p * (n + log2 * s);
    y = select(y < -200.0, splat(-200.0), select(y > 200.0, splat(200.0), y));  // far beyond what floats reach
    const D shifted = y + 6755399441055744.0, r = y - (shifted - 6755399441055744.0);
    D e = r * 0.0001534569783530771 + 0.0013400063781203446;
    e = e * r + 0.009618490395865258;
    e = e * r + 0.05550328449614282;
    e = e * r + 0.24022646867770572;
    e = e * r + 0.6931472058874594;
    e = e * r + 1.000000000558605;
    return e * bits<D>((bits<Vec<std::uint64_t>>(shifted) + 1023) << 52);
}

// x^p of a normal or subnormal x above 0.
GATEFLOW_INLINE F power_of_positive(F x, F p) {
    constexpr std::uint32_t root = 0x3f3504f3;  // as in `log`
    const auto tiny = x < 1.17549435e-38f;
    const auto over = bits<U>(select(tiny, x * 8388608.0f, x)) - root;
    const F n = __builtin_convertvector(bits<I>(over) >> 23, F) - select(tiny, splat(23.0f), F{});
    const auto in_pieces = [](Vec<double> a, Vec<double> b, Vec<double> c) { return power(a, b, c); };
    return in_double(in_pieces, n, bits<F>((over & 0x7fffff) + root), p);
}

}  // namespace detail

template <class V>
GATEFLOW_INLINE V pow(V x, V p) {
    if constexpr (!detail::is_float<V>) {
        for (int i = 0; i < lanes<Element<V>>; ++i) x[i] = std::pow(x[i], p[i]);
        return x;
    } else {
        const V one = splat(1.0f), infinity = splat(__builtin_inff()), nan = splat(__builtin_nanf("")), a = abs(x);
        V y = detail::power_of_positive(a, p);
        const auto vanishes = (a == 0.0f) == (p > 0.0f);  // of 0 and infinity, which stay what they are or swap
        y = select((a == 0.0f) | (a == infinity), select(vanishes, V{}, infinity), y);
        y = select(a == 1.0f, one, y);
        // From 2^24 on all floats are even.
        const V most = detail::clamp(p, -16777216.0f, 16777216.0f);
        const auto integer = __builtin_convertvector(most, detail::I);
        const auto whole = __builtin_convertvector(integer, V) == most;
        const auto negative = bits<detail::I>(x) < 0;
        y = select(negative & whole & ((integer & 1) != 0), -y, y);
        y = select((x < 0.0f) & ~whole & (a != infinity), nan, y);
        y = select((x != x) | (p != p), nan, y);
        return select((x == 1.0f) | (p == 0.0f), one, y);  // whatever the other is, NaN too
    }
}

// As torch has it, so that both ends are met exactly.
template <class V>
GATEFLOW_INLINE V lerp(V a, V b, V weight) {
    return select(abs(weight) < Element<V>(0.5), a + weight * (b - a), b - (b - a) * (1 - weight));
}

namespace detail {

// With the sign of b, as Python and torch have it.
template <class T>
GATEFLOW_INLINE T remainder_of(T a, T b) {
    const T rest = std::fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

// The same in double, where the product of a float and a quotient below 2^29 is exact; NaN beyond.
GATEFLOW_INLINE Vec<double> remainder_by_floor(Vec<double> a, Vec<double> b) {
    constexpr double whole = 6755399441055744.0;  // 1.5 · 2^52
    const auto quotient = a / b, nearest = quotient + whole - whole;
    const auto rest = a - b * select(nearest > quotient, nearest - 1.0, nearest);
    // The quotient may have been rounded to the next integer.
    const auto right = select(((rest < 0.0) != (b < 0.0)) & (rest != 0.0), rest + b, rest);
    return select((quotient > -536870912.0) & (quotient < 536870912.0), right, splat(__builtin_nan("")));
}

}  // namespace detail

template <class V>
GATEFLOW_INLINE V remainder(V a, V b) {
    V y = a;
    if constexpr (detail::is_float<V>) {
        y = detail::in_double([](auto p, auto q) { return detail::remainder_by_floor(p, q); }, a, b);
        if (__builtin_expect(sum(y == y) == -lanes<float>, 1)) return y;
    }
    for (int i = 0; i < lanes<Element<V>>; ++i)
        if (!detail::is_float<V> || y[i] != y[i]) y[i] = detail::remainder_of(a[i], b[i]);
    return y;
}

template <class V>
GATEFLOW_INLINE V hardsigmoid(V x) {
    using T = Element<V>;
    return detail::smaller(splat(T(6)), relu(x + T(3))) * T(1.0 / 6);
}

}  // namespace gateflow
