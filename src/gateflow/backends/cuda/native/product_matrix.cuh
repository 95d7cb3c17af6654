// Products of bfloat16 by the matrix units: 16 rows by 8 samples by 16 columns at a time, sums in float32.
//
// Two numbers of neighbouring columns are one word. A lane reads four such words of one sample from the tape, 8 columns,
// and hands them to two products of 16 columns each. Which columns those are does not matter, as long as the weights have
// them in the same order (`weights.py`).
#pragma once

#include "product.cuh"

namespace gateflow {

constexpr int octets = (S + 7) / 8;  // of samples

template <class T, class C>
struct Octets {
    Words words[octets];

    GATEFLOW_INLINE static const u32* from(const C& call, const Product<T>& product, const Moment& at, int64_t k, int o) {
        const int lane = thread() % 32, sample = 8 * o + lane / 4;
        const u32* begin = entry(call, at.iteration + product.later, at.group);
        return begin + (sample * call.operands + product.column + k + lane % 4 * 8) / 2;
    }
    GATEFLOW_INLINE static bool is_there(const Product<T>& product, int64_t k, int count, int o) {
        return k + thread() % 4 * 8 < product.depth && 8 * o + thread() % 32 / 4 < count;
    }
    GATEFLOW_INLINE void ask(const C& call, const Product<T>& product, const Moment& at, int64_t k) {
        GATEFLOW_UNROLL()
        for (int o = 0; o < octets; ++o)
            // What is not there must be no NaN, whatever it is multiplied by.
            words[o] = is_there(product, k, at.count(), o) ? load_words(from(call, product, at, k, o)) : Words{};
    }
    GATEFLOW_INLINE void wait(const C& call, const Product<T>& product, const Moment& at, int64_t k) {
        GATEFLOW_UNROLL()
        for (int o = 0; o < octets; ++o)
            if (is_there(product, k, at.count(), o)) words[o] = both_arrived(call, from(call, product, at, k, o), words[o]);
    }
};

// One warp's part of the depth of a product, sums [row][sample]; `tiles` are of 16 rows, and weights lie as lanes read them:
// [32 columns][half of them][tile][lane].
template <class T, class C>
GATEFLOW_CALLED void multiply_matrix(const C& call, const Product<T>& product, const Moment& at, const T* weights, int tiles,
                                     T* sums) {
    constexpr int at_once = 8 / octets;
    const int lane = thread() % 32, warp = thread() / 32;
    const int64_t chunks = (product.depth + chunk - 1) / chunk, part = (chunks + W - 1) / W;
    const int64_t begin = warp * part, past = begin + part < chunks ? begin + part : chunks;
    for (int first = 0; first < tiles; first += at_once) {
        T sum[at_once][octets][4] = {};
        Octets<T, C> now, next;
        if (begin < past) next.ask(call, product, at, begin * chunk);
        for (int64_t k = begin; k < past; ++k) {
            next.wait(call, product, at, k * chunk);
            now = next;
            if (k + 1 < past) next.ask(call, product, at, (k + 1) * chunk);
            GATEFLOW_UNROLL()
            for (int half = 0; half < 2; ++half)
                GATEFLOW_UNROLL()
                for (int i = 0; i < at_once; ++i)
                    if (first + i < tiles) {
                        const int64_t place = ((2 * k + half) * tiles + first + i) * 32 + lane;
                        const Words w = reinterpret_cast<const Words*>(weights)[place];
                        GATEFLOW_UNROLL()
                        for (int o = 0; o < octets; ++o)
                            multiply_tile(sum[i][o], w, now.words[o].of[2 * half], now.words[o].of[2 * half + 1]);
                    }
        }
        GATEFLOW_UNROLL()
        for (int i = 0; i < at_once; ++i)
            if (first + i < tiles)
                GATEFLOW_UNROLL()
                for (int o = 0; o < octets; ++o)
                    GATEFLOW_UNROLL()
                    for (int r = 0; r < 4; ++r)
                        sums[(16 * (first + i) + lane / 4 + r / 2 * 8) * S + 8 * o + lane % 4 * 2 + r % 2] = sum[i][o][r];
    }
}

}  // namespace gateflow
