// Products of bfloat16 or float16 by the matrix units: 16 rows by 8 samples by 16 columns at a time, sums in float32.
//
// Two numbers of neighbouring columns are one word. A lane reads four such words of one sample from the tape, 8 columns,
// and hands them to two products of 16 columns each. Which columns those are does not matter, as long as the weights have
// them in the same order (`weights.py`).
#pragma once

#include "product.cuh"

namespace gateflow {

constexpr int octets = (S + 7) / 8;  // of samples

// A lane's part of a chunk of 32 columns: 8 columns of one sample of each octet.
template <int P, class C>
struct Octets {
    static constexpr int depth = C::depth(P), chunks = (depth + chunk - 1) / chunk, part = (chunks + W - 1) / W;
    static constexpr int most = 8 / octets, window = part < most ? part : most;
    // Whether each warp has whole windows of whole chunks. Else a window may reach beyond what the warp has, and what is
    // there nobody may ever write before this step has ended: the next row, or the next step.
    static constexpr bool is_whole = depth % (chunk * W) == 0 && part % window == 0;

    const u32* begin;  // of this lane, in chunk 0
    int count, past, k;
    Words words[octets];

    GATEFLOW_INLINE void start(const C& call, const Moment& at) {
        const int lane = thread() % 32, column = C::column(P) + lane % 4 * 8;
        begin = entry(call, at.iteration + C::later(P), at.group) + (lane / 4 * C::operands + column) / 2;
        count = at.count() - lane / 4;
        const int end = (thread() / 32 + 1) * part * chunk;
        past = end < depth ? end : depth;
    }
    // What is not there must be no NaN, whatever it is multiplied by.
    GATEFLOW_INLINE bool exists(int o) const {
        if (8 * o >= count) return false;
        return is_whole || k + thread() % 4 * 8 < past;
    }
    GATEFLOW_INLINE void choose(int column) {
        k = column;
        GATEFLOW_UNROLL()
        for (int o = 0; o < octets; ++o) words[o] = nothing;
    }
    GATEFLOW_INLINE void again() {
        GATEFLOW_UNROLL()
        for (int o = 0; o < octets; ++o)
            words[o] = exists(o) ? load_words(begin + k / 2 + o * 4 * C::operands) : Words{};
    }
    GATEFLOW_INLINE bool is_missing() const {
        bool missing = false;
        GATEFLOW_UNROLL()
        for (int o = 0; o < octets; ++o) missing |= lacks_a_half(words[o]);
        return missing;
    }
};

// One warp's part of the depth of a product, sums [row][sample]; weights lie as lanes read them: [32 columns][half of
// them][tile of 16 rows][lane].
template <int P, class T, class C>
GATEFLOW_INLINE void multiply_matrix(const C& call, const Moment& at, const T* weights, T* sums) {
    using Own = Octets<P, C>;
    constexpr int tiles = C::rows(P) / 16, at_once = tiles < Own::most ? tiles : Own::most;
    constexpr int chunks = Own::chunks, part = Own::part, window = Own::window;
    const int lane = thread() % 32, warp = thread() / 32;
    const Words* const own = reinterpret_cast<const Words*>(weights) + warp * part * 2 * tiles * 32 + lane;
    Window<window, Own> next;
    GATEFLOW_UNROLL()
    for (int i = 0; i < window; ++i) next.pieces[i].start(call, at);
    GATEFLOW_UNROLL(1)
    for (int first = 0; first < tiles; first += at_once) {
        T sum[at_once][octets][4] = {};
        next.ask(warp * part * chunk, false);
        GATEFLOW_UNROLL(1)
        for (int k = 0; k < part; k += window) {
            next.wait(call);
            const Window<window, Own> now = next;
            if (k + window < part) next.ask((warp * part + k + window) * chunk, true);
            GATEFLOW_UNROLL()
            for (int j = 0; j < window; ++j)
                // Parts of warps are whole windows and whole chunks, or what is beyond them is known to be nothing.
                if ((chunks % W == 0 || warp * part + k + j < chunks) && (part % window == 0 || k + j < part))
                    GATEFLOW_UNROLL()
                    for (int half = 0; half < 2; ++half)
                        GATEFLOW_UNROLL()
                        for (int i = 0; i < at_once; ++i)
                            if (tiles % at_once == 0 || first + i < tiles) {
                                const Words w = own[((2 * (k + j) + half) * tiles + first + i) * 32];
                                GATEFLOW_UNROLL()
                                for (int o = 0; o < octets; ++o)
                                    multiply_tile<float16>(sum[i][o], w, now.pieces[j].words[o].of[2 * half],
                                                           now.pieces[j].words[o].of[2 * half + 1]);
                            }
        }
        GATEFLOW_UNROLL()
        for (int i = 0; i < at_once; ++i)
            if (tiles % at_once == 0 || first + i < tiles)
                GATEFLOW_UNROLL()
                for (int o = 0; o < octets; ++o)
                    GATEFLOW_UNROLL()
                    for (int r = 0; r < 2; ++r)
                        if (S >= 8 || lane % 4 * 2 < S) {
                            const int place = (16 * (first + i) + lane / 4 + r * 8) * S + 8 * o + lane % 4 * 2;
                            *reinterpret_cast<Two<T>*>(sums + place) = Two<T>{{sum[i][o][2 * r], sum[i][o][2 * r + 1]}};
                        }
    }
}

}  // namespace gateflow
