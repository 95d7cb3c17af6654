// The tape: what of a step other blocks read, operands of products and totals. It has a place of its own for each step and
// is EMPTY beforehand; a reader polls the data itself until it is there. No place is used twice, so no order between two
// words matters.
#pragma once

#include "call.cuh"

namespace gateflow {

// No result of arithmetic is this NaN, and what merely passes a value on makes another NaN of it (`word_of`).
constexpr u32 EMPTY = 0xffffffffu;

// NaN becomes the one that is not EMPTY.
GATEFLOW_INLINE float to_bfloat16(float x) {
    const u32 word = bits(x);
    return number(x == x ? (word + 0x7fffu + (word >> 16 & 1)) & 0xffff0000u : 0x7fff0000u);
}

GATEFLOW_INLINE u32 word_of(float x, bool rounded) {
    const u32 word = bits(rounded ? to_bfloat16(x) : x);
    return word == EMPTY ? 0x7fffffffu : word;
}

// Puts number `j` of a row on the tape, which it begins at `to` for this thread's sample: with matrix units as half a word
// beside those of the same sample, else as a word beside those of the same column.
GATEFLOW_INLINE void publish(u32* to, int64_t j, float x, bool rounded) {
    if constexpr (matrix_units)
        store_half(reinterpret_cast<u16*>(to) + j, static_cast<u16>(bits(to_bfloat16(x)) >> 16));
    else
        store_word(to + j * S, word_of(x, rounded));
}

template <class C>
GATEFLOW_INLINE u32* entry(const C& call, int64_t iteration, int64_t group) {
    const int words = static_cast<int>(call.columns) * S;
    return call.tape + (iteration * call.groups + group) * words;
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

// Eight columns of one sample, waited for. Each half of a word is written by a thread of its own.
template <class C>
GATEFLOW_INLINE Words both_arrived(const C& call, const u32* from, Words words) {
    Patience patience;
    while (true) {
        bool missing = false;
        GATEFLOW_UNROLL()
        for (int i = 0; i < 4; ++i) missing |= words.of[i] >= 0xffff0000u || (words.of[i] & 0xffffu) == 0xffffu;
        if (!missing) return words;
        if (patience.ended(call.patience)) give_up(call.failure);
        words = load_words(from);
    }
}

// Where a row of this thread's sample begins on the tape.
template <class C>
GATEFLOW_INLINE u32* place_on_tape(const C& call, const Moment& at, int64_t iteration, int64_t column) {
    const int m = thread() % S;
    return entry(call, iteration, at.group) + (matrix_units ? (m * call.operands + column) / 2 : column * S + m);
}

}  // namespace gateflow
