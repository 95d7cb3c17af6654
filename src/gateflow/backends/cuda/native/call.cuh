// What a launch is called with, and where a block is in its loop.
#pragma once

#include "equations.cuh"

namespace gateflow {

constexpr int W = GATEFLOW_WARPS;    // in a block; they divide the depth of products, so sums depend on their number
constexpr int S = GATEFLOW_SAMPLES;  // of a group, whose products a block makes at once
constexpr int threads = 32 * W, quads = S / 4, chunk = 32;
constexpr int slices = 32;  // in which totals are added up, in an order that depends on nothing but the width
// Whether operands are rounded to bfloat16 on the tape already, for the matrix units.
constexpr bool matrix_units = GATEFLOW_MATRIX_UNITS;
static_assert(S % 4 == 0 && S <= 16 && threads % S == 0);

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
    u32* tape;                             // [iterations + 1][group] entries, each operands and then totals
    int64_t columns, operands;             // words of an entry for each sample; numbers of operands, of these
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

}  // namespace gateflow
