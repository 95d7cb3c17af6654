// How far vector_math.h is from double precision: over all floats ("full"), else over every 997th and every odd one out.
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <string>

#include "vector_math.h"

namespace {

using gateflow::Vec;

constexpr int n = gateflow::lanes<float>;
constexpr double least = 1.17549435082228750797e-38;  // the smallest normal float
constexpr double inf = std::numeric_limits<double>::infinity();

struct Function {
    const char* name;
    double most_ulp, ceiling;
    Vec<float> (*ours)(Vec<float>);
    double (*exact)(double);
    double negligible = least;
};

// The words that equations of kernels are written in.
using T = float;
using V = Vec<T>;
using namespace gateflow;

// One line for each operation that says how accurate it is, written from the table of operations by check.py.
const Function functions[] = {
#include "functions.inc"
    {"x^2.7", 0.6, inf, [](Vec<float> x) { return gateflow::pow(x, gateflow::splat(2.7f)); },
     [](double x) -> double { return std::pow(x, static_cast<double>(2.7f)); }},
    {"x^-1.5", 0.6, inf, [](Vec<float> x) { return gateflow::pow(x, gateflow::splat(-1.5f)); },
     [](double x) -> double { return std::pow(x, -1.5); }},
    {"x^5", 0.6, inf, [](Vec<float> x) { return gateflow::pow(x, gateflow::splat(5.0f)); },
     [](double x) -> double { return std::pow(x, 5); }},
    {"1.3^x", 0.6, inf, [](Vec<float> x) { return gateflow::pow(gateflow::splat(1.3f), x); },
     [](double x) -> double { return std::pow(static_cast<double>(1.3f), x); }},
    {"reciprocal", 0.55, inf, gateflow::reciprocal, [](double x) -> double { return 1 / x; }},
};

// The distance in units of the last place of the exact result. What is negligible, below the normal numbers at least,
// may be anything as small.
double ulps(float found, double exact, double negligible) {
    if (std::isnan(exact) || std::isnan(found)) return std::isnan(exact) && std::isnan(found) ? 0 : inf;
    const float rounded = static_cast<float>(exact);
    if (std::isinf(rounded) || std::isinf(found)) return found == rounded ? 0 : inf;
    if (std::fabs(exact) < negligible) return std::fabs(found) <= negligible ? 0 : inf;
    int exponent;
    std::frexp(exact, &exponent);
    return std::fabs(found - exact) / std::ldexp(1.0, exponent - 24);
}

struct Worst {
    double error = 0;
    float where = 0, largest = -std::numeric_limits<float>::infinity();
};

void measure(const Function& f, const std::uint32_t (&pattern)[n], bool flushed, Worst& worst) {
    float x[n], y[n];
    std::memcpy(x, pattern, sizeof x);
    gateflow::store(y, f.ours(gateflow::load(x)));
    for (int i = 0; i < n; ++i) {
        const bool subnormal = (pattern[i] & 0x7fffffff) < 0x00800000;
        const double seen = flushed && subnormal ? std::copysign(0.0, x[i]) : static_cast<double>(x[i]);
        const double error = ulps(y[i], f.exact(seen), f.negligible);
        if (error > worst.error) worst.error = error, worst.where = x[i];
        if (y[i] > worst.largest) worst.largest = y[i];
    }
}

// Where ranges end: zero, subnormal and normal, one, the clamps and overflows, infinity, NaN; and their neighbours.
Worst measure_edges(const Function& f, bool flushed) {
    const float edges[] = {0, 1.17549435e-38f, 1, 9.02f, 87.33654f, 87.34f, 88.37f, 88.72284f, 103.97208f, 1.7014118e38f};
    Worst worst;
    for (std::uint32_t i = 0; i < std::size(edges) + 2; ++i) {
        std::uint32_t middle = i == std::size(edges) ? 0x7f800000 : 0x7fc00000;
        if (i < std::size(edges)) std::memcpy(&middle, &edges[i], sizeof middle);
        for (std::int32_t step = -64; step < 64; step += n) {
            std::uint32_t pattern[n], negative[n];
            for (int k = 0; k < n; ++k) {
                pattern[k] = (middle + static_cast<std::uint32_t>(step + k)) & 0x7fffffff;
                negative[k] = pattern[k] | 0x80000000;
            }
            measure(f, pattern, flushed, worst);
            measure(f, negative, flushed, worst);
        }
    }
    return worst;
}

Worst measure_all(const Function& f, std::uint64_t stride, bool flushed) {
    Worst worst = measure_edges(f, flushed);
    for (std::uint64_t first = 0; first < (1ull << 32); first += stride * n) {
        std::uint32_t pattern[n];
        for (int i = 0; i < n; ++i) pattern[i] = static_cast<std::uint32_t>(first + stride * static_cast<unsigned>(i));
        measure(f, pattern, flushed, worst);
    }
    return worst;
}

void flush_subnormals(bool on) {
#if defined(__SSE__)
    _mm_setcsr((_mm_getcsr() & ~0x8040u) | (on ? 0x8040u : 0));
#elif defined(__aarch64__)
    std::uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    asm volatile("msr fpcr, %0" ::"r"((mode & ~(1ull << 24)) | (std::uint64_t{on} << 24)));
#endif
}

bool report(const Function& f, const Worst& worst, bool flushed) {
    const bool fine = worst.error <= f.most_ulp && worst.largest <= f.ceiling;
    std::printf("%-10s %s  %.3f ulp, at %.9g%s\n", f.name, flushed ? "subnormals flushed" : "subnormals kept   ",
                worst.error, static_cast<double>(worst.where), fine ? "" : "  TOO FAR");
    return fine;
}

}  // namespace

int main(int count, char** words) {
    const bool full = count > 1 && words[1] == std::string("full");
    bool fine = true;
    for (const Function& f : functions)
        for (const bool flushed : {true, false}) {
            // A product relies on its small factor being flushed to 0, as in kernels: the other may be 10^38.
            if (!flushed && f.negligible > least) continue;
            flush_subnormals(flushed);
            fine &= report(f, measure_all(f, full && flushed ? 1 : 997, flushed), flushed);
        }
    return fine ? 0 : 1;
}
