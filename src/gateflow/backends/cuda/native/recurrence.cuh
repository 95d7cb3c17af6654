// The loop over time on a GPU: one launch for all steps. What differs between cells is generated, as on a CPU.
//
//     for each step: for each group of samples: for each pass:
//         the depth of the products divided among warps, their sums added up, the equations of the cell on them
//
// A replica of `blocks` blocks has all weights; replicas divide the samples and never meet. A block owns the same units
// of every row of a width in all passes and steps, and in it a thread the same unit and sample. So whatever is read unit
// by unit was written by the thread that reads it, and only what whole rows are needed for crosses blocks: operands of
// products, and totals. That goes over a tape (`tape.cuh`).
#pragma once

#include "product_matrix.cuh"
#include "rows.cuh"
#include "totals.cuh"

namespace gateflow {

// How many rows the sums of a product take, in whole tiles of the matrix units.
template <class T>
GATEFLOW_INLINE int rows_of(const Product<T>& product, int share) {
    const int rows = share * static_cast<int>(product.count);
    return matrix_units ? (rows + 15) / 16 * 16 : rows;
}

// All products of a pass; their sums lie in shared memory then.
template <class Frame, class T, class C>
GATEFLOW_INLINE void multiply_all(const C& call, const Moment& at, const T* weights) {
    using Pass = typename Frame::Pass;
    const int share = static_cast<int>(call.share[Pass::width]);
    int rows = 0, row = 0;
    for (int k = 0; k < Pass::number_of_terms; ++k) rows += rows_of(call.products[Frame::first + k], share);
    T* partial = shared_memory() + call.partial;
    for (int k = 0; k < Pass::number_of_terms; ++k) {
        const Product<T>& product = call.products[Frame::first + k];
        const int own = rows_of(product, share);
        T* const sums = partial + (thread() / 32 * rows + row) * S;
        if constexpr (matrix_units)
            multiply_matrix(call, product, at, weights + product.weights, own / 16, sums);
        else
            multiply<Frame::split>(call, product, at, weights + product.weights, own, sums);
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
        from += rows_of(product, share) * S;
    }
}

template <class Layout, class Frame, class T, int slots, class C>
GATEFLOW_INLINE void run_pass(const C& call, const Moment& at, const T* weights) {
    using Pass = typename Frame::Pass;
    const int64_t width = call.width[Pass::width], share = call.share[Pass::width], begin = at.rank * share;
    const int units = static_cast<int>(width - begin < share ? width - begin : share);
    const bool has_units = at.active && thread() / S < units;
    T* const shared = shared_memory();
    const Sums<T> sums{shared + call.totals, shared + call.gathered, call.reduced + at.sample * call.longest,
                       share, begin, call.samples * call.longest, thread() % S};
    Rows<T, slots> rows;
    if (has_units) rows = rows_at<Layout, T, slots>(call, at);
    if constexpr (Pass::sums > 0) {
        // What the equations will read arrives while products are waited for: loaded here, it is near by then.
        T early[slots] = {};
        GATEFLOW_UNROLL()
        for (int s = 0; s < slots; ++s)
            if (Frame::loads(s) && has_units) early[s] = rows.at[s][begin + thread() / S];
        multiply_all<Frame>(call, at, weights);
        GATEFLOW_UNROLL()
        for (int s = 0; s < slots; ++s)
            if (Frame::loads(s)) used(early[s]);
        // Products of float32 need the registers that addresses took.
        if constexpr (!matrix_units)
            if (has_units) rows = rows_at<Layout, T, slots>(call, at);
    }
    if (has_units) {
        GATEFLOW_UNROLL(1)
        for (int u = thread() / S; u < units; u += threads / S) {
            T sum[Pass::sums + 1];
            if constexpr (Pass::sums > 0) sums_of<Frame>(call, u, sum);
            Pass::point(rows, sums, 0, begin + u, One{}, sum);
        }
    }
    if constexpr (Pass::totals > 0) total<Frame, T>(call, at, width, share);
    if constexpr (Pass::has_numbers) {
        block_barrier();  // others may still read the numbers of the group before
        if (thread() < S && at.active) Pass::numbers(rows_at<Layout, T, slots>(call, at), sums, 0);
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
            begin_rows<Layout, T, slots>(call, at);
            (run_pass<Layout, Frame, T, slots>(call, at, weights), ...);
        }
    }
}

}  // namespace gateflow
