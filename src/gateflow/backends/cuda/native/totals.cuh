// Totals over the units of a row, which other blocks have parts of.
#pragma once

#include "product.cuh"

namespace gateflow {

// The totals of a pass: of four units each on the tape, and all of them from there.
template <class Frame, class T, class C>
GATEFLOW_INLINE void total(const C& call, const Moment& at, int64_t width, int64_t share) {
    constexpr int totals = Frame::Pass::totals;
    T* const shared = shared_memory();
    u32* tape = entry(call, at.iteration, at.group) + call.total_columns[Frame::number] * S;
    const int64_t pieces = (width + 3) / 4, first = at.rank * share / 4;
    block_barrier();
    for (int64_t i = thread(); i < totals * (share / 4) * S; i += threads) {
        const int m = static_cast<int>(i % S), k = static_cast<int>(i / S / (share / 4));
        const int64_t piece = i / S % (share / 4);
        if (m >= at.count() || first + piece >= pieces) continue;
        T sum = Frame::start(k);
        for (int64_t u = 4 * piece; u < 4 * piece + 4 && at.rank * share + u < width; ++u)
            sum = Frame::join(k, sum, shared[call.gathered + (k * share + u) * S + m]);
        store_word(tape + (k * pieces + first + piece) * S + m, word_of(sum, false));
    }
    for (int64_t i = thread(); i < totals * slices * quads; i += threads) {
        const int q = static_cast<int>(i % quads), slice = static_cast<int>(i / quads % slices);
        const int k = static_cast<int>(i / quads / slices);
        Four<T> sum;
        GATEFLOW_UNROLL()
        for (int j = 0; j < 4; ++j) sum.of[j] = Frame::start(k);
        for (int64_t piece = slice; piece < pieces && 4 * q < at.count(); piece += slices) {
            const u32* from = tape + (k * pieces + piece) * S + 4 * q;
            const Words words = arrived(call, from, load_words(from), at.count() - 4 * q);
            GATEFLOW_UNROLL()
            for (int j = 0; j < 4; ++j) sum.of[j] = Frame::join(k, sum.of[j], number(words.of[j]));
        }
        *reinterpret_cast<Four<T>*>(shared + call.sliced + (k * slices + slice) * S + 4 * q) = sum;
    }
    block_barrier();
    for (int i = thread(); i < totals * S; i += threads) {
        const int m = i % S, k = i / S;
        T sum = Frame::start(k);
        for (int slice = 0; slice < slices; ++slice)
            sum = Frame::join(k, sum, shared[call.sliced + (k * slices + slice) * S + m]);
        shared[call.totals + k * S + m] = sum;
    }
    block_barrier();
}

}  // namespace gateflow
