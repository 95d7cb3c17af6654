// What vector.h and vector_math.h promise lane by lane, each against plain C++. Partial loads and stores end at the end of
// a page, and the next page must not be touched.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <limits>

#include "vector_math.h"

namespace {

using namespace gateflow;

int failures = 0;

void check(bool holds, const char* what, int lane) {
    if (holds) return;
    std::printf("%s does not hold in lane %d of %d bytes\n", what, lane, GATEFLOW_VECTOR_BYTES);
    ++failures;
}

template <class T>
T* end_of_page() {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* both = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(static_cast<char*>(both) + page, page, PROT_NONE);
    return reinterpret_cast<T*>(static_cast<char*>(both) + page);
}

template <class T>
void check_memory() {
    T* const end = end_of_page<T>();
    for (int count = 0; count <= lanes<T>; ++count) {
        T* const first = end - count;
        for (int i = 0; i < count; ++i) first[i] = static_cast<T>(i + 1);
        const Vec<T> some = load(first, count);
        for (int i = 0; i < lanes<T>; ++i) check(some[i] == (i < count ? i + 1 : 0), "partial load", i);
        store(first, splat(T(7)), count);
        for (int i = 0; i < count; ++i) check(first[i] == 7, "partial store", i);
        if (count) store(first, splat(T(9)), count - 1), check(first[count - 1] == 7, "partial store stops", count);
    }
    T buffer[lanes<T> + 1];  // the second is not aligned as a vector is
    for (int i = 0; i <= lanes<T>; ++i) buffer[i] = static_cast<T>(i);
    store(buffer, load(buffer + 1));
    for (int i = 0; i < lanes<T>; ++i) check(buffer[i] == i + 1, "load and store", i);
}

template <class T>
void check_lanes() {
    Vec<T> a{}, b{};
    T total[lanes<T>];
    for (int i = 0; i < lanes<T>; ++i) a[i] = total[i] = T(1) / static_cast<T>(i + 3), b[i] = i % 2 ? T(1) : T(-1);
    for (int half = lanes<T> / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) total[i] += total[i + half];
    check(sum(a) == total[0], "sum by halves", 0);
    const Vec<T> chosen = select(b > T(0), a, b), minus_zero = splat(T(-0.0));
    for (int i = 0; i < lanes<T>; ++i) {
        check(chosen[i] == (i % 2 ? a[i] : b[i]), "select", i);
        check(std::signbit(minus_zero[i]), "splat of -0", i);
        check(bits<Mask<T>>(minus_zero)[i] == std::numeric_limits<detail::Integer<T>>::min(), "bits", i);
    }
}

template <class T>
bool same(T a, T b) {
    return std::isnan(a) ? std::isnan(b) : a == b;
}

template <class T>
void check_choices() {
    const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
    const T values[] = {nan, -inf, -2, -0.0, 0, 1, inf};
    for (const T x : values)
        for (const T y : values) {
            const bool unordered = std::isnan(x) || std::isnan(y);
            const Vec<T> least = minimum(splat(x), splat(y)), most = maximum(splat(x), splat(y));
            for (int i = 0; i < lanes<T>; ++i) {
                check(same(least[i], unordered ? nan : x < y ? x : y), "minimum", i);
                check(same(most[i], unordered ? nan : x > y ? x : y), "maximum", i);
                check(same(relu(splat(x))[i], x < 0 ? T(0) : x), "relu", i);
            }
        }
}

// Every case of `pow` that C names, and the signs of zeros.
template <class T>
void check_powers() {
    const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
    const T values[] = {nan, -inf, -33554432, -3, -2.5, -1, -0.5, -0.0, 0, 0.5, 1, 2, 2.5, 3, 16777215, 1e30f, inf};
    for (const T x : values)
        for (const T y : values) {
            const T found = pow(splat(x), splat(y))[lanes<T> - 1], exact = std::pow(x, y);
            const bool near = std::fabs(found - exact) <= T(1e-6) * std::fabs(exact);
            check(same(found, exact) || near, "pow", lanes<T> - 1);
            check(std::isnan(exact) || std::signbit(found) == std::signbit(exact), "the sign of pow", lanes<T> - 1);
        }
}

template <class T>
void check_mixtures() {
    const T values[] = {-7.5, -3, -0.5, -0.0, 0, 0.5, 1, 3, 1024};
    for (const T x : values)
        for (const T y : values) {
            const auto all = [&](Vec<T> found, T exact, const char* what) {
                for (int i = 0; i < lanes<T>; ++i) check(same(found[i], exact), what, i);
            };
            all(lerp(splat(x), splat(y), splat(T(1))), y, "the end of lerp");
            all(lerp(splat(x), splat(y), splat(T(0))), x, "the start of lerp");
            all(remainder(splat(x), splat(y)), x - y * std::floor(x / y), "remainder");
        }
}

// float has a driver of its own.
void check_double() {
    for (double x = -750; x < 750; x += 0.37) {
        const double e = std::exp(-std::fabs(x)), s = x < 0 ? e / (1 + e) : 1 / (1 + e);
        const auto near = [](double found, double exact) { return std::fabs(found - exact) <= 4e-16 * std::fabs(exact) + 1e-307; };
        check(near(exp(splat(x / 2))[0], std::exp(x / 2)), "exp", 0);
        check(near(tanh(splat(x / 50))[0], std::tanh(x / 50)), "tanh", 0);
        check(near(sigmoid(splat(x))[0], s), "sigmoid", 0);
        check(near(softplus(splat(x))[0], (x > 0 ? x : 0) + std::log1p(e)), "softplus", 0);
        check(near(log(splat(x * x))[0], std::log(x * x)), "log", 0);
        check(sqrt(splat(x * x))[0] == std::fabs(x) && abs(splat(x))[0] == std::fabs(x), "sqrt and abs", 0);
        check(near(reciprocal(splat(x))[0], 1 / x), "reciprocal", 0);
        check(expm1(splat(x))[0] == std::expm1(x), "expm1", 0);
        check(same(log1p(splat(x))[0], std::log1p(x)), "log1p", 0);
        check(erf(splat(x))[0] == std::erf(x) && erfc(splat(x / 30))[0] == std::erfc(x / 30), "erf and erfc", 0);
        check(near(ndtr(splat(x / 30))[0], std::erfc(x / 30 * -std::sqrt(0.5)) / 2), "ndtr", 0);
        check(sin(splat(x))[0] == std::sin(x) && cos(splat(x))[0] == std::cos(x), "sin and cos", 0);
        check(near(hardsigmoid(splat(x / 99))[0], std::min(std::max(x / 99 + 3, 0.0), 6.0) / 6), "hardsigmoid", 0);
    }
}

void check_everything() {
    check_memory<float>(), check_memory<double>();
    check_lanes<float>(), check_lanes<double>();
    check_choices<float>(), check_choices<double>();
    check_powers<float>(), check_powers<double>();
    check_mixtures<float>(), check_mixtures<double>();
    check_double();
}

}  // namespace

int main() {
    check_everything();
    return failures ? 1 : 0;
}
