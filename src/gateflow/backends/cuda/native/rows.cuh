// The rows that the equations of a pass read and write, and what they gather.
#pragma once

#include "tape.cuh"

namespace gateflow {

// The rows of this thread's sample at a step; `m` and `n` of the equations are always the one sample and the one unit.
template <class T, int slots>
struct Rows {
    T* at[slots];
    u32* out[slots];  // on the tape, for what other blocks read

    GATEFLOW_INLINE T load(int slot, int64_t, int64_t j, One) const { return at[slot][j]; }
    GATEFLOW_INLINE T number(int slot, int64_t) const { return *at[slot]; }
    GATEFLOW_INLINE void store(int slot, int64_t, int64_t j, One, T v) const {
        if (out[slot]) publish(out[slot], static_cast<int>(j), v);
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
    int64_t vector;
    int share, begin, m;

    template <class Total>
    GATEFLOW_INLINE void gather(int k, int64_t, int64_t j, One, T v) const {
        gathered[(k * share + static_cast<int>(j) - begin) * S + m] = v;
    }
    template <class Total>
    GATEFLOW_INLINE T total_of(int k, int64_t) const { return total[k * S + m]; }
    GATEFLOW_INLINE void reduce(int k, int64_t, int64_t j, One, T v) const { reduced[k * vector + j] += v; }
};

// Where a row of this thread's sample lies.
template <class Layout, class T, class C>
GATEFLOW_INLINE T* row_at(const C& call, const Moment& at, int slot) {
    const Place<T>& place = call.places[slot];
    const bool going_on = at.sample < at.before;
    switch (Layout::kind(slot)) {
        case Kind::step:
        case Kind::ahead: return place.base + times(at.line + at.sample, place.stride);
        case Kind::previous:
            return (going_on ? place.base : const_cast<T*>(place.start)) +
                   times(going_on ? at.line_before + at.sample : at.sample, place.stride);
        case Kind::sample: return place.base + times(block(), place.copies) + times(at.sample, place.stride);
        default: return place.base;
    }
}

template <class Layout, class T, int slots, class C>
GATEFLOW_INLINE Rows<T, slots> rows_at(const C& call, const Moment& at) {
    Rows<T, slots> rows;
    GATEFLOW_UNROLL()
    for (int s = 0; s < slots; ++s) {
        rows.at[s] = row_at<Layout, T>(call, at, s);
        rows.out[s] = Layout::written(s) == 0
                          ? nullptr
                          : place_on_tape(call, at, at.iteration + Layout::written(s) - 1, C::column_of(s));
    }
    return rows;
}

// What the equations behind a wait will read, asked for before it: by then it is in the cache near by.
//
// `Early::steps(slot)` has bit 0 for rows of this step, bit 1 for those of the next one.
template <class Layout, class Early, int bit, class T, int slots>
struct Asked {
    static constexpr bool has(int slot) { return (Early::steps(slot) >> bit & 1) != 0; }

    T values[slots] = {};

    template <class C>
    GATEFLOW_INLINE void ask(const C& call, const Moment& at, int unit) {
        if (!at.active) return;
        GATEFLOW_UNROLL()
        for (int s = 0; s < slots; ++s)
            if (has(s) && unit < C::width(Layout::width(s))) values[s] = row_at<Layout, T>(call, at, s)[unit];
    }
    // Without this the compiler would leave out what nobody reads.
    GATEFLOW_INLINE void end() const {
        GATEFLOW_UNROLL()
        for (int s = 0; s < slots; ++s)
            if (has(s)) used(values[s]);
    }
};

template <class Layout, class Early, class T, int slots>
struct AskedOfBoth {
    Asked<Layout, Early, 0, T, slots> now;
    Asked<Layout, Early, 1, T, slots> next;

    template <class C>
    GATEFLOW_INLINE void ask(const C& call, const Moment& at, int share) {
        if (thread() / S >= share) return;
        const int unit = at.rank * share + thread() / S;
        now.ask(call, at, unit);
        if constexpr (asks_next()) {
            Moment then = at;
            move(call, then, at.iteration + 1);
            choose(call, then, at.group);
            next.ask(call, then, unit);
        }
    }
    GATEFLOW_INLINE void end() const { now.end(), next.end(); }
    static constexpr bool asks_next() {
        for (int s = 0; s < slots; ++s)
            if (Early::steps(s) >= 2) return true;
        return false;
    }
};

// Puts what steps carry on the tape where no step of this launch has: at its first step, and where a sample begins.
template <class Layout, class T, int slots, class C>
GATEFLOW_INLINE void begin_rows(const C& call, const Moment& at) {
    if (!at.active || at.sample < at.known) return;
    GATEFLOW_UNROLL()
    for (int s = 0; s < slots; ++s)
        if (Layout::carried(s)) {
            const int width = C::width(Layout::width(s)), share = C::share(Layout::width(s));
            const T* row = row_at<Layout, T>(call, at, s);
            u32* to = place_on_tape(call, at, at.iteration, C::column_of(s));
            GATEFLOW_UNROLL(1)
            for (int u = thread() / S; u < share; u += threads / S) {
                const int j = at.rank * share + u;
                if (j < width) publish(to, j, row[j]);
            }
        }
}

}  // namespace gateflow
