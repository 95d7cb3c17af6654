// The factors of a matrix product, as they lie in memory: each number in its place or, where the CPU has units for
// bfloat16, two rounded numbers in the place of one. Sums stay in T: a product of two bfloat16 is exact in fp32.
//
//     as they are            a0      a1      a2          sum += a0 · w0, sum += a1 · w1, …
//     rounded to bfloat16    ã0      ã1      ã2          the same
//     rounded, in pairs      ã0 ã1   ã2 0                sum += ã0 · w0 + ã1 · w1, …
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "vector.h"

// Intel's VDPBF16PS takes the time of four FMAs for the work of two, and only stands in where AMX is refused.
#if defined(GATEFLOW_BF16_PRODUCTS) && defined(GATEFLOW_AVX512) && defined(__AVX512BF16__)
#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__linux__)
#define GATEFLOW_AMX 1
#endif
#if defined(GATEFLOW_AMX) || !(defined(__cooperlake__) || defined(__sapphirerapids__) || defined(__graniterapids__))
#define GATEFLOW_BF16_UNITS 1
#endif
#endif

namespace [[gnu::visibility("hidden")]] gateflow {

#ifdef GATEFLOW_BF16_PRODUCTS
template <class T>
constexpr bool rounds = std::is_same_v<T, float>;
#else
template <class T>
constexpr bool rounds = false;
#endif

#ifdef GATEFLOW_BF16_UNITS
template <class T>
constexpr bool in_pairs = rounds<T>;
#else
template <class T>
constexpr bool in_pairs = false;
#endif

template <class T>
constexpr int factors_per_place = in_pairs<T> ? 2 : 1;

#ifdef GATEFLOW_AMX
constexpr int64_t places_at_once = 16;  // zeros fill them up
#else
constexpr int64_t places_at_once = 1;
#endif

template <class T>
constexpr int64_t line_of_cache = 64 / sizeof(T);

// How many places a product of this depth goes over.
template <class T>
constexpr int64_t places(int64_t depth) {
    constexpr int64_t step = factors_per_place<T> * (rounds<T> ? places_at_once : 1);
    return (depth + step - 1) / step * step / factors_per_place<T>;
}

// Places from one row of rounded operands to the next: whole lines of the cache, and an odd number of them, so that
// equal columns of the rows do not fall upon one set of the cache.
template <class T>
constexpr int64_t row_of_places(int64_t depth) {
    return ((places<T>(depth) + line_of_cache<T> - 1) / line_of_cache<T> | 1) * line_of_cache<T>;
}

// The bits of the nearest bfloat16, ties to even, as the upper half of a float's.
GATEFLOW_INLINE Vec<std::uint32_t> to_bf16(Vec<float> value) {
    const auto whole = bits<Vec<std::uint32_t>>(value);
    return select(value != value, whole | 0x400000, whole + 0x7fff + (whole >> 16 & 1)) & 0xffff0000;
}

// Puts the numbers of column k of a panel, one for each unit, into their places.
template <class T>
GATEFLOW_INLINE void put_rounded(Vec<T> numbers, int64_t k, T* place) {
    if constexpr (!in_pairs<T>)
        store(place, bits<Vec<T>>(to_bf16(numbers)));
    else if (k % 2 == 0)
        store(place, bits<Vec<T>>(to_bf16(numbers) >> 16));
    else
        store(place, bits<Vec<T>>(to_bf16(numbers) | bits<Vec<std::uint32_t>>(load(place))));
}

// Writes a row of factors; zeros fill up the last vector.
GATEFLOW_INLINE void write_factors(const float* from, int64_t depth, float* to) {
    constexpr int L = lanes<float>;
    const auto some = [&](int64_t k) { return load(from + k, static_cast<int>(std::clamp<int64_t>(depth - k, 0, L))); };
#ifdef GATEFLOW_BF16_UNITS
    for (int64_t k = 0; k < depth; k += 2 * L)
        store(to + k / 2, bits<Vec<float>>(_mm512_cvtne2ps_pbh(some(k + L), some(k))));
#else
    int64_t k = 0;
    for (; k + L <= depth; k += L) store(to + k, bits<Vec<float>>(to_bf16(load(from + k))));
    if (k < depth) store(to + k, bits<Vec<float>>(to_bf16(some(k))));
#endif
}

// What is in one place, for every unit of a vector.
template <class T>
GATEFLOW_INLINE Vec<T> splat_place(const T* place) {
    if constexpr (in_pairs<T>) {
        std::int32_t pair;  // the bits of a pair are no number
        std::memcpy(&pair, place, sizeof pair);
        return bits<Vec<T>>(splat(pair));
    } else {
        return splat(*place);
    }
}

template <class T>
GATEFLOW_INLINE Vec<T> add_product(Vec<T> sum, Vec<T> a, Vec<T> b) {
#ifdef GATEFLOW_BF16_UNITS
    if constexpr (in_pairs<T>) return _mm512_dpbf16_ps(sum, bits<__m512bh>(a), bits<__m512bh>(b));
#endif
    return sum + a * b;
}

}  // namespace gateflow
