// The rows that the equations of a pass read and write, and what they gather.
#pragma once

#include "tape.cuh"

namespace gateflow {

// The rows of this thread's sample at a step; `m` and `n` of the equations are always the one sample and the one unit.
//
// Which of its arrays an instruction reads is known when it is compiled.
template <class T, int slots>
struct Rows {
    T* at[slots];
    u32* out[slots];  // on the tape, for what other blocks read
    bool is_out[slots], is_here[slots];
    T here[slots];      // what was asked for before a wait
    T* place_of[slots];  // in shared memory, of what is one number for each sample and made by this step
    bool is_made[slots], is_kept[slots];  // all blocks work it out, and one keeps it for loops to come
    T* written;  // by slot, what this thread wrote last

    GATEFLOW_INLINE T load(int slot, int64_t, int64_t j, One) const { return is_here[slot] ? here[slot] : at[slot][j]; }
    GATEFLOW_INLINE T number(int slot, int64_t) const { return is_made[slot] ? *place_of[slot] : load(slot, 0, 0, One{}); }
    GATEFLOW_INLINE void store(int slot, int64_t, int64_t j, One, T v) const {
        if (is_out[slot]) publish(out[slot], static_cast<int>(j), v);
        written[slot] = v;
        at[slot][j] = v;
    }
    GATEFLOW_INLINE void keep(int slot, int64_t m, int64_t j, One n, T v) const { store(slot, m, j, n, v); }
    GATEFLOW_INLINE void store_number(int slot, int64_t, T v) const {
        *place_of[slot] = v;
        if (is_kept[slot]) *at[slot] = v;
    }
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
        case Kind::ahead: return place.line(at.line + at.sample);
        case Kind::previous: return going_on ? place.line(at.line_before + at.sample) : place.line_of_start(at.sample);
        case Kind::sample: return place.line(at.sample);
        default: return place.base;
    }
}

template <class Layout, class T, int slots, class C>
GATEFLOW_INLINE Rows<T, slots> rows_at(const C& call, const Moment& at) {
    Rows<T, slots> rows;
    GATEFLOW_UNROLL()
    for (int s = 0; s < slots; ++s) {
        rows.at[s] = row_at<Layout, T>(call, at, s);
        rows.is_out[s] = Layout::written(s) != 0, rows.is_here[s] = false;
        rows.is_made[s] = Layout::number(s) >= 0, rows.is_kept[s] = at.rank == 0 && Layout::kind(s) == Kind::step;
        rows.place_of[s] = shared_memory() + C::numbers + Layout::number(s) * S + thread() % S;
        rows.out[s] = place_on_tape(call, at, at.iteration + Layout::written(s) - 1, C::column_of(s));
    }
    return rows;
}

// Where in a row a unit is; a row of one number has it for all.
template <class Layout, class C>
GATEFLOW_INLINE int64_t place_in(int slot, int64_t unit) { return C::width(Layout::width(slot)) == 1 ? 0 : unit; }

// What equations read of a thread's unit, in its registers.
//
// A load would take as long as a wait, and even one from the cache near by stands in a queue behind the looks at the tape.
// What a thread has written it still has; what this loop only reads is asked for before a wait. Of units there is one for
// each thread but where a block has more than it has threads for; then nothing is held.
template <class Layout, class T, int slots>
struct Ready {
    T fixed[slots], now[slots], next[slots], written[slots];
    bool is_next = false;  // whether this group's step before has been run, and nothing of another one since

    // `Asks::of(slot)`: bit 0 for rows of this step, bit 1 for rows of the next one. Some are those of later passes, which
    // may be of another width than the one that waits.
    template <class Asks, int bit, class C>
    GATEFLOW_INLINE void ask(const C& call, const Moment& at, T (&values)[slots]) const {
        if (!at.active) return;
        GATEFLOW_UNROLL()
        for (int s = 0; s < slots; ++s)
            if ((Asks::of(s) >> bit & 1) != 0) {
                const int width = C::width(Layout::width(s)), share = C::share(Layout::width(s));
                const int place = width == 1 ? 0 : at.rank * share + thread() / S;
                if (width > 1 && (share * S > threads || thread() / S >= share)) continue;
                if (place < width) values[s] = row_at<Layout, T>(call, at, s)[place];
            }
    }
    template <class Asks, class C>
    GATEFLOW_INLINE void ask(const C& call, const Moment& at) {
        ask<Asks, 0>(call, at, now);
        // Where a block has several groups of samples, the next step of this one is far.
        if (!any<Asks>(1) || call.groups > call.replicas) return;
        Moment then = at;
        move(call, then, at.iteration + 1);
        choose(call, then, at.group);
        ask<Asks, 1>(call, then, next);
    }
    template <class Asks>
    static constexpr bool any(int bit) {
        for (int s = 0; s < slots; ++s)
            if ((Asks::of(s) >> bit & 1) != 0) return true;
        return false;
    }
    // `Reads::of(slot)`: `Held` of `exchange.py`.
    template <class Reads, class C>
    GATEFLOW_INLINE void give(const C&, const Moment& at, Rows<T, slots>& rows, int share, int64_t unit) {
        rows.written = written;
        if (share * S > threads) return;
        GATEFLOW_UNROLL()
        for (int s = 0; s < slots; ++s) {
            const int held = Reads::of(s);
            if (held == 0) continue;
            const bool is_known = held == 2 ? is_next : held != 5 || (is_next && at.sample < at.known);
            const T value = held == 1 ? now[s] : held == 2 ? next[s] : held == 3 ? fixed[s] : written[Layout::keeper(s)];
            rows.is_here[s] = true;
            rows.here[s] = is_known ? value : rows.at[s][place_in<Layout, C>(s, unit)];
        }
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
