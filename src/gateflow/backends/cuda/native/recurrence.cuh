// The loop over time on a GPU: one launch for all steps. What differs between cells is generated, as on a CPU.
//
//     for each step: for each group of samples: for each pass:
//         the depth of the products divided among warps, their sums added up, the equations of the cell on them
//
// A replica of `blocks` blocks has all weights; replicas divide the samples and never meet. A block owns the same units
// of every row of a width in all passes and steps, and in it a thread the same unit and sample. So whatever is read unit
// by unit was written by the thread that reads it, and only what whole rows are needed for crosses blocks: operands of
// products, and totals. That goes over a tape (`tape.cuh`).
//
// A step is short: some thousand cycles, of which the way of a word from one block to another takes a third. So what
// counts is how many instructions follow each other. Sizes are constants (`Cut`), all that a warp needs of the tape is
// asked for at once, and what equations read is asked for before products are waited for.
#pragma once

#include "product_matrix.cuh"
#include "rows.cuh"
#include "totals.cuh"

namespace gateflow {

// The products of a pass from number `k` on; each warp's sums of their rows, one product below the other.
template <class Frame, int k, class T, class C>
GATEFLOW_INLINE void multiply_from(const C& call, const Moment& at, const T* weights, T* sums) {
    if constexpr (k < Frame::Pass::number_of_terms) {
        constexpr int P = Frame::first + k;
        if constexpr (matrix_units)
            multiply_matrix<P>(call, at, weights + C::begin(P), sums);
        else
            multiply<P, Frame::split>(call, at, weights + C::begin(P), sums);
        multiply_from<Frame, k + 1>(call, at, weights, sums + C::rows(P) * S);
    }
}

template <class Frame, class C>
GATEFLOW_INLINE constexpr int rows_of_sums(int before) {
    int rows = 0;
    for (int k = 0; k < before; ++k) rows += C::rows(Frame::first + k);
    return rows;
}

// All products of a pass; each warp's part of their sums lies in shared memory then, [warp][row][sample].
//
// Nobody looks at the tape before all of this block have put there what is theirs: the others' is hardly there earlier,
// and whoever looks keeps the way to the memory busy (an LSTM of 512 units took twice as long for its equations).
template <class Frame, class T, class C>
GATEFLOW_INLINE void multiply_all(const C& call, const Moment& at, const T* weights) {
    constexpr int rows = rows_of_sums<Frame, C>(Frame::Pass::number_of_terms);
    block_barrier();
    multiply_from<Frame, 0>(call, at, weights, shared_memory() + C::partial + thread() / 32 * (rows * S));
    block_barrier();
}

// The sums of one unit and this thread's sample: what all warps have of them. Rows are [sum][unit] in each product.
template <class Frame, int k, class T, class C>
GATEFLOW_INLINE void sums_from(int u, T* sum) {
    if constexpr (k < Frame::Pass::number_of_terms) {
        constexpr int P = Frame::first + k, share = C::share(Frame::Pass::width);
        constexpr int rows = rows_of_sums<Frame, C>(Frame::Pass::number_of_terms), before = rows_of_sums<Frame, C>(k);
        GATEFLOW_UNROLL()
        for (int s = 0; s < C::count(P); ++s) {
            const T* const from = shared_memory() + C::partial + (before + s * share + u) * S + thread() % S;
            T found = from[0];
            GATEFLOW_UNROLL()
            for (int w = 1; w < W; ++w) found += from[w * (rows * S)];
            sum[C::first_sum(P) + s] += found;
        }
        sums_from<Frame, k + 1, T, C>(u, sum);
    }
}

template <class Layout, class Frame, class T, int slots, class C>
GATEFLOW_INLINE void run_pass(const C& call, const Moment& at, const T* weights, Ready<Layout, T, slots>& ready) {
    using Pass = typename Frame::Pass;
    constexpr int width = C::width(Pass::width), share = C::share(Pass::width);
    const int begin = at.rank * share, units = width - begin < share ? width - begin : share;
    T* const shared = shared_memory();
    const Sums<T> sums{shared + C::totals, shared + C::gathered, call.reduced + at.sample * call.longest,
                       call.samples * call.longest, share, begin, thread() % S};
    if constexpr (Pass::number_of_terms > 0) {
        ready.template ask<typename Frame::Early>(call, at);
        multiply_all<Frame>(call, at, weights);
    }
    if (at.active && thread() / S < units) {
        Rows<T, slots> rows = rows_at<Layout, T, slots>(call, at);
        ready.template give<typename Frame::Reads>(call, at, rows, share, begin + thread() / S);
        GATEFLOW_UNROLL(1)
        for (int u = thread() / S; u < units; u += threads / S) {
            T sum[Pass::sums + 1] = {};
            if constexpr (Pass::number_of_terms > 0) sums_from<Frame, 0, T, C>(u, sum);
            Pass::point(rows, sums, 0, begin + u, One{}, sum);
            if (share * S <= threads) break;
        }
    }
    if constexpr (Pass::totals > 0) {
        ready.template ask<typename Frame::Late>(call, at);
        total<Frame, T>(call, at);
    }
    if constexpr (Pass::has_numbers) {
        // Others may still read the numbers of the group before; totals have waited for them.
        if constexpr (Pass::totals == 0) block_barrier();
        if (thread() < S && at.active) {
            Rows<T, slots> rows = rows_at<Layout, T, slots>(call, at);
            ready.template give<typename Frame::Reads>(call, at, rows, share, begin);
            Pass::numbers(rows, sums, 0);
        }
        block_barrier();
    }
}

// Vectors of weights, of this thread's unit.
template <class Layout, class Frame, class T, int slots, class C>
GATEFLOW_INLINE void fetch_fixed(const C& call, const Moment& at, Ready<Layout, T, slots>& ready) {
    constexpr int share = C::share(Frame::Pass::width);
    const int unit = at.rank * share + thread() / S;
    if (thread() / S >= share) return;
    GATEFLOW_UNROLL()
    for (int s = 0; s < slots; ++s)
        // A block without units of this width has its numbers all the same.
        if (Frame::Reads::of(s) == 3 && place_in<Layout, C>(s, unit) < C::width(Layout::width(s)))
            ready.fixed[s] = call.places[s].base[place_in<Layout, C>(s, unit)];
}

template <class Layout, class T, int slots, class C, class... Frame>
GATEFLOW_INLINE void run(const C& call) {
    const int replica = block() / C::blocks;
    Moment at;
    at.rank = block() % C::blocks;
    const T* weights = call.weights + times(at.rank, C::weights_of_block);
    if constexpr (GATEFLOW_WEIGHTS_ARE_SHARED) {
        for (int i = thread(); i < C::weights_of_block; i += threads) shared_memory()[i] = weights[i];
        weights = shared_memory();
        block_barrier();
    }
    Ready<Layout, T, slots> ready = {};
    (fetch_fixed<Layout, Frame, T, slots>(call, at, ready), ...);
    for (int iteration = 0; iteration < static_cast<int>(call.iterations); ++iteration) {
        move(call, at, iteration);
        for (int group = replica; group * S < at.now; group += static_cast<int>(call.replicas)) {
            choose(call, at, group);
            begin_rows<Layout, T, slots>(call, at);
            (run_pass<Layout, Frame, T, slots>(call, at, weights, ready), ...);
            ready.is_next = call.groups <= call.replicas;
        }
    }
}

}  // namespace gateflow
