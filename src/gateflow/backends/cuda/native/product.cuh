// Products of float32: tiles of 4 rows by 4 samples in the registers of a lane.
#pragma once

#include "tape.cuh"

namespace gateflow {

template <class T>
struct alignas(16) Four {
    T of[4];
};

// What a lane brings of a chunk of operands: one column, all samples of the group.
template <class T, class C>
struct Brought {
    Words words[quads];

    GATEFLOW_INLINE static const u32* from(const C& call, const Product<T>& product, const Moment& at, int64_t k) {
        return entry(call, at.iteration + product.later, at.group) + (product.column + k) * S;
    }
    GATEFLOW_INLINE void ask(const C& call, const Product<T>& product, const Moment& at, int64_t k, int64_t past) {
        if (k >= past || product.column < 0) return;
        const u32* at_column = from(call, product, at, k);
        GATEFLOW_UNROLL()
        for (int q = 0; q < quads; ++q) words[q] = load_words(at_column + 4 * q);
    }
    GATEFLOW_INLINE void wait(const C& call, const Product<T>& product, const Moment& at, int64_t k, int64_t past) {
        if (k >= past) return;
        if (product.column < 0) return read(call, product, at, k);
        const u32* at_column = from(call, product, at, k);
        GATEFLOW_UNROLL()
        for (int q = 0; q < quads; ++q) words[q] = arrived(call, at_column + 4 * q, words[q], at.count() - 4 * q);
    }
    // Of lines that were there before the launch.
    GATEFLOW_INLINE void read(const C& call, const Product<T>& product, const Moment& at, int64_t k) {
        GATEFLOW_UNROLL()
        for (int m = 0; m < S; ++m) {
            const int64_t sample = at.low + m;
            T x = 0;
            if (sample < at.now) {
                const bool going_on = sample < at.before;
                const T* line = !product.previous ? product.base + (at.line + sample) * product.stride
                                : going_on        ? product.base + (at.line_before + sample) * product.stride
                                                  : product.start + sample * product.stride;
                x = line[k];
            }
            words[m / 4].of[m % 4] = bits(call.rounded ? to_bfloat16(x) : x);
        }
    }
};

// What `split` lanes have of the same tile, added up: each is left with its part of it, `16 / split` numbers.
template <int split, class T>
GATEFLOW_INLINE void add_up(T (&sum)[16]) {
    const int lane = thread() % 32;
    int left = 16;
    GATEFLOW_UNROLL()
    for (int mask = 16; mask > 16 / split; mask /= 2) {
        left /= 2;
        const bool upper = (lane & mask) != 0;
        GATEFLOW_UNROLL()
        for (int i = 0; i < 8; ++i)
            if (i < left) {
                const T kept = upper ? sum[i + left] : sum[i], sent = upper ? sum[i] : sum[i + left];
                sum[i] = kept + shuffle_xor(sent, mask);
            }
    }
}

// One warp's part of the depth of a product: sums [row][sample] of the block's rows, a row being a sum of a unit.
//
// A lane makes tiles of 4 rows by 4 samples, of every `split`-th column: this and the part of the warp are all that the
// order of a sum depends on, and so not on how many samples or units there are.
template <int split, class T, class C>
GATEFLOW_CALLED void multiply(const C& call, const Product<T>& product, const Moment& at, const T* weights, int rows,
                              T* sums) {
    constexpr int across = 32 / split, times = 4 / quads;
    const int lane = thread() % 32, warp = thread() / 32, begun = lane / across;
    T* stage = shared_memory() + call.stage + warp * chunk * S;
    const int64_t part = (product.depth + W - 1) / W;
    const int64_t begin = warp * part, past = begin + part < product.depth ? begin + part : product.depth;
    for (int first = lane % across * 4; first - lane % across * 4 < rows; first += 4 * across * times) {
        T sum[times][quads][16] = {};
        Brought<T, C> next;
        next.ask(call, product, at, begin + lane, past);
        for (int64_t k = begin; k < past; k += chunk) {
            next.wait(call, product, at, k + lane, past);
            GATEFLOW_UNROLL()
            for (int q = 0; q < quads; ++q) reinterpret_cast<Words*>(stage + lane * S)[q] = next.words[q];
            next.ask(call, product, at, k + chunk + lane, past);
            warp_barrier();
            const int depth = static_cast<int>(past - k < chunk ? past - k : chunk);
            const T* w = weights + (k + begun) * rows + first;
            GATEFLOW_UNROLL(2)
            for (int d = begun; d < depth; d += split, w += split * rows) {
                Four<T> h[quads];
                GATEFLOW_UNROLL()
                for (int q = 0; q < quads; ++q) h[q] = reinterpret_cast<const Four<T>*>(stage + d * S)[q];
                GATEFLOW_UNROLL()
                for (int i = 0; i < times; ++i)
                    if (first + 4 * across * i < rows) {
                        const Four<T> a = *reinterpret_cast<const Four<T>*>(w + 4 * across * i);
                        GATEFLOW_UNROLL()
                        for (int q = 0; q < quads; ++q)
                            GATEFLOW_UNROLL()
                            for (int r = 0; r < 16; ++r) sum[i][q][r] += a.of[r / 4] * h[q].of[r % 4];
                    }
            }
            warp_barrier();
        }
        GATEFLOW_UNROLL()
        for (int i = 0; i < times; ++i)
            GATEFLOW_UNROLL()
            for (int q = 0; q < quads; ++q) {
                // All lanes: a shuffle waits for those it is made with.
                if (first - lane % across * 4 + 4 * across * i < rows) add_up<split>(sum[i][q]);
                const int row = first + 4 * across * i, own = lane / across * (16 / split);
                if (row < rows) {
                    GATEFLOW_UNROLL()
                    for (int r = 0; r < 16 / split; ++r) sums[(row + own / 4) * S + 4 * q + own % 4 + r] = sum[i][q][r];
                }
            }
    }
}

}  // namespace gateflow
