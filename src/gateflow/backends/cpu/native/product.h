// The matrix product of a few rows with packed weights, in registers.
//
// Weights are packed in panels, one for each block of units that fills a vector: panel[k][gate][unit]. The gates of one
// unit so lie side by side, and their sums are there together for the equations of the cell:
//
//                     k = 0                    k = 1
//     panel of h0…15  i i i i  f f f f  g … o  i i i i  f f f f …
//
// A tile is M rows × U blocks × C gates of sums, all in registers; each operand number is used U·C times, each weight M
// times. Every sum runs over k in order, whatever the tile: a row's result does not depend on its neighbours.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "factors.h"

namespace [[gnu::visibility("hidden")]] gateflow {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int registers = 32;
#else
constexpr int registers = 16;
#endif

constexpr int most_rows = 8;
// 24 of 32 are six rows of an LSTM's four gates; its four vectors of weights and the operand fit next to them.
constexpr int tile_sums = registers * 3 / 4;  // the rest holds weights and the operand

// How many rows a tile of a pass with this many sums per unit has at most.
constexpr int tile_rows(int sums) {
    const int fitting = tile_sums / std::max(sums, 1);
    return std::max(1, std::min(sums <= 2 ? tile_sums / 4 : most_rows, fitting));
}

// How many blocks of units a tile of M rows takes at once: 1, 2 or 4.
constexpr int tile_blocks(int rows, int sums) {
    return rows * sums * 4 <= tile_sums ? 4 : rows * sums * 2 <= tile_sums ? 2 : 1;
}

// Rows of factors, and how many places of each a product runs over.
template <class T>
struct Operand {
    const T* rows;
    int64_t stride, depth;
};

// sum[m][u][first gate + c] += operand[m][k] · panel_u[k][c]; starts from zero if `fresh`. For each k it also
// fetches one line of the cache from `next` on.
template <class T, int M, int U, int C>
__attribute__((noinline)) void multiply(const Operand<T>& operand, const T* panels, const T* next, T* sum, int64_t sums,
                                        bool fresh) {
    constexpr int L = lanes<T>;
    const int64_t panel = operand.depth * C * L;
    Vec<T> total[M][U][C];
    for (int m = 0; m < M; ++m)
        for (int u = 0; u < U; ++u)
            for (int c = 0; c < C; ++c) total[m][u][c] = fresh ? Vec<T>{} : load(sum + ((m * U + u) * sums + c) * L);
    for (int64_t k = 0; k < operand.depth; ++k) {
        __builtin_prefetch(next + k * line_of_cache<T>, 0, 2);
        Vec<T> weight[U][C];
        for (int u = 0; u < U; ++u)
            for (int c = 0; c < C; ++c) weight[u][c] = load(panels + u * panel + (k * C + c) * L);
        for (int m = 0; m < M; ++m) {
            const Vec<T> each = splat_place(operand.rows + m * operand.stride + k);
            for (int u = 0; u < U; ++u)
                for (int c = 0; c < C; ++c) total[m][u][c] = add_product<T>(total[m][u][c], each, weight[u][c]);
        }
    }
    for (int m = 0; m < M; ++m)
        for (int u = 0; u < U; ++u)
            for (int c = 0; c < C; ++c) store(sum + ((m * U + u) * sums + c) * L, total[m][u][c]);
}

template <class T>
using Multiply = void (*)(const Operand<T>&, const T*, const T*, T*, int64_t, bool);

template <class T, int M, int U, int C>
constexpr Multiply<T> fitting() {
    if constexpr (M * U * C <= tile_sums || U == 1)
        return multiply<T, M, U, C>;
    else
        return nullptr;
}

template <class T, int C, int... M>
constexpr std::array<std::array<Multiply<T>, 3>, sizeof...(M)> table(std::integer_sequence<int, M...>) {
    return {{{fitting<T, M + 1, 1, C>(), fitting<T, M + 1, 2, C>(), fitting<T, M + 1, 4, C>()}...}};
}

// The kernel for a tile of `rows` × `blocks` with C gates.
template <class T, int C, int most>
Multiply<T> in_registers(int64_t rows, int64_t blocks) {
    static constexpr auto kernels = table<T, C>(std::make_integer_sequence<int, most>());
    return kernels[static_cast<size_t>(rows - 1)][blocks == 4 ? 2 : static_cast<size_t>(blocks - 1)];
}

// Weights of one product: for each block of operand columns, the matrices of the gates.
template <class T>
struct Matrices {
    const T* const* from;       // [column blocks][gates]: the number of unit 0, column 0
    const int64_t* depths;      // columns in each block
    int64_t column_blocks, gates, units, unit_stride, column_stride;
    T* panels;                  // where they go
};

// How many panels the units fill, and how many numbers of T a panel takes.
template <class T>
constexpr int64_t panels_of(int64_t units) {
    return (units + lanes<T> - 1) / lanes<T>;
}
template <class T>
constexpr int64_t panel_size(int64_t depth, int64_t gates) {
    return places<T>(depth) * gates * lanes<T>;
}

// Packs what goes by whole vectors, of the units from `first` on: all columns where units lie side by side, else as
// many as fill squares, which are transposed in registers. Returns how many columns that were.
template <class T>
int64_t pack_whole(const Matrices<T>& w, int64_t block, int64_t first, T* panel) {
    constexpr int L = lanes<T>;
    const int64_t depth = w.depths[block];
    if constexpr (rounds<T>) return 0;
    if (w.unit_stride == 1) {
        for (int64_t k = 0; k < depth; ++k)
            for (int64_t c = 0; c < w.gates; ++c)
                store(panel + (k * w.gates + c) * L, load(w.from[block * w.gates + c] + first + k * w.column_stride));
        return depth;
    }
#ifdef GATEFLOW_SHUFFLES
    if (w.column_stride != 1) return 0;
    // Gate by gate: no prefetcher follows the rows of all of them at once.
    for (int64_t c = 0; c < w.gates; ++c)
        for (int64_t k = 0; k + L <= depth; k += L) {
            const T* from = w.from[block * w.gates + c] + first * w.unit_stride + k;
            Vec<T> rows[L];
            for (int l = 0; l < L; ++l) rows[l] = load(from + l * w.unit_stride);
            transpose(rows);
            for (int l = 0; l < L; ++l) store(panel + ((k + l) * w.gates + c) * L, rows[l]);
        }
    return depth / L * L;
#else
    return 0;
#endif
}

// Packs panel number `block`: the units that fill a vector, zeros where there are no more.
template <class T>
void pack_panel(const Matrices<T>& w, int64_t block, T* panel) {
    constexpr int L = lanes<T>;
    const int64_t first = block * L, count = std::min<int64_t>(L, w.units - first);
    int64_t column = 0;
    for (int64_t b = 0; b < w.column_blocks; ++b) {
        int64_t k = count == L ? pack_whole(w, b, first, panel + column / factors_per_place<T> * w.gates * L) : 0;
        for (column += k; k < w.depths[b]; ++k, ++column)
            for (int64_t c = 0; c < w.gates; ++c) {
                const T* from = w.from[b * w.gates + c] + first * w.unit_stride + k * w.column_stride;
                T* const place = panel + (column / factors_per_place<T> * w.gates + c) * L;
                T copy[L], *const numbers = rounds<T> ? copy : place;
                for (int64_t l = 0; l < L; ++l) numbers[l] = l < count ? from[l * w.unit_stride] : T(0);
                if constexpr (rounds<T>) put_rounded(load(copy), column, place);
            }
    }
    const int64_t filled = (column + factors_per_place<T> - 1) / factors_per_place<T> * w.gates * L;
    std::fill(panel + filled, panel + panel_size<T>(column, w.gates), T(0));
}

}  // namespace gateflow
