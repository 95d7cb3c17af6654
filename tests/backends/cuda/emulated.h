// The words of `gpu.cuh` on a CPU: a lane is a fiber of one thread, and lanes take turns in an order drawn at random.
//
// A lane goes on until it waits, at a barrier or for words that are not there; so a run is repeatable. Where all lanes
// wait and none can go on, the launch ends with the error of a wait that was too long.
#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

typedef uint16_t u16;
typedef uint32_t u32;

#define GATEFLOW_INLINE inline __attribute__((always_inline))
#define GATEFLOW_CALLED inline
#define GATEFLOW_KERNEL(threads) static void
#define GATEFLOW_UNROLL(times)
#define GATEFLOW_CALL const

namespace gateflow {

struct alignas(16) Words {
    u32 of[4];
};

namespace emulated {

struct Meeting {
    int expected = 0, here = 0, turn = 0;
};

struct Lane {
    ucontext_t context;
    std::vector<char> stack;
    int thread, block;
    bool done = false;
};

struct Block {
    Meeting all;
    std::vector<Meeting> warps;
    std::vector<float> shuffled;
    std::vector<Words> a, b;  // what lanes give to a product of a warp
    std::vector<float> shared;
};

struct Launch {
    std::vector<std::unique_ptr<Lane>> lanes;
    std::vector<Block> blocks;
    ucontext_t home;
    Lane* now = nullptr;
    bool progress = false, failed = false;
    void (*body)(void*);
    void* argument;
};

inline Launch* launch = nullptr;

inline void pause() { swapcontext(&launch->now->context, &launch->home); }

inline void meet(Meeting& meeting) {
    const int turn = meeting.turn;
    launch->progress = true;
    if (++meeting.here == meeting.expected) {
        meeting.here = 0, ++meeting.turn;
        return;
    }
    while (meeting.turn == turn) pause();
}

inline void enter() {
    launch->body(launch->argument);
    launch->now->done = launch->progress = true;
    while (true) pause();
}

__attribute__((noinline)) inline void begin(Lane& lane) {
    lane.stack.resize(128 << 10);
    getcontext(&lane.context);
    lane.context.uc_stack.ss_sp = lane.stack.data(), lane.context.uc_stack.ss_size = lane.stack.size();
    lane.context.uc_link = nullptr;
    makecontext(&lane.context, enter, 0);
}

// Runs `body` in each lane of a grid; 1 where it waited for what never came.
inline int run(void (*body)(void*), void* argument, int blocks, int threads, int64_t shared, unsigned seed) {
    Launch here;
    launch = &here, here.body = body, here.argument = argument;
    here.blocks.resize(static_cast<size_t>(blocks));
    for (int b = 0; b < blocks; ++b) {
        Block& block = here.blocks[static_cast<size_t>(b)];
        block.all.expected = threads;
        block.shuffled.resize(static_cast<size_t>(threads));
        block.a.resize(static_cast<size_t>(threads)), block.b.resize(static_cast<size_t>(threads));
        block.warps.resize(static_cast<size_t>(threads / 32));
        for (Meeting& warp : block.warps) warp.expected = 32;
        // Memory nobody has written is NaN, so that whoever reads it is found out.
        block.shared.assign(static_cast<size_t>(shared), std::numeric_limits<float>::quiet_NaN());
        for (int i = 0; i < threads; ++i) {
            auto lane = std::make_unique<Lane>();
            lane->thread = i, lane->block = b;
            begin(*lane);
            here.lanes.push_back(std::move(lane));
        }
    }
    std::mt19937 generator(seed);
    for (size_t left = here.lanes.size(); left > 0 && !here.failed;) {
        here.progress = false;
        for (size_t i = here.lanes.size() - 1; i > 0; --i) std::swap(here.lanes[i], here.lanes[generator() % (i + 1)]);
        left = 0;
        for (auto& lane : here.lanes)
            if (!lane->done && !here.failed) {
                here.now = lane.get();
                swapcontext(&here.home, &lane->context);
                left += !lane->done;
            }
        if (!here.progress) here.failed = true;
    }
    launch = nullptr;
    return here.failed;
}

}  // namespace emulated

inline int thread() { return emulated::launch->now->thread; }
inline int block() { return emulated::launch->now->block; }
inline emulated::Block& own_block() { return emulated::launch->blocks[static_cast<size_t>(block())]; }
inline void block_barrier() { emulated::meet(own_block().all); }
inline void warp_barrier() { emulated::meet(own_block().warps[static_cast<size_t>(thread() / 32)]); }
inline float* shared_memory() { return own_block().shared.data(); }

inline float shuffle_xor(float x, int mask) {
    std::vector<float>& all = own_block().shuffled;
    all[static_cast<size_t>(thread())] = x;
    warp_barrier();
    const float other = all[static_cast<size_t>(thread() ^ mask)];
    warp_barrier();
    return other;
}

inline Words load_words(const u32* from) {
    Words words;
    std::memcpy(&words, from, sizeof words);
    return words;
}
inline void store_word(u32* to, u32 word) {
    emulated::launch->progress = true;
    *to = word;
}

inline void store_half(u16* to, u16 half) {
    emulated::launch->progress = true;
    *to = half;
}

inline u32 bits(float x) {
    u32 word;
    std::memcpy(&word, &x, sizeof word);
    return word;
}
inline float number(u32 word) {
    float x;
    std::memcpy(&x, &word, sizeof x);
    return x;
}
// Number `k` of the words of lane `lane`, from register `word` on.
inline float bfloat16_of(const Words& words, int word, int k) {
    return number(words.of[word] >> 16 * (k % 2) << 16);
}

// Where lanes have which number: PTX, "Matrix Fragments for mma.m16n8k16 with floating point type".
inline void multiply_tile(float (&sum)[4], const Words& a, u32 b0, u32 b1) {
    emulated::Block& block = own_block();
    const size_t warp = static_cast<size_t>(thread() / 32 * 32), lane = static_cast<size_t>(thread() % 32);
    block.a[warp + lane] = a, block.b[warp + lane] = Words{{b0, b1, 0, 0}};
    warp_barrier();
    for (int i = 0; i < 4; ++i) {
        const int row = static_cast<int>(lane) / 4 + i / 2 * 8, column = static_cast<int>(lane) % 4 * 2 + i % 2;
        for (int k = 0; k < 16; ++k) {
            const size_t of_a = warp + static_cast<size_t>(row % 8 * 4 + k % 8 / 2);
            const size_t of_b = warp + static_cast<size_t>(column * 4 + k % 8 / 2);
            sum[i] += bfloat16_of(block.a[of_a], row / 8 + k / 8 * 2, k) * bfloat16_of(block.b[of_b], k / 8, k);
        }
    }
    warp_barrier();
}

inline float reciprocal(float x) { return 1 / x; }
inline void used(float) {}

struct Patience {
    int tries = 0;

    bool ended(int64_t) {
        // What was asked for long ago may be there by now: only who has looked again waits.
        if (++tries == 1) return false;
        emulated::pause();
        return emulated::launch->failed;
    }
};

inline void give_up(int64_t* failure) {
    if (failure) *failure = 1;
    while (true) emulated::pause();
}

}  // namespace gateflow
