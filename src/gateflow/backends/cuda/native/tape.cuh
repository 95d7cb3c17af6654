// The tape: what of a step other blocks read, operands of products and totals. It has a place of its own for each step and
// is EMPTY beforehand; a reader polls the data itself until it is there. No place is used twice, so no order between two
// words matters.
#pragma once

#include "call.cuh"

namespace gateflow {

// No result of arithmetic is this NaN, and what merely passes a value on makes another NaN of it (`word_of`).
constexpr u32 EMPTY = 0xffffffffu;
constexpr Words nothing = {{EMPTY, EMPTY, EMPTY, EMPTY}};

// NaN becomes the one that is not EMPTY.
GATEFLOW_INLINE float to_bfloat16(float x) {
    const u32 word = bits(x);
    return number(x == x ? (word + 0x7fffu + (word >> 16 & 1)) & 0xffff0000u : 0x7fff0000u);
}

// The 16 bits of a factor, and the factor that they are.
GATEFLOW_INLINE u16 half_of(float x) {
    return float16 ? to_float16(x) : static_cast<u16>(bits(to_bfloat16(x)) >> 16);
}
GATEFLOW_INLINE float factor_of(float x) { return float16 ? of_float16(to_float16(x)) : to_bfloat16(x); }

GATEFLOW_INLINE u32 word_of(float x) {
    const u32 word = bits(x);
    return word == EMPTY ? 0x7fffffffu : word;
}

// Puts number `j` of a row on the tape, which it begins at `to` for this thread's sample: with matrix units as half a word
// beside those of the same sample, else as a word beside those of the same column.
GATEFLOW_INLINE void publish(u32* to, int j, float x) {
    if constexpr (matrix_units)
        store_half(reinterpret_cast<u16*>(to) + j, half_of(x));
    else
        store_word(to + j * S, word_of(rounded ? factor_of(x) : x));
}

template <class C>
GATEFLOW_INLINE u32* entry(const C& call, int iteration, int group) {
    return call.tape + times(iteration * static_cast<int>(call.groups) + group, C::columns * S);
}

// Whether one of the first `count` words is not there.
GATEFLOW_INLINE bool lacks(const Words& words, int count) {
    bool missing = false;
    GATEFLOW_UNROLL()
    for (int i = 0; i < 4; ++i) missing |= i < count && words.of[i] == EMPTY;
    return missing;
}

// Whether half a word of four is not there: each is written by a thread of its own.
GATEFLOW_INLINE bool lacks_a_half(const Words& words) {
    u32 found = 0;
    // ~x has a half of zeros: the known trick to find it, ((y - 1) & ~y) of both halves at once.
    GATEFLOW_UNROLL()
    for (int i = 0; i < 4; ++i) found |= ~(words.of[i] + 0x00010001u) & words.of[i];
    return (found & 0x80008000u) != 0;
}

// Looks again, and gives up after a long time.
template <class C>
GATEFLOW_INLINE void look_again(const C& call, Patience& patience) {
    if (patience.ended(call.patience)) give_up(call.failure);
}

// What a lane needs of the tape for some chunks of a product; a `Piece` is asked for, and knows whether it is there.
//
// Blocks write at about the same time: while the first pieces are not there, to ask for others would keep the memory busy.
template <int count, class Piece>
struct Window {
    Piece pieces[count];

    // For the pieces from a column on; of the first window for two of them.
    GATEFLOW_INLINE void ask(int column, bool all) {
        GATEFLOW_UNROLL()
        for (int i = 0; i < count; ++i) {
            pieces[i].choose(column + i * chunk);
            if (all || i < 2) pieces[i].again();
        }
    }
    template <class C>
    GATEFLOW_INLINE void wait(const C& call) {
        Patience patience;
        while (pieces[0].is_missing() || pieces[count > 1].is_missing()) {
            look_again(call, patience);
            pieces[0].again(), pieces[count > 1].again();
        }
        bool missing = count > 2;
        while (missing) {
            missing = false;
            GATEFLOW_UNROLL()
            for (int i = 2; i < count; ++i)
                if (pieces[i].is_missing()) pieces[i].again(), missing = true;
            if (missing) look_again(call, patience);
        }
    }
};

// Where a row of this thread's sample begins on the tape.
template <class C>
GATEFLOW_INLINE u32* place_on_tape(const C& call, const Moment& at, int iteration, int column) {
    const int m = thread() % S;
    return entry(call, iteration, at.group) + (matrix_units ? (m * C::operands + column) / 2 : column * S + m);
}

}  // namespace gateflow
