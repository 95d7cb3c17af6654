// What the words of the emitted equations mean on a GPU: a thread computes one unit of one sample.
#pragma once

#include "gpu.cuh"

#ifdef __CUDACC_RTC__
namespace std {
template <class T>
struct numeric_limits {
    GATEFLOW_INLINE static constexpr T epsilon() { return T(1.1920928955078125e-07); }
};
}  // namespace std
#endif

namespace gateflow {

template <class T>
using Vec = T;
template <class T>
constexpr int lanes = 1;

template <class T>
GATEFLOW_INLINE T splat(T x) { return x; }
template <class T>
GATEFLOW_INLINE T load(const T* from) { return *from; }
template <class T>
GATEFLOW_INLINE T indices(int64_t j) { return static_cast<T>(j); }
template <class T>
GATEFLOW_INLINE T select(bool chosen, T a, T b) { return chosen ? a : b; }

// As in torch: where one of the two is NaN, so is the result.
GATEFLOW_INLINE float maximum(float a, float b) { return a != a || a > b ? a : b; }
GATEFLOW_INLINE float minimum(float a, float b) { return a != a || a < b ? a : b; }
GATEFLOW_INLINE float relu(float x) { return x < 0.0f ? 0.0f : x; }

GATEFLOW_INLINE float exp(float x) { return ::expf(x); }
GATEFLOW_INLINE float log(float x) { return ::logf(x); }
GATEFLOW_INLINE float tanh(float x) { return ::tanhf(x); }
GATEFLOW_INLINE float sqrt(float x) { return ::sqrtf(x); }
GATEFLOW_INLINE float abs(float x) { return ::fabsf(x); }
GATEFLOW_INLINE float expm1(float x) { return ::expm1f(x); }
GATEFLOW_INLINE float log1p(float x) { return ::log1pf(x); }
GATEFLOW_INLINE float erf(float x) { return ::erff(x); }
GATEFLOW_INLINE float erfc(float x) { return ::erfcf(x); }
GATEFLOW_INLINE float sin(float x) { return ::sinf(x); }
GATEFLOW_INLINE float cos(float x) { return ::cosf(x); }
GATEFLOW_INLINE float pow(float x, float p) { return ::powf(x, p); }
GATEFLOW_INLINE float ndtr(float x) { return 0.5f * ::erfcf(x * -0.70710678118654752f); }
GATEFLOW_INLINE float sigmoid(float x) { return reciprocal(1.0f + ::expf(-x)); }
// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), at no x cut short.
GATEFLOW_INLINE float softplus(float x) { return (x > 0.0f ? x : 0.0f) + ::log1pf(::expf(x > 0.0f ? -x : x)); }
GATEFLOW_INLINE float hardsigmoid(float x) { return minimum(relu(x + 3.0f), 6.0f) * (1.0f / 6); }
GATEFLOW_INLINE float lerp(float a, float b, float weight) {
    return ::fabsf(weight) < 0.5f ? a + weight * (b - a) : b - (b - a) * (1.0f - weight);
}
// With the sign of b, as Python and torch have it.
GATEFLOW_INLINE float remainder(float a, float b) {
    const float rest = ::fmodf(a, b);
    return rest != 0.0f && (rest < 0.0f) != (b < 0.0f) ? rest + b : rest;
}

// What a total gathers over the units of a row: where it starts, and how it takes in one more.
struct Sum {
    GATEFLOW_INLINE static float start() { return 0.0f; }
    GATEFLOW_INLINE static float join(float a, float b) { return a + b; }
};
struct Largest {
    GATEFLOW_INLINE static float start() { return -INFINITY; }
    GATEFLOW_INLINE static float join(float a, float b) { return maximum(a, b); }
};
struct Smallest {
    GATEFLOW_INLINE static float start() { return INFINITY; }
    GATEFLOW_INLINE static float join(float a, float b) { return minimum(a, b); }
};

}  // namespace gateflow
