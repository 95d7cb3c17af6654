// The products of the loop, packing, threads and all, each sum judged by one in double: whole numbers, whose sums are
// exact, to the bit; others by the bound for sums in T. Built with GATEFLOW_BF16_PRODUCTS the factors are rounded, and
// where the compiler may use units for bfloat16 that the CPU lacks, these are emulated.
#include "recurrence.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#ifdef GATEFLOW_BF16_UNITS
#include "emulated.h"
#endif

namespace {

using namespace gateflow;

int failures = 0;
std::mt19937 generator;

// Row 0 has columns P and I, row 1 has columns H. C gates sum over both; one more sum is over the columns P alone.
template <class T, int C, bool early>
struct Pass {
    static constexpr int width = 0, sums = C + 1, totals = 0, number_of_terms = 3;
    static constexpr bool has_numbers = false, overwrites = false, ahead = early;
    static constexpr Term terms[] = {{0, 0, C, 0, {0, 1, 1}}, {1, 0, C, 1, {1, 0, 0}}, {0, C, 1, 2, {0, 1, 0}}};
    using R = Rows<T, C + 3>;
    template <class Units>
    static void point(const R& rows, const Sums<T>&, int64_t m, int64_t j, Units n, const T* sum) {
        for (int c = 0; c < sums; ++c) rows.store(2 + c, m, j, n, load(sum + c * lanes<T>));
    }
    static void fetch(const R&, int64_t, int64_t) {}
    static void numbers(const R&, const Sums<T>&, int64_t) {}
};

template <int C>
struct Program {
    static constexpr int slots = C + 3, vectors = 0;
    static constexpr Kind kinds[slots] = {};  // found by step and sample, all of them
};

template <class T>
std::vector<T> random_numbers(int64_t count, bool whole) {
    std::vector<T> numbers(static_cast<size_t>(count));
    std::normal_distribution<double> normal;
    for (T& number : numbers) number = static_cast<T>(whole ? static_cast<int>(generator() % 17) - 8 : normal(generator));
    return numbers;
}

// As products take them: rounded to eight digits by scaling, where the kernel works on bits.
template <class T>
std::vector<double> as_factors(const std::vector<T>& numbers) {
    std::vector<double> factors(numbers.begin(), numbers.end());
    for (double& value : factors) {
        if (!rounds<T> || !std::isfinite(value)) continue;
        int exponent;
        const double digits = std::frexp(value, &exponent);
        value = std::ldexp(std::nearbyint(std::ldexp(digits, 8)), exponent - 8);
    }
    return factors;
}

// Weights of some gates, [gate][unit][column] or, transposed, [gate][column][unit].
template <class T>
struct Weights {
    int64_t gates, units, depth;
    bool transposed;
    std::vector<T> numbers;
    std::vector<double> factors;

    const T* gate(int64_t c) const { return numbers.data() + c * units * depth; }
    int64_t unit_stride() const { return transposed ? 1 : depth; }
    int64_t column_stride() const { return transposed ? units : 1; }
    double factor(int64_t c, int64_t j, int64_t k) const {
        return factors[static_cast<size_t>(c * units * depth + j * unit_stride() + k * column_stride())];
    }
};

template <class T, int C>
struct Case {
    static constexpr int64_t steps = 3, sums = C + 1;
    int64_t samples, H, P, I;
    bool whole;
    int64_t lines = steps * samples, x_stride = P + I + 3;
    std::vector<T> x = random_numbers<T>(lines * x_stride, whole), h = random_numbers<T>(lines * H, whole);
    Weights<T> of_p = weights(C, P, true), of_i = weights(C, I, true), of_h = weights(C, H, false), last = weights(1, P, false);

    Weights<T> weights(int64_t gates, int64_t depth, bool transposed) const {
        return {gates, H, depth, transposed, random_numbers<T>(gates * H * depth, whole), {}};
    }

    void check() {
        if (!whole) add_what_is_not_finite();
        for (auto* each : {&of_p, &of_i, &of_h, &last}) each->factors = as_factors(each->numbers);
        const std::vector<double> x_factors = as_factors(x), h_factors = as_factors(h);
        const std::vector<T> found = run<false>(1, 1);
        for (const auto& other : {run<false>(2, 1), run<false>(1, 2), run<false>(2, 2), run<true>(1, 1), run<true>(2, 1)})
            expect(same(found, other), "another way to share the work", 0, 0);
        if constexpr (!rounds<T>)
            for (int64_t parts : {1, 2}) expect(same(found, run<false>(1, parts, true)), "weights in order on use", 0, 0);
        for (int64_t m = 0; m < lines; ++m)
            for (int64_t column = 0; column < sums * H; ++column)
                judge(found[static_cast<size_t>(m * sums * H + column)], &x_factors[static_cast<size_t>(m * x_stride)],
                      &h_factors[static_cast<size_t>(m * H)], m, column);
    }

    static bool same(const std::vector<T>& one, const std::vector<T>& other) {
        return std::memcmp(one.data(), other.data(), one.size() * sizeof(T)) == 0;
    }

    // A NaN that is one by its last digit, which rounding takes away, and an infinity.
    void add_what_is_not_finite() {
        const detail::Integer<T> bits = (sizeof(T) == 4 ? detail::Integer<T>{0xff} << 23 : detail::Integer<T>{0x7ff} << (sizeof(T) * 8 - 12)) + 1;
        std::memcpy(&x[static_cast<size_t>(x_stride)], &bits, sizeof bits);
        of_h.numbers[0] = std::numeric_limits<T>::infinity();
    }

    template <bool early>
    std::vector<T> run(int64_t groups, int64_t parts, bool on_use = false) {
        constexpr T nan = std::numeric_limits<T>::quiet_NaN();
        std::vector<T> found(static_cast<size_t>(lines * sums * H), nan);
        std::vector<Place<T>> rows{{x.data(), nullptr, x_stride, 0}, {h.data(), nullptr, H, 0}};
        for (int c = 0; c < sums; ++c) rows.push_back({found.data() + c * H, nullptr, sums * H, 0});

        std::vector<const T*> from[3];
        for (const auto* each : {&of_p, &of_i})
            for (int c = 0; c < C; ++c) from[0].push_back(each->gate(c));
        for (int c = 0; c < C; ++c) from[1].push_back(of_h.gate(c));
        from[2].push_back(last.gate(0));
        const int64_t depths[] = {P, I, H};
        std::vector<T> panels[3];
        const int64_t sizes[] = {panel_size<T>(P + I, C), panel_size<T>(H, C), panel_size<T>(P, 1)};
        for (int k = 0; k < 3; ++k) panels[k].assign(static_cast<size_t>(panels_of<T>(H) * sizes[k]), nan);
        const Matrices<T> matrices[] = {
            {from[0].data(), depths, 2, C, H, of_p.unit_stride(), of_p.column_stride(), panels[0].data()},
            {from[1].data(), depths + 2, 1, C, H, of_h.unit_stride(), of_h.column_stride(), panels[1].data()},
            {from[2].data(), depths, 1, 1, H, last.unit_stride(), last.column_stride(), panels[2].data()}};
        const T* const packed[] = {panels[0].data(), panels[1].data(), panels[2].data()};
        const int64_t bounds[] = {0, groups == 1 ? samples : samples / 3, samples};

        const Chunk<T> chunk{0, steps - 1, 0, nullptr, 0};
        Call<T> call{};
        call.steps = steps, call.samples = samples, call.chunks = &chunk, call.number_of_chunks = 1;
        const int64_t widths[] = {H, P, I, 1};
        call.groups = groups, call.parts = parts, call.team = 1, call.on_use = on_use;
        call.widths = widths;
        call.places = rows.data(), call.weights = packed, call.bounds = groups == 1 ? nullptr : bounds;
        call.ahead = 2, call.matrices = matrices, call.to_pack = on_use ? 0 : 3;
        gateflow::run<Program<C>, T, Pass<T, C, early>>(call);
        return found;
    }

    void judge(T number, const double* x_row, const double* h_row, int64_t m, int64_t column) const {
        double sum = 0, size = 0;
        const auto add = [&](const Weights<T>& w, int64_t gate, const double* row) {
            for (int64_t k = 0; k < w.depth; ++k) {
                const double product = row[k] * w.factor(gate, column % H, k);
                sum += product, size += std::fabs(product);
            }
        };
        const int64_t gate = column / H;
        if (gate == C)
            add(last, 0, x_row);
        else
            add(of_p, gate, x_row), add(of_i, gate, x_row + P), add(of_h, gate, h_row);
        const double found = static_cast<double>(number);
        const double bound = whole ? 0 : static_cast<double>(P + I + H) * std::numeric_limits<T>::epsilon() * size;
        const bool fine = std::isfinite(sum) ? std::fabs(found - sum) <= bound : std::isnan(sum) ? std::isnan(found) : found == sum;
        expect(fine, "a sum", m, column);
    }

    void expect(bool holds, const char* what, int64_t m, int64_t column) const {
        if (holds || ++failures > 20) return;
        const auto number = [](int64_t value) { return static_cast<int>(value); };
        std::printf("%s is wrong: %d gates, %d samples, H %d, P %d, I %d, %s numbers, line %d, column %d\n", what, C, number(samples),
                    number(H), number(P), number(I), whole ? "whole" : "normal", number(m), number(column));
    }
};

// Samples, H, P and I that fill vectors, pairs and tiles, and such that do not.
constexpr int64_t sizes[][4] = {{1, 1, 1, 1},    {3, 16, 2, 30}, {5, 17, 31, 2},
                                {16, 32, 33, 31}, {17, 65, 1, 7}, {33, 40, 5, 3}};

template <class T, int C>
void check_sizes() {
    for (const auto& [samples, H, P, I] : sizes)
        for (const bool whole : {true, false}) Case<T, C>{samples, H, P, I, whole}.check();
}

template <class T>
int check() {
    check_sizes<T, 1>(), check_sizes<T, 2>(), check_sizes<T, 3>(), check_sizes<T, 4>(), check_sizes<T, 5>();
    return failures ? 1 : 0;
}

}  // namespace

int main() {
#ifdef GATEFLOW_BF16_PRODUCTS
#ifdef GATEFLOW_BF16_UNITS
    emulated::begin();
    emulated::tiles_are_refused = fork() == 0;  // a process asks once, so another is refused
    const int found = check<float>();
    if (emulated::tiles_are_refused) _exit(found);
    int others = 0;
    wait(&others);
    return found || others;
#endif
    return check<float>();
#else
    return check<float>() || check<double>();
#endif
}
