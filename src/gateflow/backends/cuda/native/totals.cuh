// Totals over the units of a row, which other blocks have parts of.
#pragma once

#include "product.cuh"

namespace gateflow {

// Four samples' part of a total.
template <class C>
struct Part {
    const u32* begin;  // of part 0
    int part, past, count;
    Words words;

    GATEFLOW_INLINE void again() {
        if (part < past) words = load_words(begin + part * S);
    }
    GATEFLOW_INLINE bool is_missing() const { return part < past && lacks(words, count); }
};

// What a total gathers: two bits for each of a pass, so that passes which gather the same share one copy of the code below.
template <int kinds, class T>
GATEFLOW_INLINE T start_of(int k) {
    const int kind = kinds >> 2 * k & 3;
    return kind == 0 ? Sum::start() : kind == 1 ? Largest::start() : Smallest::start();
}
template <int kinds, class T>
GATEFLOW_INLINE T joined(int k, T a, T b) {
    const int kind = kinds >> 2 * k & 3;
    return kind == 0 ? Sum::join(a, b) : kind == 1 ? Largest::join(a, b) : Smallest::join(a, b);
}

// Totals of `width` units of this step, of four units each on the tape, and all of them from there.
template <int totals, int kinds, int width, class T, class C>
GATEFLOW_SHARED void gather(const C& call, u32* tape, int rank, int count) {
    constexpr int share = 4 * ((width + 4 * C::blocks - 1) / (4 * C::blocks)), pieces = (width + 3) / 4;
    constexpr int each = (pieces + slices - 1) / slices, window = each < 8 ? each : 8;
    T* const shared = shared_memory();
    const int first = rank * share / 4;
    block_barrier();
    GATEFLOW_UNROLL(1)
    for (int i = thread(); i < totals * (share / 4) * S; i += threads) {
        const int m = i % S, k = i / S / (share / 4), piece = i / S % (share / 4);
        if (m >= count || first + piece >= pieces) continue;
        T sum = start_of<kinds, T>(k);
        GATEFLOW_UNROLL()
        for (int u = 4 * piece; u < 4 * piece + 4; ++u)
            if (width % 4 == 0 || rank * share + u < width)
                sum = joined<kinds>(k, sum, shared[C::gathered + (k * share + u) * S + m]);
        store_word(tape + (k * pieces + first + piece) * S + m, word_of(sum));
    }
    GATEFLOW_UNROLL(1)
    for (int i = thread(); i < totals * slices * quads; i += threads) {
        const int q = i % quads, slice = i / quads % slices, k = i / quads / slices;
        Four<T> sum;
        GATEFLOW_UNROLL()
        for (int j = 0; j < 4; ++j) sum.of[j] = start_of<kinds, T>(k);
        const u32* const own = tape + k * pieces * S + 4 * q;
        const int past = 4 * q < count ? pieces : 0;
        GATEFLOW_UNROLL(1)
        for (int piece = slice; piece < past; piece += window * slices) {
            Window<window, Part<C>> parts;
            GATEFLOW_UNROLL()
            for (int w = 0; w < window; ++w) {
                parts.pieces[w] = Part<C>{own, piece + w * slices, past, count - 4 * q, {}};
                parts.pieces[w].again();
            }
            parts.wait(call);
            GATEFLOW_UNROLL()
            for (int w = 0; w < window; ++w)
                if (piece + w * slices < past)
                    GATEFLOW_UNROLL()
                    for (int j = 0; j < 4; ++j)
                        sum.of[j] = joined<kinds>(k, sum.of[j], number(parts.pieces[w].words.of[j]));
        }
        *reinterpret_cast<Four<T>*>(shared + C::sliced + (k * slices + slice) * S + 4 * q) = sum;
    }
    block_barrier();
    for (int i = thread(); i < totals * S; i += threads) {
        const int m = i % S, k = i / S;
        T sum = start_of<kinds, T>(k);
        GATEFLOW_UNROLL(8)
        for (int slice = 0; slice < slices; ++slice)
            sum = joined<kinds>(k, sum, shared[C::sliced + (k * slices + slice) * S + m]);
        shared[C::totals + k * S + m] = sum;
    }
    block_barrier();
}

template <class Frame, class T, class C>
GATEFLOW_INLINE void total(const C& call, const Moment& at) {
    u32* const tape = entry(call, at.iteration, at.group) + C::total_column(Frame::number) * S;
    gather<Frame::Pass::totals, Frame::kinds, C::width(Frame::Pass::width), T>(call, tape, at.rank, at.count());
}

}  // namespace gateflow
