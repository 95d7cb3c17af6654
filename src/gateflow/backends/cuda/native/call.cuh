// What a launch is called with, and where a block is in its loop.
#pragma once

#include "equations.cuh"

namespace gateflow {

constexpr int W = GATEFLOW_WARPS;    // in a block; they divide the depth of products, so sums depend on their number
constexpr int S = GATEFLOW_SAMPLES;  // of a group, whose products a block makes at once
constexpr int threads = 32 * W, quads = S / 4, chunk = 32;
constexpr int slices = 32;  // in which totals are added up, in an order that depends on nothing but the width
// Whether operands are rounded to bfloat16 or float16: on the tape already, for the matrix units.
constexpr bool matrix_units = GATEFLOW_MATRIX_UNITS, rounded = GATEFLOW_ROUNDED, float16 = GATEFLOW_FLOAT16;
// Whether sequences differ in length.
constexpr bool ragged = GATEFLOW_RAGGED;
static_assert(S % 4 == 0 && S <= 16 && threads % S == 0);

enum class Kind { step, ahead, previous, sample, fixed };
struct One {};

// How a pass is told of its products on a CPU; here the cut tells.
struct Term {
    int slot, first, count, weights;
    int64_t columns[4];
};

// Where a row lies: number 0 in line 0; of a previous state also where it starts; numbers between lines.
template <class T>
struct Place {
    T* base;
    const T* start;
    int64_t stride;

    GATEFLOW_INLINE T* line(int k) const { return base + times(k, static_cast<int>(stride)); }
    GATEFLOW_INLINE T* line_of_start(int k) const { return const_cast<T*>(start) + times(k, static_cast<int>(stride)); }
};

// Lines that a product reads and no step of this loop writes.
template <class T>
struct Lines {
    const T* base;
    const T* start;
    int64_t stride;

    GATEFLOW_INLINE const T* line(int k) const { return base + times(k, static_cast<int>(stride)); }
    GATEFLOW_INLINE const T* line_of_start(int k) const { return start + times(k, static_cast<int>(stride)); }
};

// One run; filled in by the caller as 64-bit numbers, in this order (`arguments.py`). What does not change while a kernel
// is used is known when it is built: it is in `Cut` (`facts.py`).
template <class Cut, class T, int slots, int products>
struct Call : Cut {
    int64_t first, iterations, direction;  // the steps of the loop
    int64_t steps, samples, reverse;       // `reverse`: whether the cell goes from the last step to the first
    const int64_t* offsets;                // steps + 1 lines where the steps begin, if they are ragged
    int64_t replicas, groups;
    u32* tape;                             // [iterations + 1][group] entries, each operands and then totals
    T* reduced;                            // [vector][sample][longest], sums over steps of gradients of vectors
    int64_t longest;
    const T* weights;                      // [block][…]
    int64_t patience;                      // nanoseconds
    int64_t* failure;
    Place<T> places[slots];
    Lines<T> lines[products];

    GATEFLOW_INLINE int samples_at(int t) const {
        if (t < 0 || t >= static_cast<int>(steps)) return 0;
        return static_cast<int>(ragged ? offsets[t + 1] - offsets[t] : samples);
    }
    GATEFLOW_INLINE int line_at(int t) const {
        if (t < 0 || t >= static_cast<int>(steps)) return 0;
        return ragged ? static_cast<int>(offsets[t]) : t * static_cast<int>(samples);
    }
};

// Where a block is in the loop, and what of it does not change within a group of samples.
struct Moment {
    int iteration, group, low;           // the group's first sample
    int now, before, line, line_before;  // samples of this step and of the one before, and where they begin
    int known;                           // samples whose carried rows are on the tape already
    int rank, sample;                    // the block's place in its replica; this thread's sample
    bool active;

    GATEFLOW_INLINE int count() const { return now - low < S ? now - low : S; }
};

template <class C>
GATEFLOW_INLINE void move(const C& call, Moment& at, int iteration) {
    const int direction = static_cast<int>(call.direction), t = static_cast<int>(call.first) + iteration * direction;
    const int before = call.reverse ? t + 1 : t - 1;
    at.iteration = iteration;
    at.now = call.samples_at(t), at.line = call.line_at(t);
    at.before = call.samples_at(before), at.line_before = call.line_at(before);
    at.known = iteration == 0 ? 0 : call.samples_at(t - direction);
}

template <class C>
GATEFLOW_INLINE void choose(const C&, Moment& at, int group) {
    at.group = group, at.low = group * S, at.sample = at.low + thread() % S, at.active = at.sample < at.now;
}

}  // namespace gateflow
