// How far each function of vector_math.h is from double precision, over every `stride`-th float, NaN and infinity included.
//
//   accuracy [stride]      one line a function: name, largest error in ulp, where; exit code 1 where one is too large
#include <cstdio>
#include <cstdlib>
#include <string>

#include "vector_math.h"

namespace {

using gateflow::Vec;

constexpr int n = gateflow::lanes<float>;
constexpr double least = 1.17549435e-38;

struct Function {
    const char* name;
    double most;  // ulp
    Vec<float> (*ours)(Vec<float>);
    double (*exact)(double);
};

double softplus(double x) { return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x))); }
double sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }

const Function functions[] = {
    {"exp", 2, gateflow::exp, [](double x) { return std::exp(x); }},
    {"log", 2, gateflow::log, [](double x) { return std::log(x); }},
    {"tanh", 3, gateflow::tanh, [](double x) { return std::tanh(x); }},
    {"sigmoid", 3, gateflow::sigmoid, sigmoid},
    {"softplus", 4, gateflow::softplus, softplus},
    {"sqrt", 0.5, gateflow::sqrt, [](double x) { return std::sqrt(x); }},
    {"reciprocal", 1, gateflow::reciprocal, [](double x) { return 1 / x; }},
    {"abs", 0, gateflow::abs, [](double x) { return std::fabs(x); }},
    {"relu", 0, gateflow::relu, [](double x) { return x < 0 ? 0 : x; }},
};

// The distance in units of the last place of the exact result; subnormal numbers count as 0.
double error(float found, double exact) {
    if (std::isnan(exact) || std::isnan(found)) return std::isnan(exact) == std::isnan(found) ? 0 : HUGE_VAL;
    const float rounded = static_cast<float>(exact);
    if (std::isinf(rounded) || std::isinf(found)) return found == rounded ? 0 : HUGE_VAL;
    if (std::fabs(exact) < least) return std::fabs(found) <= least ? 0 : HUGE_VAL;
    int exponent;
    std::frexp(exact, &exponent);
    return std::fabs(found - exact) / std::ldexp(1.0, exponent - 24);
}

bool measure(const Function& f, std::uint64_t stride) {
    double worst = 0;
    float where = 0, largest = 0;
    for (std::uint64_t first = 0; first < (1ull << 32); first += stride * n) {
        std::uint32_t pattern[n];
        float x[n], y[n];
        for (int i = 0; i < n; ++i) pattern[i] = static_cast<std::uint32_t>(first + stride * i);
        std::memcpy(x, pattern, sizeof x);
        gateflow::store(y, f.ours(gateflow::load(x)));
        for (int i = 0; i < n; ++i) {
            const double seen = std::fabs(x[i]) < least ? 0 * static_cast<double>(x[i]) : x[i];
            const double e = error(y[i], f.exact(seen));
            if (!(e <= worst)) worst = e, where = x[i];
            if (y[i] > largest) largest = y[i];
        }
    }
    std::printf("%-10s %8.4f ulp at %a (%.9g); largest value %a\n", f.name, worst, static_cast<double>(where),
                static_cast<double>(where), static_cast<double>(largest));
    return worst <= f.most;
}

void flush_subnormals() {
#if defined(__SSE__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#elif defined(__aarch64__)
    std::uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    asm volatile("msr fpcr, %0" ::"r"(mode | (1ull << 24)));
#endif
}

}  // namespace

int main(int count, char** words) {
    const std::uint64_t stride = count > 1 ? std::strtoull(words[1], nullptr, 10) : 1;
    bool fine = true;
    for (const Function& f : functions) {
        flush_subnormals();
        if (count > 2 && words[2] != std::string(f.name)) continue;
        fine &= measure(f, stride);
    }
    return fine ? 0 : 1;
}
