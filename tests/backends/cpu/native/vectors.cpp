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
    }
}

void check_everything() {
    check_memory<float>(), check_memory<double>();
    check_lanes<float>(), check_lanes<double>();
    check_choices<float>(), check_choices<double>();
    check_double();
}

}  // namespace

int main() {
    check_everything();
    return failures ? 1 : 0;
}
