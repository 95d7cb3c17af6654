// The large products that follow a loop: the gradients of weights and of the input, over many steps at once.
//
// They are cut into tiles of rows, and each thread takes the next tile that nobody has taken: a thread that must share
// its core takes fewer. Where a tile ends does not depend on the threads, so neither does a result. The product itself
// is the BLAS that torch has loaded, on one thread; without one, a plain loop. Of bfloat16 it is MKL's or our own.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "paired.h"
#include "threads.h"
#include "vector.h"

namespace [[gnu::visibility("hidden")]] gateflow {

// to[rows × columns] += left[rows × depth] · right[depth × columns], or = if `fresh`. All by rows; `transposed`: left
// lies transposed, as [depth × rows]; `half`: left and right are bfloat16. Products of one `phase` write to different
// places. Filled in by the caller as 64-bit numbers, in this order.
template <class T>
struct Gemm {
    T* to;
    const void *left, *right;
    int64_t to_stride, left_stride, right_stride, rows, columns, depth, transposed, fresh, phase, half;

    // A tile is large enough for the BLAS to pack the right side again for each; at least four where rows allow.
    int64_t tiles() const {
        // A small right side is cheap to pack again, so its tiles may be half as large.
        const int64_t most = transposed || depth * columns > 3 << 20 ? 256 : 128;
        return std::clamp<int64_t>(rows / 64, 1, std::max<int64_t>(4, rows / most));
    }
};

template <class T, class Factor>
using Product = void (*)(const char*, const char*, const int*, const int*, const int*, const T*, const Factor*,
                         const int*, const Factor*, const int*, const T*, T*, const int*);

// What torch has loaded: sgemm_ or dgemm_, MKL's number of threads for the caller's thread, and MKL's product of
// bfloat16; null if it is not there, or not wanted.
template <class T>
struct Blas {
    Product<T, T> gemm;
    int (*set_threads)(int);
    Product<T, std::uint16_t> half;
};

// The BLAS stays on the calling thread while this lives.
template <class T>
struct OneThread {
    const Blas<T>& blas;
    // MKL's number of threads is a setting of the user's thread, so it is put back.
    const int before = blas.set_threads ? blas.set_threads(1) : 0;
    ~OneThread() {
        if (blas.set_threads) blas.set_threads(before);
    }
};

template <class T>
void multiply_plainly(const Gemm<T>& g, int64_t low, int64_t high) {
    const T *left = static_cast<const T*>(g.left), *right = static_cast<const T*>(g.right);
    for (int64_t row = low; row < high; ++row) {
        T* to = g.to + row * g.to_stride;
        if (g.fresh) std::fill_n(to, g.columns, T(0));
        for (int64_t k = 0; k < g.depth; ++k) {
            const T each = g.transposed ? left[k * g.left_stride + row] : left[row * g.left_stride + k];
            for (int64_t n = 0; n < g.columns; ++n) to[n] += each * right[k * g.right_stride + n];
        }
    }
}

// Some rows by a BLAS, which thinks by columns: to it everything is transposed, and left and right change sides.
template <class T, class Factor>
void multiply_by(Product<T, Factor> product, const Gemm<T>& g, int64_t low, int64_t high) {
    const auto number = [](int64_t value) { return static_cast<int>(value); };
    const int columns = number(g.columns), rows = number(high - low), depth = number(g.depth);
    const int right_stride = number(g.right_stride), left_stride = number(g.left_stride), to_stride = number(g.to_stride);
    const T one = 1, old = g.fresh ? 0 : 1;
    const Factor* left = static_cast<const Factor*>(g.left) + low * (g.transposed ? 1 : g.left_stride);
    product("N", g.transposed ? "T" : "N", &columns, &rows, &depth, &one, static_cast<const Factor*>(g.right), &right_stride,
            left, &left_stride, &old, g.to + low * g.to_stride, &to_stride);
}

// Some rows of bfloat16 without a BLAS.
inline void multiply_in_pairs(const Gemm<float>& g, int64_t low, int64_t high) {
    const auto *left = static_cast<const std::uint16_t*>(g.left), *right = static_cast<const std::uint16_t*>(g.right);
    const Halves rows = g.transposed ? Halves{left + low, g.left_stride, 1}
                                     : Halves{left + low * g.left_stride, 1, g.left_stride};
    multiply_halves(rows, {right, g.right_stride, 1}, g.to + low * g.to_stride, g.to_stride, high - low, g.columns,
                    g.depth, g.fresh);
}

template <class T>
void multiply_tile(const Gemm<T>& g, int64_t tile, const Blas<T>& blas) {
    const int64_t low = g.rows * tile / g.tiles(), high = g.rows * (tile + 1) / g.tiles();
    if constexpr (std::is_same_v<T, float>)
        if (g.half) return blas.half ? multiply_by(blas.half, g, low, high) : multiply_in_pairs(g, low, high);
    return blas.gemm ? multiply_by(blas.gemm, g, low, high) : multiply_plainly(g, low, high);
}

// What a thread takes of lists of products, sorted by phase. The tiles of all lists are numbered as one sequence.
template <class T>
struct Tiles {
    const Blas<T>* blas;
    Barrier& barrier;
    int64_t team;
    std::atomic<int64_t>& taken;
    int64_t first = 0, mine = -1;

    void multiply(const Gemm<T>* gemms, int64_t count) {
        const OneThread<T> limit{*blas};
        if (mine < 0) mine = taken.fetch_add(1);
        for (int64_t k = 0; k < count; first += gemms[k++].tiles()) {
            if (k > 0 && gemms[k].phase != gemms[k - 1].phase) barrier.wait(team);
            for (; mine < first + gemms[k].tiles(); mine = taken.fetch_add(1))
                multiply_tile(gemms[k], mine - first, *blas);
        }
    }
};

}  // namespace gateflow
