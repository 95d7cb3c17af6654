// Vectors of float and double as one type, whatever the machine: GCC's and Clang's vector extensions.
//
//   Vec<float> a = load(p), b = splat(0.5f);        a * b + a   a < b ? …   lanes<float>
//   store(q, select(a < b, a, b));                  load(p, 3), store(q, a, 3): the first three lanes only
//
// The width is GATEFLOW_VECTOR_BYTES, by default that of the instructions the compiler may use. Arithmetic and
// comparisons are the operators of the extension; a comparison gives a Mask, all bits of a lane set or none.
//
// Nothing of the namespace leaves its library: a process loads one per cell and precision, and the linker would take
// the static data of a template, which is one for all of C++, from whichever came first.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#ifndef GATEFLOW_VECTOR_BYTES
#if defined(__AVX512F__)
#define GATEFLOW_VECTOR_BYTES 64
#elif defined(__AVX__)
#define GATEFLOW_VECTOR_BYTES 32
#else
#define GATEFLOW_VECTOR_BYTES 16
#endif
#endif

#define GATEFLOW_INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__) && GATEFLOW_VECTOR_BYTES == 64
#define GATEFLOW_AVX512 1
#endif

namespace [[gnu::visibility("hidden")]] gateflow {

namespace detail {
template <class T>
struct Vector {
    typedef T type __attribute__((vector_size(GATEFLOW_VECTOR_BYTES)));
    // What lies in memory is aligned as its elements are, and may have been written as anything.
    typedef T anywhere __attribute__((vector_size(GATEFLOW_VECTOR_BYTES), aligned(alignof(T)), may_alias));
};
template <class T>
using Integer = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
}  // namespace detail

template <class T>
using Vec = typename detail::Vector<T>::type;

// Integers of the width of T, lane for lane: bit patterns and masks.
template <class T>
using Mask = Vec<detail::Integer<T>>;

template <class T>
constexpr int lanes = GATEFLOW_VECTOR_BYTES / static_cast<int>(sizeof(T));

template <class V>
using Element = std::remove_cv_t<std::remove_reference_t<decltype(std::declval<V&>()[0])>>;

template <class T>
GATEFLOW_INLINE Vec<T> splat(T value) {
    return value - Vec<T>{};  // minus keeps the sign of -0
}

// The units first, first + 1, …
template <class T>
GATEFLOW_INLINE Vec<T> indices(int64_t first) {
    Vec<T> result;
    for (int lane = 0; lane < lanes<T>; ++lane) result[lane] = static_cast<T>(first + lane);
    return result;
}

template <class T>
GATEFLOW_INLINE Vec<T> load(const T* from) {
    return *reinterpret_cast<const typename detail::Vector<T>::anywhere*>(from);
}

template <class T>
GATEFLOW_INLINE void store(T* to, Vec<T> value) {
    *reinterpret_cast<typename detail::Vector<T>::anywhere*>(to) = value;
}

// The first n lanes, 0 <= n <= lanes; the others are 0, and nothing beyond is read.
template <class T>
GATEFLOW_INLINE Vec<T> load(const T* from, int n) {
#ifdef GATEFLOW_AVX512
    if constexpr (std::is_same_v<T, float>)
        return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), from);
    else if constexpr (std::is_same_v<T, double>)
        return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), from);
#endif
    Vec<T> value{};
    for (int i = 0; i < lanes<T>; ++i)
        if (i < n) value[i] = from[i];
    return value;
}

// The first n lanes, 0 <= n <= lanes; nothing beyond is written.
template <class T>
GATEFLOW_INLINE void store(T* to, Vec<T> value, int n) {
#ifdef GATEFLOW_AVX512
    if constexpr (std::is_same_v<T, float>)
        return _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << n) - 1), value);
    else if constexpr (std::is_same_v<T, double>)
        return _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1u << n) - 1), value);
#endif
    for (int i = 0; i < lanes<T>; ++i)
        if (i < n) to[i] = value[i];
}

// As store, but past the caches where that can be done: for what is not read again soon.
template <class T>
GATEFLOW_INLINE void store_non_temporal(T* to, Vec<T> value) {
#ifdef GATEFLOW_AVX512
    if (reinterpret_cast<std::uintptr_t>(to) % GATEFLOW_VECTOR_BYTES == 0) {
        if constexpr (std::is_same_v<T, float>)
            return _mm512_stream_ps(to, value);
        else if constexpr (std::is_same_v<T, double>)
            return _mm512_stream_pd(to, value);
    }
#endif
    store(to, value);
}

#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)
#define GATEFLOW_SHUFFLES 1
#endif
#endif

#ifdef GATEFLOW_SHUFFLES
namespace detail {
// Of two rows the blocks of `size` lanes off the diagonal, exchanged: a b / c d becomes a c / b d.
template <int size, class V, int... lane>
GATEFLOW_INLINE void exchange(V& first, V& second, std::integer_sequence<int, lane...>) {
    constexpr int L = sizeof...(lane);
    const V above = __builtin_shufflevector(first, second, (lane & size ? L + lane - size : lane)...);
    second = __builtin_shufflevector(first, second, (lane & size ? L + lane : lane + size)...);
    first = above;
}

template <int size, class V, int L>
GATEFLOW_INLINE void transpose_blocks(V (&rows)[L]) {
    for (int i = 0; i < L; ++i)
        if (!(i & size)) exchange<size>(rows[i], rows[i + size], std::make_integer_sequence<int, L>());
    if constexpr (size > 1) transpose_blocks<size / 2>(rows);
}
}  // namespace detail

// Rows become columns: as many vectors as a vector has lanes.
template <class V, int L>
GATEFLOW_INLINE void transpose(V (&rows)[L]) {
    static_assert(L == lanes<Element<V>>);
    if constexpr (L > 1) detail::transpose_blocks<L / 2>(rows);
}
#endif

// mask ? a : b, lane by lane.
template <class M, class V>
GATEFLOW_INLINE V select(M mask, V a, V b) {
    return mask ? a : b;
}

// The bits of one vector as another of the same size.
template <class To, class From>
GATEFLOW_INLINE To bits(From value) {
    static_assert(sizeof(To) == sizeof(From));
    return reinterpret_cast<To>(value);
}

namespace detail {
template <class T, int n>
GATEFLOW_INLINE T sum_of(const T* lane) {
    typedef T Half __attribute__((vector_size(n / 2 * sizeof(T))));
    Half a, b;
    std::memcpy(&a, lane, sizeof a);
    std::memcpy(&b, lane + n / 2, sizeof b);
    a += b;
    if constexpr (n == 2)
        return a[0];
    else
        return sum_of<T, n / 2>(reinterpret_cast<const T*>(&a));
}
}  // namespace detail

// The sum of all lanes, halves first: the same order, and so the same rounding, every time.
template <class V>
GATEFLOW_INLINE Element<V> sum(V value) {
    return detail::sum_of<Element<V>, lanes<Element<V>>>(reinterpret_cast<const Element<V>*>(&value));
}

}  // namespace gateflow
