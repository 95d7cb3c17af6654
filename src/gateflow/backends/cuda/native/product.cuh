// Products of float32: tiles of 4 rows by 4 samples in the registers of a lane.
#pragma once

#include "tape.cuh"

namespace gateflow {

template <class T>
struct alignas(8) Two {
    T of[2];
};
template <class T>
struct alignas(16) Four {
    T of[4];
};

// How many chunks a lane holds at once, in sixteen registers.
constexpr int widest = 4 / quads;

// A lane's part of a chunk of 32 columns: one of them, for all samples of the group.
template <int P, class T, class C>
struct Column {
    static constexpr bool on_tape = C::column(P) >= 0;

    const C* call;
    const Moment* at;
    const u32* begin;  // of column 0
    int past, k;
    Words words[quads];

    GATEFLOW_INLINE void start(const C& of, const Moment& when, int end) {
        call = &of, at = &when, past = end;
        if constexpr (on_tape) begin = entry(of, when.iteration + C::later(P), when.group) + C::column(P) * S;
    }
    GATEFLOW_INLINE void choose(int column) {
        k = column + thread() % 32;
        GATEFLOW_UNROLL()
        for (int q = 0; q < quads; ++q) words[q] = nothing;
    }
    GATEFLOW_INLINE void again() {
        if (k >= past) return;
        if constexpr (!on_tape) return read();
        GATEFLOW_UNROLL()
        for (int q = 0; q < quads; ++q) words[q] = load_words(begin + k * S + 4 * q);
    }
    GATEFLOW_INLINE bool is_missing() const {
        bool missing = false;
        if (on_tape && k < past)
            GATEFLOW_UNROLL()
            for (int q = 0; q < quads; ++q) missing |= lacks(words[q], at->count() - 4 * q);
        return missing;
    }
    // Of lines that were there before the launch.
    GATEFLOW_INLINE void read() {
        const Lines<T>& lines = call->lines[P];
        GATEFLOW_UNROLL()
        for (int m = 0; m < S; ++m) {
            const int sample = at->low + m;
            T x = 0;
            if (sample < at->now) {
                const bool going_on = sample < at->before;
                const T* line = !C::previous(P) ? lines.line(at->line + sample)
                                : going_on      ? lines.line(at->line_before + sample)
                                                : lines.line_of_start(sample);
                x = line[k];
            }
            words[m / 4].of[m % 4] = bits(rounded ? factor_of(x) : x);
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

// Adds every `split`-th column of a window, from this lane's first on.
template <int split, int times, int rows, class T>
GATEFLOW_INLINE void add_columns(const T* w, const T* stage, int row, int length, T (&sum)[times][quads][16]) {
    constexpr int across = 32 / split;
    GATEFLOW_UNROLL(2)
    for (int d = thread() % 32 / across; d < length; d += split, w += split * rows) {
        Four<T> h[quads];
        GATEFLOW_UNROLL()
        for (int q = 0; q < quads; ++q) h[q] = reinterpret_cast<const Four<T>*>(stage + d * S)[q];
        GATEFLOW_UNROLL()
        for (int i = 0; i < times; ++i)
            if (rows % (4 * across * times) == 0 || row + 4 * across * i < rows) {
                const Four<T> a = *reinterpret_cast<const Four<T>*>(w + 4 * across * i);
                GATEFLOW_UNROLL()
                for (int q = 0; q < quads; ++q)
                    GATEFLOW_UNROLL()
                    for (int r = 0; r < 16; ++r) sum[i][q][r] += a.of[r / 4] * h[q].of[r % 4];
            }
    }
}

// One warp's part of the depth of a product: sums [row][sample] of the block's rows, a row being a sum of a unit.
//
// A lane makes tiles of 4 rows by 4 samples, of every `split`-th column: this and the part of the warp are all that the
// order of a sum depends on, and so not on how many samples or units there are.
template <int P, int split, class T, class C>
GATEFLOW_INLINE void multiply(const C& call, const Moment& at, const T* weights, T* sums) {
    constexpr int rows = C::rows(P), depth = C::depth(P), across = 32 / split;
    constexpr int tiles = (rows + 4 * across - 1) / (4 * across), times = tiles < 4 / quads ? tiles : 4 / quads;
    constexpr int part = (depth + W - 1) / W, chunks = (part + chunk - 1) / chunk;
    constexpr int window = chunks < widest ? chunks : widest;
    const int lane = thread() % 32, warp = thread() / 32, begun = lane / across, mine = lane % across * 4;
    T* const stage = shared_memory() + C::stage + warp * widest * chunk * S;
    const int begin = warp * part, past = begin + part < depth ? begin + part : depth;
    Window<window, Column<P, T, C>> next;
    GATEFLOW_UNROLL()
    for (int i = 0; i < window; ++i) next.pieces[i].start(call, at, past);
    GATEFLOW_UNROLL(1)
    for (int first = 0; first < rows; first += 4 * across * times) {
        T sum[times][quads][16] = {};
        next.ask(begin, !Column<P, T, C>::on_tape);
        GATEFLOW_UNROLL(1)
        for (int c = 0; c < chunks; c += window) {
            next.wait(call);
            GATEFLOW_UNROLL()
            for (int i = 0; i < window; ++i)
                GATEFLOW_UNROLL()
                for (int q = 0; q < quads; ++q)
                    reinterpret_cast<Words*>(stage + (i * chunk + lane) * S)[q] = next.pieces[i].words[q];
            warp_barrier();
            const int k = begin + c * chunk;
            if (c + window < chunks) next.ask(k + window * chunk, true);
            const int length = past - k < window * chunk ? past - k : window * chunk;
            add_columns<split, times, rows>(weights + (k + begun) * rows + first + mine, stage, first + mine, length, sum);
            warp_barrier();
        }
        GATEFLOW_UNROLL()
        for (int i = 0; i < times; ++i)
            GATEFLOW_UNROLL()
            for (int q = 0; q < quads; ++q) {
                // All lanes: a shuffle waits for those it is made with.
                if (first + 4 * across * i < rows) add_up<split>(sum[i][q]);
                const int row = first + mine + 4 * across * i, own = begun * (16 / split);
                if (row < rows) {
                    GATEFLOW_UNROLL()
                    for (int r = 0; r < 16 / split; ++r) sums[(row + own / 4) * S + 4 * q + own % 4 + r] = sum[i][q][r];
                }
            }
    }
}

}  // namespace gateflow
