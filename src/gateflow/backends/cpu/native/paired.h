// A product of bfloat16 into float32 of our own, for large matrices: VDPBF16PS where the CPU has it, which adds the
// products of a pair of following numbers at once. Both sides are packed so that the pairs lie together:
//
//     left    pair k of rows 0 … 95         a whole block of them serves all columns
//     right   pair k of a panel of columns   four vectors, read by six rows at a time
//
// Every sum runs in one order, whatever else is computed beside it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "vector.h"

namespace [[gnu::visibility("hidden")]] gateflow {

// Six rows of four vectors leave eight of 32 registers for factors. A panel of 128 pairs is 32 KiB, that of the rows
// 48 KiB: they stay in the caches next to the core, and on the stack of any thread.
constexpr int rows_of_sums = 6, vectors_of_sums = 4;
constexpr int64_t rows_of_block = 16 * rows_of_sums, pairs_of_block = 128;
constexpr int64_t columns_of_panel = vectors_of_sums * lanes<float>;

GATEFLOW_INLINE Vec<float> add_pair(Vec<float> sum, Vec<std::uint32_t> a, Vec<std::uint32_t> b) {
#if defined(GATEFLOW_AVX512) && defined(__AVX512BF16__)
    return _mm512_dpbf16_ps(sum, bits<__m512bh>(a), bits<__m512bh>(b));
#else
    sum += bits<Vec<float>>(a << 16) * bits<Vec<float>>(b << 16);
    return sum + bits<Vec<float>>(a & 0xffff0000) * bits<Vec<float>>(b & 0xffff0000);
#endif
}

// Numbers of bfloat16 at `first[k * down + n * across]`, k along the sum.
struct Halves {
    const std::uint16_t* first;
    int64_t down, across;

    // Pairs along the sum, from k = 0 on; zeros fill up an odd depth and the width.
    void pack(int64_t depth, int64_t count, int64_t width, std::uint32_t* to) const {
        for (int64_t k = 0; k < depth; k += 2, to += width) {
            const std::uint16_t *one = first + k * down, *two = one + down;
            if (k + 1 < depth)
                for (int64_t n = 0; n < count; ++n) to[n] = one[n * across] | std::uint32_t{two[n * across]} << 16;
            else
                for (int64_t n = 0; n < count; ++n) to[n] = one[n * across];
            std::fill(to + count, to + width, 0);
        }
    }
};

// Six rows of a panel; of the result only some rows and columns may exist.
inline void multiply_panel(const std::uint32_t* left, const std::uint32_t* right, int64_t pairs, float* to,
                           int64_t stride, int64_t rows, int64_t columns, bool fresh) {
    constexpr int L = lanes<float>;
    const auto here = [&](int v) { return static_cast<int>(std::clamp<int64_t>(columns - v * L, 0, L)); };
    Vec<float> sums[rows_of_sums][vectors_of_sums] = {};
    for (int64_t k = 0; k < pairs; ++k, left += rows_of_block, right += columns_of_panel)
        for (int m = 0; m < rows_of_sums; ++m)
            for (int v = 0; v < vectors_of_sums; ++v)
                sums[m][v] = add_pair(sums[m][v], splat(left[m]), load(right + v * L));
    for (int64_t m = 0; m < std::min<int64_t>(rows, rows_of_sums); ++m)
        for (int v = 0; v < vectors_of_sums; ++v)
            if (float* place = to + m * stride + v * L; here(v) > 0)
                store(place, fresh ? sums[m][v] : load(place, here(v)) + sums[m][v], here(v));
}

// to[rows × columns] += left · right over `depth` numbers, or = if `fresh`.
inline void multiply_halves(Halves left, Halves right, float* to, int64_t stride, int64_t rows, int64_t columns,
                            int64_t depth, bool fresh) {
    alignas(64) std::uint32_t block[pairs_of_block * rows_of_block], panel[pairs_of_block * columns_of_panel];
    for (int64_t k = 0; k < depth; k += 2 * pairs_of_block, fresh = false) {
        const int64_t deep = std::min(depth - k, 2 * pairs_of_block);
        for (int64_t row = 0; row < rows; row += rows_of_block) {
            const int64_t high = std::min(rows - row, rows_of_block);
            Halves{left.first + k * left.down + row * left.across, left.down, left.across}.pack(deep, high,
                                                                                               rows_of_block, block);
            for (int64_t n = 0; n < columns; n += columns_of_panel) {
                const int64_t wide = std::min(columns - n, columns_of_panel);
                Halves{right.first + k * right.down + n, right.down, 1}.pack(deep, wide, columns_of_panel, panel);
                for (int64_t m = 0; m < high; m += rows_of_sums)
                    multiply_panel(block + m, panel, (deep + 1) / 2, to + (row + m) * stride + n, stride, high - m,
                                   wide, fresh);
            }
        }
    }
}

}  // namespace gateflow
