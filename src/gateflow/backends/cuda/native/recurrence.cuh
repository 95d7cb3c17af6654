// The loop over time on a GPU: one launch for all steps. What differs between cells is generated, as on a CPU.
//
//     for each step: for each group of samples: for each pass:
//         the depth of the products divided among warps, their sums added up, the equations of the cell on them
//
// A replica of `blocks` blocks has all weights; replicas divide the samples and never meet. A block owns the same units
// of every row of a width in all passes and steps, and in it a thread the same unit and sample. So whatever is read unit
// by unit was written by the thread that reads it, and only what whole rows are needed for crosses blocks: operands of
// products, and totals. That goes over a tape, which has a place of its own for each step and is EMPTY beforehand; a
// reader polls the data itself until it is there. No place is used twice, so no order between two words matters.
#pragma once

#include "equations.cuh"

namespace gateflow {

constexpr int W = GATEFLOW_WARPS;    // in a block; they divide the depth of products, so sums depend on their number
constexpr int S = GATEFLOW_SAMPLES;  // of a group, whose products a block makes at once
constexpr int threads = 32 * W, quads = S / 4, chunk = 32;
constexpr int slices = 32;  // in which totals are added up, in an order that depends on nothing but the width
static_assert(S % 4 == 0 && S <= 16 && threads % S == 0);

// No result of arithmetic is this NaN, and what merely passes a value on makes another NaN of it (`word_of`).
constexpr u32 EMPTY = 0xffffffffu;

enum class Kind { step, ahead, previous, sample, fixed };
struct One {};

// How a pass is told of its products on a CPU; here `Product` tells.
struct Term {
    int slot, first, count, weights;
    int64_t columns[4];
};

// Where a row lies: number 0 in line 0; of a previous state also where it starts; numbers between lines, and between the
// copies that blocks have of it; its first column on the tape.
template <class T>
struct Place {
    T* base;
    const T* start;
    int64_t stride, copies, column;
};

// A product of a pass: where its operand is (a column of the tape, `later` for that of the next step, else lines that no
// step of this loop writes), how long that is, the sums it adds to, and where a block's weights for it begin, [depth][unit][sum].
template <class T>
struct Product {
    const T* base;
    const T* start;
    int64_t stride, previous, column, later, depth, first, count, weights;
};

// One run; filled in by the caller as 64-bit numbers, in this order (`arguments.py`).
template <class T, int slots, int number_of_products, int widths, int passes>
struct Call {
    int64_t first, iterations, direction;  // the steps of the loop
    int64_t steps, samples, reverse;       // `reverse`: whether the cell goes from the last step to the first
    const int64_t* offsets;                // steps + 1 lines where the steps begin; none: every step has all samples
    int64_t replicas, blocks, groups;
    int64_t rounded;                       // whether operands of products are rounded to bfloat16
    u32* tape;                             // [iterations + 1][group][column][sample]
    int64_t columns;
    T* reduced;                            // [vector][sample][longest], sums over steps of gradients of vectors
    int64_t longest;
    const T* weights;                      // [block][…]
    int64_t weights_of_block;
    int64_t stage, partial, sums, gathered, sliced, totals;  // where these are in shared memory, in numbers
    int64_t patience;                      // nanoseconds
    int64_t* failure;
    int64_t width[widths], share[widths];  // numbers in rows of a width, and how many of them a block owns
    int64_t total_columns[passes];         // of the totals of a pass
    Place<T> places[slots];
    Product<T> products[number_of_products];

    GATEFLOW_INLINE int64_t rows(int64_t t) const {
        if (t < 0 || t >= steps) return 0;
        return offsets ? offsets[t + 1] - offsets[t] : samples;
    }
    GATEFLOW_INLINE int64_t line(int64_t t) const {
        if (t < 0 || t >= steps) return 0;
        return offsets ? offsets[t] : t * samples;
    }
};

// Where a block is in the loop, and what of it does not change within a group of samples.
struct Moment {
    int64_t iteration, group, low;              // the group's first sample
    int64_t now, before, line, line_before;     // samples of this step and of the one before, and where they begin
    int64_t known;                              // samples whose carried rows are on the tape already
    int64_t rank, sample;                       // the block's place in its replica; this thread's sample
    bool active;

    GATEFLOW_INLINE int count() const { return static_cast<int>(now - low < S ? now - low : S); }
};

GATEFLOW_INLINE float to_bfloat16(float x) {
    const u32 word = bits(x);
    return x == x ? number((word + 0x7fffu + (word >> 16 & 1)) & 0xffff0000u) : x;
}

GATEFLOW_INLINE u32 word_of(float x, bool rounded) {
    const u32 word = bits(rounded ? to_bfloat16(x) : x);
    return word == EMPTY ? 0x7fffffffu : word;
}

// The rows of this thread's sample at a step; `m` and `n` of the equations are always the one sample and the one unit.
template <class T, int slots>
struct Rows {
    T* at[slots];
    u32* out[slots];  // on the tape, for what other blocks read
    bool rounded;

    GATEFLOW_INLINE T load(int slot, int64_t, int64_t j, One) const { return at[slot][j]; }
    GATEFLOW_INLINE T number(int slot, int64_t) const { return *at[slot]; }
    GATEFLOW_INLINE void store(int slot, int64_t, int64_t j, One, T v) const {
        if (out[slot]) store_word(out[slot] + j * S, word_of(v, rounded));
        at[slot][j] = v;
    }
    GATEFLOW_INLINE void keep(int slot, int64_t m, int64_t j, One n, T v) const { store(slot, m, j, n, v); }
    GATEFLOW_INLINE void store_number(int slot, int64_t, T v) const { *at[slot] = v; }
    GATEFLOW_INLINE void fetch(int slot, int64_t, int64_t j) const { prefetch(at[slot] + j); }
};

// What a pass gathers over the units of a row, and over steps.
template <class T>
struct Sums {
    const T* total;  // [total][sample]
    T* gathered;     // [total][unit][sample]
    T* reduced;      // of this thread's sample
    int64_t share, begin, vector;
    int m;

    template <class Total>
    GATEFLOW_INLINE void gather(int k, int64_t, int64_t j, One, T v) const {
        gathered[(k * share + j - begin) * S + m] = v;
    }
    template <class Total>
    GATEFLOW_INLINE T total_of(int k, int64_t) const { return total[k * S + m]; }
    GATEFLOW_INLINE void reduce(int k, int64_t, int64_t j, One, T v) const { reduced[k * vector + j] += v; }
};

template <class C>
GATEFLOW_INLINE u32* entry(const C& call, int64_t iteration, int64_t group) {
    return call.tape + (iteration * call.groups + group) * call.columns * S;
}

// Four samples of one column, waited for; samples that this step does not have never come.
template <class C>
GATEFLOW_INLINE Words arrived(const C& call, const u32* from, Words words, int count) {
    Patience patience;
    while (true) {
        bool missing = false;
        GATEFLOW_UNROLL()
        for (int i = 0; i < 4; ++i) missing |= i < count && words.of[i] == EMPTY;
        if (!missing) return words;
        if (patience.ended(call.patience)) give_up(call.failure);
        words = load_words(from);
    }
}

template <class Layout, class T, int slots, class C>
GATEFLOW_INLINE Rows<T, slots> rows_at(const C& call, const Moment& at) {
    Rows<T, slots> rows;
    rows.rounded = call.rounded != 0;
    const bool going_on = at.sample < at.before;
    const int m = thread() % S;
    GATEFLOW_UNROLL()
    for (int s = 0; s < slots; ++s) {
        const Place<T>& place = call.places[s];
        switch (Layout::kind(s)) {
            case Kind::step:
            case Kind::ahead: rows.at[s] = place.base + (at.line + at.sample) * place.stride; break;
            case Kind::previous:
                rows.at[s] = going_on ? place.base + (at.line_before + at.sample) * place.stride
                                      : const_cast<T*>(place.start) + at.sample * place.stride;
                break;
            case Kind::sample: rows.at[s] = place.base + block() * place.copies + at.sample * place.stride; break;
            case Kind::fixed: rows.at[s] = place.base; break;
        }
        rows.out[s] = Layout::written(s) == 0
                          ? nullptr
                          : entry(call, at.iteration + Layout::written(s) - 1, at.group) + place.column * S + m;
    }
    return rows;
}

// Puts what steps carry on the tape where no step of this launch has: at its first step, and where a sample begins.
template <class Layout, class T, int slots, class C>
GATEFLOW_INLINE void begin_rows(const C& call, const Rows<T, slots>& rows, const Moment& at) {
    if (!at.active || at.sample < at.known) return;
    GATEFLOW_UNROLL()
    for (int s = 0; s < slots; ++s)
        if (Layout::carried(s)) {
            const int64_t width = call.width[Layout::width(s)], share = call.share[Layout::width(s)];
            u32* to = entry(call, at.iteration, at.group) + call.places[s].column * S + thread() % S;
            for (int64_t u = thread() / S; u < share; u += threads / S) {
                const int64_t j = at.rank * share + u;
                if (j < width) store_word(to + j * S, word_of(rows.at[s][j], rows.rounded));
            }
        }
}

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

template <class T>
struct alignas(16) Four {
    T of[4];
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

// All products of a pass; their sums lie in shared memory then.
template <class Frame, class T, class C>
GATEFLOW_INLINE void multiply_all(const C& call, const Moment& at, const T* weights) {
    using Pass = typename Frame::Pass;
    const int share = static_cast<int>(call.share[Pass::width]);
    int rows = 0;
    for (int k = 0; k < Pass::number_of_terms; ++k) rows += share * static_cast<int>(call.products[Frame::first + k].count);
    T* partial = shared_memory() + call.partial;
    int row = 0;
    for (int k = 0; k < Pass::number_of_terms; ++k) {
        const Product<T>& product = call.products[Frame::first + k];
        const int own = share * static_cast<int>(product.count);
        multiply<Frame::split>(call, product, at, weights + product.weights, own, partial + (thread() / 32 * rows + row) * S);
        row += own;
    }
    block_barrier();
    for (int i = thread(); i < rows * S; i += threads) {
        T sum = partial[i];
        for (int w = 1; w < W; ++w) sum += partial[w * rows * S + i];
        shared_memory()[call.sums + i] = sum;
    }
    block_barrier();
}

// The sums of one unit and this thread's sample.
template <class Frame, class T, class C>
GATEFLOW_INLINE void sums_of(const C& call, int u, T* sum) {
    using Pass = typename Frame::Pass;
    const int share = static_cast<int>(call.share[Pass::width]);
    const T* from = shared_memory() + call.sums + thread() % S;
    GATEFLOW_UNROLL()
    for (int s = 0; s < Pass::sums; ++s) sum[s] = 0;
    for (int k = 0; k < Pass::number_of_terms; ++k) {
        const Product<T>& product = call.products[Frame::first + k];
        const int count = static_cast<int>(product.count), first = static_cast<int>(product.first);
        GATEFLOW_UNROLL()
        for (int s = 0; s < Pass::sums; ++s)
            if (s >= first && s < first + count) sum[s] += from[(u * count + s - first) * S];
        from += share * count * S;
    }
}

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

template <class Layout, class Frame, class T, int slots, class C>
GATEFLOW_INLINE void run_pass(const C& call, const Moment& at, const T* weights) {
    using Pass = typename Frame::Pass;
    const int64_t width = call.width[Pass::width], share = call.share[Pass::width], begin = at.rank * share;
    T* const shared = shared_memory();
    const Sums<T> sums{shared + call.totals, shared + call.gathered, call.reduced + at.sample * call.longest,
                       share, begin, call.samples * call.longest, thread() % S};
    if constexpr (Pass::sums > 0) {
        // What the equations will read arrives while the product is waited for.
        const Rows<T, slots> early = rows_at<Layout, T, slots>(call, at);
        for (int64_t u = thread() / S; u < share; u += threads / S)
            if (at.active && begin + u < width) Pass::fetch(early, 0, begin + u);
        multiply_all<Frame>(call, at, weights);
    }
    // Addresses are worked out again, so that they take no registers while products do.
    const Rows<T, slots> rows = rows_at<Layout, T, slots>(call, at);
    for (int64_t u = thread() / S; u < share; u += threads / S)
        if (at.active && begin + u < width) {
            T sum[Pass::sums + 1];
            if constexpr (Pass::sums > 0) sums_of<Frame>(call, static_cast<int>(u), sum);
            Pass::point(rows, sums, 0, begin + u, One{}, sum);
        }
    if constexpr (Pass::totals > 0) total<Frame, T>(call, at, width, share);
    if constexpr (Pass::has_numbers) {
        block_barrier();  // others may still read the numbers of the group before
        if (thread() < S && at.active) Pass::numbers(rows, sums, 0);
        block_barrier();
    }
}

template <class Layout, class T, int slots, class C, class... Frame>
GATEFLOW_INLINE void run(const C& call) {
    const int64_t replica = block() / call.blocks;
    Moment at;
    at.rank = block() % call.blocks;
    const T* weights = call.weights + at.rank * call.weights_of_block;
    if constexpr (GATEFLOW_WEIGHTS_ARE_SHARED) {
        for (int64_t i = thread(); i < call.weights_of_block; i += threads) shared_memory()[i] = weights[i];
        weights = shared_memory();
        block_barrier();
    }
    for (at.iteration = 0; at.iteration < call.iterations; ++at.iteration) {
        const int64_t t = call.first + at.iteration * call.direction, before = call.reverse ? t + 1 : t - 1;
        at.now = call.rows(t), at.line = call.line(t);
        at.before = call.rows(before), at.line_before = call.line(before);
        at.known = at.iteration == 0 ? 0 : call.rows(t - call.direction);
        for (at.group = replica; at.group * S < at.now; at.group += call.replicas) {
            at.low = at.group * S, at.sample = at.low + thread() % S, at.active = at.sample < at.now;
            begin_rows<Layout>(call, rows_at<Layout, T, slots>(call, at), at);
            (run_pass<Layout, Frame, T, slots>(call, at, weights), ...);
        }
    }
}

}  // namespace gateflow
