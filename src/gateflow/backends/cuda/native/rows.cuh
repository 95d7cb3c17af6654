// The rows that the equations of a pass read and write, and what they gather.
#pragma once

#include "tape.cuh"

namespace gateflow {

// The rows of this thread's sample at a step; `m` and `n` of the equations are always the one sample and the one unit.
template <class T, int slots>
struct Rows {
    T* at[slots];
    u32* out[slots];  // on the tape, for what other blocks read
    bool rounded;

    GATEFLOW_INLINE T load(int slot, int64_t, int64_t j, One) const { return at[slot][j]; }
    GATEFLOW_INLINE T number(int slot, int64_t) const { return *at[slot]; }
    GATEFLOW_INLINE void store(int slot, int64_t, int64_t j, One, T v) const {
        if (out[slot]) publish(out[slot], j, v, rounded);
        at[slot][j] = v;
    }
    GATEFLOW_INLINE void keep(int slot, int64_t m, int64_t j, One n, T v) const { store(slot, m, j, n, v); }
    GATEFLOW_INLINE void store_number(int slot, int64_t, T v) const { *at[slot] = v; }
    GATEFLOW_INLINE void fetch(int, int64_t, int64_t) const {}
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

// One instruction, where a product of two 64-bit numbers is several.
GATEFLOW_INLINE int64_t times(int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<int>(a)) * static_cast<int>(b); }

template <class Layout, class T, int slots, class C>
GATEFLOW_INLINE Rows<T, slots> rows_at(const C& call, const Moment& at) {
    Rows<T, slots> rows;
    rows.rounded = call.rounded != 0;
    const bool going_on = at.sample < at.before;
    GATEFLOW_UNROLL()
    for (int s = 0; s < slots; ++s) {
        const Place<T>& place = call.places[s];
        switch (Layout::kind(s)) {
            case Kind::step:
            case Kind::ahead: rows.at[s] = place.base + times(at.line + at.sample, place.stride); break;
            case Kind::previous:
                rows.at[s] = (going_on ? place.base : const_cast<T*>(place.start)) +
                             times(going_on ? at.line_before + at.sample : at.sample, place.stride);
                break;
            case Kind::sample:
                rows.at[s] = place.base + times(block(), place.copies) + times(at.sample, place.stride);
                break;
            case Kind::fixed: rows.at[s] = place.base; break;
        }
        rows.out[s] = Layout::written(s) == 0
                          ? nullptr
                          : place_on_tape(call, at, at.iteration + Layout::written(s) - 1, place.column);
    }
    return rows;
}

// Puts what steps carry on the tape where no step of this launch has: at its first step, and where a sample begins.
template <class Layout, class T, int slots, class C>
GATEFLOW_INLINE void begin_rows(const C& call, const Moment& at) {
    if (!at.active || at.sample < at.known) return;
    const Rows<T, slots> rows = rows_at<Layout, T, slots>(call, at);
    GATEFLOW_UNROLL()
    for (int s = 0; s < slots; ++s)
        if (Layout::carried(s)) {
            const int64_t width = call.width[Layout::width(s)], share = call.share[Layout::width(s)];
            u32* to = place_on_tape(call, at, at.iteration, call.places[s].column);
            GATEFLOW_UNROLL(1)
            for (int64_t u = thread() / S; u < share; u += threads / S) {
                const int64_t j = at.rank * share + u;
                if (j < width) publish(to, j, rows.at[s][j], rows.rounded);
            }
        }
}

}  // namespace gateflow
