// Our own product of bfloat16, judged by one in double: whole numbers, whose sums are exact, to the bit. The matrices
// end where they end, so that a sanitizer sees a number that is read or written beside them.
#include "paired.h"

#include <cstdio>
#include <random>
#include <vector>

namespace {

using namespace gateflow;

std::mt19937 generator;

std::vector<std::uint16_t> whole_numbers(int64_t count, std::vector<double>& as_double) {
    std::vector<std::uint16_t> made;
    for (int64_t k = 0; k < count; ++k) {
        const float value = static_cast<float>(static_cast<int>(generator() % 17) - 8);
        std::uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        made.push_back(static_cast<std::uint16_t>(bits >> 16));
        as_double.push_back(value);
    }
    return made;
}

bool right(int64_t rows, int64_t columns, int64_t depth, bool transposed, bool fresh) {
    std::vector<double> a, b;
    const auto left = whole_numbers(rows * depth, a), other = whole_numbers(depth * columns, b);
    const int64_t down = transposed ? rows : 1, across = transposed ? 1 : depth;
    std::vector<float> to(static_cast<size_t>(rows * columns), 3);
    multiply_halves({left.data(), down, across}, {other.data(), columns, 1}, to.data(), columns, rows, columns, depth, fresh);
    for (int64_t m = 0; m < rows; ++m)
        for (int64_t n = 0; n < columns; ++n) {
            double sum = fresh ? 0 : 3;
            for (int64_t k = 0; k < depth; ++k)
                sum += a[static_cast<size_t>(k * down + m * across)] * b[static_cast<size_t>(k * columns + n)];
            if (to[static_cast<size_t>(m * columns + n)] != sum) return false;
        }
    return true;
}

}  // namespace

int main() {
    int failures = 0;
    for (int64_t rows : {1, 6, 7, 95, 96, 103})
        for (int64_t columns : {1, 5, 64, 67, 129})
            for (int64_t depth : {1, 2, 7, 256, 257, 515})
                for (int way = 0; way < 4; ++way)
                    if (!right(rows, columns, depth, way % 2 == 0, way < 2) && ++failures < 10)
                        std::printf("wrong: %d rows, %d columns, depth %d, way %d\n", static_cast<int>(rows),
                                    static_cast<int>(columns), static_cast<int>(depth), way);
    return failures != 0;
}
