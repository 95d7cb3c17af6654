// The loop over time that every cell shares. What differs between cells is generated: a list of passes per step.
//
//     for each step: for each pass: for each block of units, for each tile of rows:
//         products into registers (product.h), then the equations of the cell on them (Pass::point)
//
// What depends on the input alone does not wait for the step before: such a pass runs ahead, for a block of steps
// at once, so that its weights are read once a block.
//
// Samples are sorted by length, so the rows of a step are the first `rows(t)` samples, and those that go on from the
// step before are a prefix of them. Groups of samples need no barrier between them. The threads that have one group
// together divide its units, and meet before each product that reads what others have written.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "gemm.h"
#include "product_amx.h"
#include "threads.h"
#include "vector_math.h"

namespace [[gnu::visibility("hidden")]] gateflow {

enum class Kind { step, ahead, previous, sample, fixed };

// A row's place: `base` is its number 0 in line 0 or, of a tensor `of_a_chunk`, in the first line of the chunk.
template <class T>
struct Place {
    T* base;
    const T* start;  // of a previous state: the line of sample 0 before the first step
    int64_t stride, of_a_chunk;
};

// Steps `first`, …, `last` in either direction, the lines from `line` on, and products that follow them.
template <class T>
struct Chunk {
    int64_t first, last, line;
    const Gemm<T>* gemms;
    int64_t products;
};

// One run over chunks of steps; filled in by the caller as 64-bit numbers, in this order.
template <class T>
struct Call {
    int64_t steps, samples;
    const Chunk<T>* chunks;
    int64_t number_of_chunks;
    int64_t reverse;             // whether the cell goes from the last step to the first
    int64_t groups;              // of samples, each with threads of its own
    const int64_t* bounds;       // groups + 1 samples where the groups begin; none: one has all
    const int64_t* offsets;      // steps + 1 lines where the steps begin; none: every step has all samples
    const int64_t* widths;       // H, P, I, 1, and what else passes go over
    const Place<T>* places;
    const T* const* weights;     // packed, one for each term
    T* reduced;                  // [groups of samples][vectors][longest], sums of gradients of vectors
    int64_t longest;             // of these vectors
    int64_t ahead;               // steps in a block of time
    int64_t past_caches;         // whether what is kept for the backward loop is too much for the caches
    int64_t backwards;           // 1: at even steps the units go from the last to the first, else at odd ones
    const Matrices<T>* matrices; // weights to be packed before the first step, and how many
    int64_t to_pack;
    const Blas<T>* blas;
    int64_t team;                // threads for what comes before and after the steps
    int64_t parts;               // threads that divide the units of a group
    int64_t on_use;              // whether weights are put in order when they are used, and not before the first step
    Chunk<T> now;                // for each thread the chunk where it is

    int64_t rows(int64_t t) const {
        if (t < 0 || t >= steps) return 0;
        return offsets ? offsets[t + 1] - offsets[t] : samples;
    }
    int64_t line(int64_t t) const {
        t = std::clamp<int64_t>(t, 0, steps);  // there is a step before the first: the start
        return offsets ? offsets[t] : t * samples;
    }
    int64_t before(int64_t t) const { return reverse ? t + 1 : t - 1; }
};

template <class Structure>
constexpr size_t numbers_of = sizeof(Structure) / sizeof(int64_t);
static_assert(numbers_of<Call<float>> == 27 && numbers_of<Place<float>> == 4 && numbers_of<Matrices<float>> == 8 &&
                  numbers_of<Chunk<float>> == 5 && numbers_of<Gemm<float>> == 13,
              "arguments.py and gemm.py write them");

constexpr int64_t group = 4;  // samples whose gradients of a vector are summed together, whatever the threads

struct All {};
struct Some {
    int count;
};

// The rows that some samples have at one step: number j of row `slot` of sample m.
template <class T, int slots>
struct Rows {
    T* at[slots];
    int64_t stride[slots];
    int64_t sample;  // the first one
    bool past_caches, backwards;

    T* place(int slot, int64_t m, int64_t j) const { return at[slot] + m * stride[slot] + j; }
    void fetch(int slot, int64_t m, int64_t j) const { __builtin_prefetch(place(slot, m, j)); }
    Vec<T> load(int slot, int64_t m, int64_t j, All) const { return gateflow::load<T>(place(slot, m, j)); }
    Vec<T> load(int slot, int64_t m, int64_t j, Some some) const {
        return gateflow::load<T>(place(slot, m, j), some.count);
    }
    Vec<T> number(int slot, int64_t m) const { return splat(*place(slot, m, 0)); }
    void store(int slot, int64_t m, int64_t j, All, Vec<T> v) const { gateflow::store<T>(place(slot, m, j), v); }
    void store(int slot, int64_t m, int64_t j, Some some, Vec<T> v) const {
        gateflow::store<T>(place(slot, m, j), v, some.count);
    }
    void keep(int slot, int64_t m, int64_t j, All, Vec<T> v) const {
        past_caches ? store_non_temporal<T>(place(slot, m, j), v) : gateflow::store<T>(place(slot, m, j), v);
    }
    void keep(int slot, int64_t m, int64_t j, Some some, Vec<T> v) const { store(slot, m, j, some, v); }
    void store_number(int slot, int64_t m, Vec<T> v) const { *place(slot, m, 0) = v[0]; }
};

// What a total gathers over the units of a row: where it starts, and how it takes in one more.
struct Sum {
    template <class T>
    static constexpr T start = 0;
    template <class V>
    static V join(V a, V b) { return a + b; }
};
struct Largest {
    template <class T>
    static constexpr T start = -std::numeric_limits<T>::infinity();
    template <class V>
    static V join(V a, V b) { return maximum(a, b); }
};
struct Smallest {
    template <class T>
    static constexpr T start = std::numeric_limits<T>::infinity();
    template <class V>
    static V join(V a, V b) { return minimum(a, b); }
};

// What a thread keeps while a pass goes on: totals over the units of a row, sums over samples, and its rounded operands.
template <class T>
struct Sums {
    T* total;      // [row][total][lane]
    T* factors;    // [term][row][place]
    T* reduced;    // [group][vector][longest]
    int64_t longest, totals, vectors, width, sample;

    T* lanes_of(int k, int64_t m) const { return total + (m * totals + k) * lanes<T>; }
    template <class Total>
    void gather(int k, int64_t m, int64_t j, All, Vec<T> v) const {
        const Vec<T> before = j == 0 ? splat(Total::template start<T>) : gateflow::load<T>(lanes_of(k, m));
        gateflow::store<T>(lanes_of(k, m), Total::join(before, v));
    }
    template <class Total>
    void gather(int k, int64_t m, int64_t j, Some some, Vec<T> v) const {
        // The lanes beyond keep what they have, which is the start if these are the first units.
        if (j == 0) gateflow::store<T>(lanes_of(k, m), splat(Total::template start<T>));
        const Vec<T> before = gateflow::load<T>(lanes_of(k, m), some.count);
        gateflow::store<T>(lanes_of(k, m), Total::join(before, v), some.count);
    }
    // Half of the lanes with the other half, so that the order is that of `sum`.
    template <class Total>
    Vec<T> total_of(int k, int64_t m) const {
        if constexpr (std::is_same_v<Total, Sum>) return splat(sum(gateflow::load<T>(lanes_of(k, m))));
        Vec<T> all = splat(lanes_of(k, m)[0]);
        for (int lane = 1; lane < lanes<T>; ++lane) all = Total::join(all, splat(lanes_of(k, m)[lane]));
        return all;
    }
    T* vector(int k, int64_t m, int64_t j) const {
        return reduced + ((sample + m) / group * vectors + k) * longest + j;
    }
    void reduce(int k, int64_t m, int64_t j, All, Vec<T> v) const {
        gateflow::store<T>(vector(k, m, j), gateflow::load<T>(vector(k, m, j)) + v);
    }
    void reduce(int k, int64_t m, int64_t j, Some some, Vec<T> v) const {
        gateflow::store<T>(vector(k, m, j), gateflow::load<T>(vector(k, m, j), some.count) + v, some.count);
    }
};

// A matrix product of a pass: the row it reads, the sums it adds to, its place in the call's weights, and its columns.
struct Term {
    int slot, first, count, weights;
    int64_t columns[4];  // how many blocks of width H, P, I, and the columns of all others

    int64_t depth(const int64_t* widths) const {
        return columns[0] * widths[0] + columns[1] * widths[1] + columns[2] * widths[2] + columns[3];
    }
};

struct Blocks {
    int64_t begin, end;
};

// What each term's product reads: the rows where they lie or, to be rounded once for all units, a copy of them.
template <class Pass, class T, int slots, int... k>
std::array<Operand<T>, sizeof...(k)> operands(const Call<T>& call, const Rows<T, slots>& rows, const Sums<T>& sums,
                                              int64_t count, std::integer_sequence<int, k...>) {
    T* free = sums.factors;
    const auto one = [&](const Term& term) {
        const int64_t depth = term.depth(call.widths), stride = row_of_places<T>(depth);
        if constexpr (rounds<T>) {
            for (int64_t m = 0; m < count; ++m) write_factors(rows.place(term.slot, m, 0), depth, free + m * stride);
            return Operand<T>{std::exchange(free, free + count * stride), stride, places<T>(depth)};
        }
        return Operand<T>{rows.place(term.slot, 0, 0), rows.stride[term.slot], depth};
    };
    return {one(Pass::terms[k])...};
}

template <class Pass, class T, size_t terms, int... k>
void products(const Call<T>& call, const std::array<Operand<T>, terms>& operands, int64_t m, int64_t height,
              int64_t tile, int64_t following, Blocks now, T* sum, std::integer_sequence<int, k...>) {
    const int64_t blocks = now.end - now.begin;
    const auto one = [&](auto index) {
        constexpr Term term = Pass::terms[index.value];
        bool fresh = true;
        for (int other = 0; other < index.value; ++other) fresh &= Pass::terms[other].first != term.first;
        Operand<T> operand = operands[index.value];
        operand.rows += m * operand.stride;
        const int64_t panel = operand.depth * term.count * lanes<T>;
        const T* panels = call.weights[term.weights];
        // The weights of the next units are fetched while this tile is computed, a part of them by each tile.
        const T* next = panels + following * panel;
        if (tile < blocks * term.count) next += tile * operand.depth * line_of_cache<T>;
        constexpr int most = tile_rows(Pass::sums);
        multiplication<T, term.count, most>(height, blocks)(operand, panels + now.begin * panel, next,
                                                            sum + term.first * lanes<T>, Pass::sums, fresh);
    };
    (one(std::integral_constant<int, k>()), ...);
}

// One block of units, for some rows.
template <class Pass, class T, int slots>
void points(const Rows<T, slots>& rows, const Sums<T>& sums, int64_t m, int64_t height, int64_t unit, int64_t width,
            const T* sum, int64_t sum_stride) {
    const int64_t left = width - unit;
    if (left >= lanes<T>)
        for (int64_t i = 0; i < height; ++i) Pass::point(rows, sums, m + i, unit, All{}, sum + i * sum_stride);
    else
        for (int64_t i = 0; i < height; ++i)
            Pass::point(rows, sums, m + i, unit, Some{static_cast<int>(left)}, sum + i * sum_stride);
}

// Without products a pass goes row by row, each from its first unit to its last.
template <class Pass, class T, int slots>
void run_rows(const Rows<T, slots>& rows, const Sums<T>& sums, int64_t count, Blocks own) {
    for (int64_t m = 0; m < count; ++m)
        for (int64_t block = own.begin; block < own.end; ++block)
            points<Pass, T>(rows, sums, m, 1, block * lanes<T>, sums.width, nullptr, 0);
}

// With products the rows go in tiles, and the weights of a few units serve all tiles before the next are fetched. The
// next step begins with the units that this one ended with: of weights larger than the cache, these are still there.
template <class Pass, class T, int slots>
void run_tiles(const Call<T>& call, const Rows<T, slots>& rows, const Sums<T>& sums, int64_t count, Blocks own) {
    constexpr int L = lanes<T>, A = Pass::sums;
    const auto [tiles, at_once] = cut<T>(count, A);
    const auto terms = std::make_integer_sequence<int, Pass::number_of_terms>();
    const auto read = operands<Pass>(call, rows, sums, count, terms);
    alignas(GATEFLOW_VECTOR_BYTES) T sum[most_sums<T>(A) * L];
    const bool backwards = rows.backwards && Pass::totals == 0;  // sums over units keep their order
    for (int64_t done = own.begin, blocks; done < own.end; done += blocks) {
        // There are kernels for 1, 2 and 4 blocks (`table` in product.h).
        blocks = std::min(at_once, own.end - done) == 3 ? 2 : std::min(at_once, own.end - done);
        const int64_t block = backwards ? own.begin + own.end - done - blocks : done;
        const int64_t following = backwards ? std::max(own.begin, block - at_once) : std::min(own.end - 1, block + blocks);
        for (int64_t tile = 0; tile < tiles; ++tile) {
            const int64_t m = count * tile / tiles, height = count * (tile + 1) / tiles - m;
            // What the equations will read arrives while the product is computed.
            for (int64_t i = 0; i < height; ++i)
                for (int64_t u = 0; u < blocks; ++u) Pass::fetch(rows, m + i, (block + u) * L);
            products<Pass>(call, read, m, height, tile, following, {block, block + blocks}, sum, terms);
            for (int64_t u = 0; u < blocks; ++u)
                points<Pass>(rows, sums, m, height, (block + u) * L, sums.width, sum + u * A * L, blocks * A * L);
        }
    }
}

constexpr int64_t rows_on_use = 96;  // whose sums with one block of units stay in the first-level cache

// Fetches columns [k, …) of one block of weights. A row of large ones fills a page, at whose end prefetchers stop.
template <class T>
void fetch_weights(const Matrices<T>& weights, int64_t b, int64_t block, int64_t k, int64_t columns) {
    const int64_t first = block * lanes<T>, past = std::min(first + lanes<T>, weights.units);
    for (int64_t c = 0; c < weights.gates; ++c)
        for (int64_t unit = first; unit < past; ++unit) {
            const T* row = weights.from[b * weights.gates + c] + unit * weights.unit_stride;
            for (int64_t j = k; j < std::min(k + columns, weights.depths[b]); j += line_of_cache<T>)
                __builtin_prefetch(row + j * weights.column_stride, 0, 2);
        }
}

// The product of some rows with one block of weights, which are put in order some columns at a time.
template <class T, int count, int most>
void multiply_on_use(const Matrices<T>& weights, Operand<T> operand, int64_t block, int64_t rows, T* sum, int64_t sums,
                     bool fresh) {
    constexpr int L = lanes<T>;
    constexpr int64_t few = 4 * L, many = 8 * L;  // columns: for an LSTM 16 KB, and 32
    alignas(64) T panel[count * many * L];
    const int64_t tiles = (rows + most - 1) / most;
    for (int64_t b = 0; b < weights.column_blocks; ++b) {
        const bool large = weights.units * weights.depths[b] * count * static_cast<int64_t>(sizeof(T)) > 4 << 20;
        const int64_t columns = large ? many : few;
        for (int64_t k = 0; k < weights.depths[b]; k += columns, fresh = false) {
            const bool last = k + columns >= weights.depths[b];
            if (large) fetch_weights(weights, b, block + last, last ? 0 : k + columns, columns);
            const int64_t depth = std::min<int64_t>(columns, weights.depths[b] - k);
            const T* from[count];
            for (int c = 0; c < count; ++c) from[c] = weights.from[b * count + c] + k * weights.column_stride;
            pack_panel<T>({from, &depth, 1, count, weights.units, weights.unit_stride, weights.column_stride, panel}, block, panel);
            for (int64_t tile = 0; tile < tiles; ++tile) {
                const int64_t m = rows * tile / tiles, height = rows * (tile + 1) / tiles - m;
                const Operand<T> here{operand.rows + m * operand.stride, operand.stride, depth};
                in_registers<T, count, most>(height, 1)(here, panel, panel, sum + m * sums * L, sums, fresh);
            }
            operand.rows += depth;
        }
    }
}

// For runs of few steps. Panels would be written to memory and read back for them, which takes several times as long as
// putting weights in order just before they are used.
template <class Pass, class T, int slots, int... k>
void run_on_use(const Call<T>& call, const Rows<T, slots>& rows, const Sums<T>& sums, int64_t count, Blocks own,
                std::integer_sequence<int, k...> terms) {
    alignas(GATEFLOW_VECTOR_BYTES) T sum[rows_on_use * Pass::sums * lanes<T>];
    const auto read = operands<Pass>(call, rows, sums, count, terms);
    const auto multiply = [&](auto index, int64_t block, int64_t m, int64_t height) {
        constexpr Term term = Pass::terms[index.value];
        bool fresh = true;
        for (int other = 0; other < index.value; ++other) fresh &= Pass::terms[other].first != term.first;
        Operand<T> operand = read[index.value];
        operand.rows += m * operand.stride;
        multiply_on_use<T, term.count, tile_rows(Pass::sums)>(call.matrices[term.weights], operand, block, height,
                                                              sum + term.first * lanes<T>, Pass::sums, fresh);
    };
    for (int64_t block = own.begin; block < own.end; ++block)
        for (int64_t m = 0; m < count; m += rows_on_use) {
            const int64_t height = std::min(rows_on_use, count - m);
            (multiply(std::integral_constant<int, k>(), block, m, height), ...);
            points<Pass>(rows, sums, m, height, block * lanes<T>, sums.width, sum, Pass::sums * lanes<T>);
        }
}

template <class Pass, class T, int slots>
void run_pass(const Call<T>& call, const Rows<T, slots>& rows, const Sums<T>& shared, int64_t count, Blocks own) {
    if (count <= 0) return;
    Sums<T> sums = shared;
    sums.totals = Pass::totals, sums.width = call.widths[Pass::width], sums.sample = rows.sample;
    if constexpr (Pass::sums == 0)
        run_rows<Pass>(rows, sums, count, own);
    else if (rounds<T> || !call.on_use)
        run_tiles<Pass>(call, rows, sums, count, own);
    else if constexpr (!rounds<T>)
        run_on_use<Pass>(call, rows, sums, count, own, std::make_integer_sequence<int, Pass::number_of_terms>());
    if constexpr (Pass::has_numbers)
        for (int64_t m = 0; m < count; ++m) Pass::numbers(rows, sums, m);
}

// A block of steps: the first, and where the memory of what runs ahead of it has the lines of one.
struct TimeBlock {
    int64_t first;
    bool together;  // whether one group has all samples

    // Groups come to a block each in its own time. Were its lines one after the other, as those of a sequence are, those
    // of one group would lie, where samples end, on what another still needs of the block before; so every step has
    // room for all samples then.
    template <class T>
    int64_t line(const Call<T>& call, int64_t t) const {
        return together ? call.line(t) - call.line(first) : (t - first) * call.samples;
    }
};

// The rows of samples [sample, …) at step t; `going_on` tells whether they have a step before this one.
template <class Program, class T>
Rows<T, Program::slots> rows_at(const Call<T>& call, int64_t t, int64_t sample, bool going_on, TimeBlock block) {
    Rows<T, Program::slots> rows;
    rows.sample = sample;
    rows.past_caches = call.past_caches != 0;
    rows.backwards = ((t ^ call.backwards) & 1) != 0;
    for (int s = 0; s < Program::slots; ++s) {
        const Place<T>& place = call.places[s];
        const int64_t origin = place.of_a_chunk ? call.now.line : 0;
        const int64_t before = going_on ? call.line(call.before(t)) - origin : 0;
        const T* previous = going_on ? place.base + before * place.stride : place.start;
        switch (Program::kinds[s]) {
            case Kind::step: rows.at[s] = place.base + (call.line(t) - origin + sample) * place.stride; break;
            // Memory of the block of steps alone, so that it does not grow with the length of the sequence.
            case Kind::ahead: rows.at[s] = place.base + (block.line(call, t) + sample) * place.stride; break;
            case Kind::previous: rows.at[s] = const_cast<T*>(previous) + sample * place.stride; break;
            case Kind::sample: rows.at[s] = place.base + sample * place.stride; break;
            case Kind::fixed: rows.at[s] = place.base; break;
        }
        rows.stride[s] = Program::kinds[s] == Kind::fixed ? 0 : place.stride;
    }
    return rows;
}

// What a thread has: of the units of samples [low, high) part number `id` of `parts`.
struct Part {
    int64_t id, parts, low, high;
};

template <class Pass, class T>
Blocks own_blocks(const Call<T>& call, const Part& part) {
    const int64_t blocks = panels_of<T>(call.widths[Pass::width]);
    return {blocks * part.id / part.parts, blocks * (part.id + 1) / part.parts};
}

template <class Program, class T, class... Pass>
void run_step(const Call<T>& call, int64_t t, TimeBlock block, const Part& part, const Sums<T>& sums,
              Barrier& barrier) {
    const int64_t low = part.low, now = std::clamp(call.rows(t), low, part.high);
    const int64_t old = std::clamp(call.rows(call.before(t)), low, now);
    const auto going_on = rows_at<Program>(call, t, low, true, block);
    const auto fresh = rows_at<Program>(call, t, old, false, block);
    bool begun = t != call.now.first;  // what the first pass reads was there before the threads set out
    const auto one = [&](auto pass) {
        using P = decltype(pass);
        if constexpr (!P::ahead) {
            if (begun && (P::sums > 0 || P::overwrites)) barrier.wait(part.parts);
            begun = true;
            const Blocks own = own_blocks<P>(call, part);
            run_pass<P>(call, going_on, sums, old - low, own);
            run_pass<P>(call, fresh, sums, now - old, own);
        }
    };
    (one(Pass{}), ...);
}

// The passes that run ahead, over steps low_t to high_t. A share of all samples has their lines one after the other.
template <class Program, class T, class... Pass>
void run_ahead(const Call<T>& call, TimeBlock block, int64_t high_t, const Part& part, const Sums<T>& sums) {
    const int64_t low_t = block.first, lines = call.line(high_t) + call.rows(high_t) - call.line(low_t);
    const auto one = [&](auto pass) {
        using P = decltype(pass);
        if constexpr (P::ahead) {
            const Blocks own = own_blocks<P>(call, part);
            if (block.together)
                return run_pass<P>(call, rows_at<Program>(call, low_t, 0, false, block), sums, lines, own);
            // Four blocks are the most that a tile takes at once: their weights serve all steps before others are read.
            for (int64_t begin = own.begin; begin < own.end; begin += 4)
                for (int64_t t = low_t; t <= high_t; ++t)
                    run_pass<P>(call, rows_at<Program>(call, t, part.low, false, block), sums,
                                std::clamp(call.rows(t), part.low, part.high) - part.low,
                                Blocks{begin, std::min(begin + 4, own.end)});
        }
    };
    (one(Pass{}), ...);
}

// How many places the rounded operands of a pass take at most.
template <class Pass, class T>
int64_t rounded_places(const Call<T>& call, const Part& part) {
    int64_t row = 0;
    if constexpr (rounds<T> && Pass::sums > 0)
        for (const Term& term : Pass::terms) row += row_of_places<T>(term.depth(call.widths));
    return row * ((part.high - part.low) * (Pass::ahead ? call.ahead : 1) + tile_height - 1);
}

template <class Program, class T, class... Pass>
void run_part(const Call<T>& call, const Part& part, Barrier& barrier) {
    const AmxTiles tiles;
    struct alignas(64) Line {
        T places[line_of_cache<T>];
    };
    const size_t numbers = static_cast<size_t>((part.high - part.low) * std::max({0, Pass::totals...}) * lanes<T>);
    const int64_t places = std::max({int64_t{0}, rounded_places<Pass>(call, part)...});
    const auto lines = static_cast<size_t>(places / line_of_cache<T>);
    const std::unique_ptr<T[]> totals(numbers ? new T[numbers] : nullptr);
    const std::unique_ptr<Line[]> factors(lines ? new Line[lines] : nullptr);
    const Sums<T> sums{totals.get(), lines ? factors[0].places : nullptr, call.reduced, call.longest, 0, Program::vectors, 0, 0};
    const int64_t direction = call.now.first <= call.now.last ? 1 : -1, past = call.now.last + direction;
    for (int64_t from = call.now.first; from != past;) {
        const int64_t left = (past - from) * direction, to = from + direction * std::min(left, call.ahead);
        const int64_t low = std::min(from, to - direction), high = std::max(from, to - direction);
        const TimeBlock block{low, part.low == 0 && part.high == call.samples};
        run_ahead<Program, T, Pass...>(call, block, high, part, sums);
        for (; from != to; from += direction) run_step<Program, T, Pass...>(call, from, block, part, sums, barrier);
    }
}

// Packs the weights of all terms, the panels divided among threads.
template <class T>
void pack(const Call<T>& call, int64_t id, int64_t threads) {
    for (int64_t k = 0; k < call.to_pack; ++k) {
        const Matrices<T>& weights = call.matrices[k];
        int64_t depth = 0;
        for (int64_t b = 0; b < weights.column_blocks; ++b) depth += weights.depths[b];
        const int64_t blocks = panels_of<T>(weights.units), panel = panel_size<T>(depth, weights.gates);
        for (int64_t b = id; b < blocks; b += threads) pack_panel(weights, b, weights.panels + b * panel);
    }
}

// What a thread does of the steps of a chunk: with the others of its squad it takes one group after the other.
template <class Program, class T, class... Pass>
void run_chunk(const Call<T>& call, int64_t id, int64_t team, Barrier* steps) {
    const int64_t parts = std::min(team, call.parts), squads = team / parts, squad = id / parts;
    for (int64_t k = squad; squad < squads && k < call.groups; k += squads) {
        const int64_t low = call.bounds ? call.bounds[k] : 0, high = call.bounds ? call.bounds[k + 1] : call.samples;
        run_part<Program, T, Pass...>(call, {id % parts, parts, low, high}, steps[squad]);
    }
}

// All that happens in one call, by one team of threads: a team that is called together again for each stage would wait
// for its slowest member each time.
template <class Program, class T, class... Pass>
void run(const Call<T>& call) {
    Barrier stages;
    const std::unique_ptr<Barrier[]> steps(new Barrier[static_cast<size_t>(call.groups)]);
    std::atomic<int64_t> taken{0};
    in_parallel(std::max(call.groups * call.parts, call.team), [&](int64_t id, int64_t team) {
        const SubnormalsAreZero mode;
        if (call.to_pack) pack(call, id, team), stages.wait(team);
        Tiles<T> tiles{call.blas, stages, team, taken};
        Call<T> mine = call;
        for (int64_t k = 0; k < call.number_of_chunks; ++k) {
            mine.now = call.chunks[k];
            run_chunk<Program, T, Pass...>(mine, id, team, steps.get());
            if (mine.now.products) stages.wait(team), tiles.multiply(mine.now.gemms, mine.now.products);
            stages.wait(team);  // at the end, the runtime's own barrier, which only spins, so finds everyone there
        }
    });
}

}  // namespace gateflow
