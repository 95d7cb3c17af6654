// The words of `gpu.cuh` on a CPU: a lane is a fiber of one thread, and who goes on is drawn at random.
//
// A card promises little: blocks, warps and lanes go on at speeds of their own, words are seen late and in any order. So
// lanes take turns in an order that is drawn; some stand still, until all others can go no further if need be; some stop
// between two words; and what they store is seen when a draw says so. How much of this a run has is drawn as well, by its
// seed, so that it is repeatable. Where all lanes wait and none can go on, the launch ends with the error of a wait that
// was too long.
//
// ThreadSanitizer takes each lane for a thread. Barriers alone bring lanes into an order: neither the turns that they take,
// nor words of the tape, nor shuffles and products of a warp. So whatever one lane reads of another without a barrier
// between is found, whether or not it was wrong this time.
#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

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

// What reads and writes the emulation's own, which is no memory of a card.
#ifdef __SANITIZE_THREAD__
#define GATEFLOW_UNJUDGED __attribute__((noinline, no_sanitize("thread")))
#else
#define GATEFLOW_UNJUDGED
#endif

struct Meeting {
    int expected = 0, here = 0, turn = 0;
    char order[2] = {};  // what the sanitizer is told of: one for each of two turns, since some leave when others come again
};

struct Lane {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    void* fiber = nullptr;
    int thread, block, party;
    const Meeting* waits = nullptr;  // nothing is to be done for it until others have come
    int turn = 0;
    bool done = false;
};

struct Block {
    Meeting all;
    std::vector<Meeting> warps;
    std::vector<float> shuffled;
    std::vector<Words> a, b;  // what lanes give to a product of a warp
    std::vector<float> shared;
};

// A word or half a word on its way to memory.
struct Store {
    void* to;
    u32 word;
    bool is_half;
};

struct Launch {
    std::vector<std::unique_ptr<Lane>> lanes;
    std::vector<Block> blocks;
    ucontext_t home;
    void* fiber = nullptr;
    Lane* now = nullptr;
    bool progress = false, failed = false;
    void (*body)(void*);
    void* argument;
    uint64_t state;  // of the draws
    std::vector<int64_t> wakes;  // by party, the turn from which on it goes on again
    int stops = 0, late = 0;     // at one in so many words a lane stops, one in so many is stored late; 0: none
    int idle = 0;                // turns in which nothing has happened
    Store stores[64];
    int on_their_way = 0;
};

inline Launch* launch = nullptr;
constexpr int64_t never = int64_t{1} << 62;

// A number below `past`; SplitMix64, by Steele, Lea and Flood.
GATEFLOW_UNJUDGED inline int draw(size_t past) {
    uint64_t z = launch->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return static_cast<int>((z ^ z >> 31) % past);
}

GATEFLOW_UNJUDGED inline void go(ucontext_t& from, ucontext_t& to, void* fiber) {
    (void)fiber;
#ifdef __SANITIZE_THREAD__
    __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync);
#endif
    swapcontext(&from, &to);
}

inline void before(char& order) {
    (void)order;
#ifdef __SANITIZE_THREAD__
    __tsan_release(&order);
#endif
}
inline void after(char& order) {
    (void)order;
#ifdef __SANITIZE_THREAD__
    __tsan_acquire(&order);
#endif
}

GATEFLOW_UNJUDGED inline void pause() { go(launch->now->context, launch->home, launch->fiber); }

GATEFLOW_UNJUDGED inline void meet(Meeting& meeting, bool is_ordered) {
    const int turn = meeting.turn;
    Lane& own = *launch->now;
    if (is_ordered) before(meeting.order[turn % 2]);
    launch->progress = true;
    if (++meeting.here == meeting.expected)
        meeting.here = 0, ++meeting.turn;
    else {
        own.waits = &meeting, own.turn = turn;
        pause();
        own.waits = nullptr;
    }
    if (is_ordered) after(meeting.order[turn % 2]);
}

inline char launched, ended;  // orders of the launch's begin and end

GATEFLOW_UNJUDGED inline void enter() {
    after(launched);
    launch->body(launch->argument);
    before(ended);
    launch->now->done = launch->progress = true;
    while (true) pause();
}

__attribute__((noinline)) inline void begin(Lane& lane) {
    constexpr size_t size = 128 << 10;
    lane.stack.reset(new char[size]);
    getcontext(&lane.context);
    lane.context.uc_stack.ss_sp = lane.stack.get(), lane.context.uc_stack.ss_size = size;
    lane.context.uc_link = nullptr;
    makecontext(&lane.context, enter, 0);
#ifdef __SANITIZE_THREAD__
    lane.fiber = __tsan_create_fiber(0);
#endif
}

GATEFLOW_UNJUDGED inline void write(const Store& store) {
    if (store.is_half)
        __atomic_store_n(static_cast<u16*>(store.to), static_cast<u16>(store.word), __ATOMIC_RELAXED);
    else
        __atomic_store_n(static_cast<u32*>(store.to), store.word, __ATOMIC_RELAXED);
}

// One of those that are on their way arrives.
GATEFLOW_UNJUDGED inline void arrive() {
    Store& chosen = launch->stores[draw(static_cast<size_t>(launch->on_their_way))];
    write(chosen);
    chosen = launch->stores[--launch->on_their_way];
}

GATEFLOW_UNJUDGED inline void stop() {
    if (launch->stops > 0 && draw(static_cast<size_t>(launch->stops)) == 0) pause();
}

GATEFLOW_UNJUDGED inline void send(void* to, u32 word, bool is_half) {
    launch->progress = true;
    const Store store = {to, word, is_half};
    if (launch->late == 0 || draw(static_cast<size_t>(launch->late)) != 0)
        write(store);
    else {
        if (launch->on_their_way == 64) arrive();
        launch->stores[launch->on_their_way++] = store;
    }
    stop();
}

GATEFLOW_UNJUDGED inline Words look(const u32* from) {
    Words words;
    for (int i = 0; i < 4; ++i) {
        words.of[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
        if (i < 3) stop();  // four words are not one
    }
    return words;
}

// Who stands still together, and what is not seen at once: nothing of the kind, or lanes, warps or blocks.
inline int parties(Launch& here, int blocks, int threads) {
    const int size[] = {blocks * threads, 1, 32, threads}, chosen = size[draw(4)];
    here.stops = draw(2) * 8, here.late = draw(2) * 2;
    for (auto& lane : here.lanes) lane->party = (lane->block * threads + lane->thread) / chosen;
    return blocks * threads / chosen;
}

// All lanes once, but for those that stand still or wait for others; whether any is left.
inline bool turn(Launch& here, int64_t number) {
    bool left = false, asleep = false;
    here.progress = false;
    for (size_t i = here.lanes.size() - 1; i > 0; --i) std::swap(here.lanes[i], here.lanes[static_cast<size_t>(draw(i + 1))]);
    if (here.wakes.size() > 1 && draw(4) == 0) {
        const int length = draw(9);
        here.wakes[static_cast<size_t>(draw(here.wakes.size()))] = length == 0 ? never : number + 4 * length;
    }
    for (auto& lane : here.lanes) {
        if (lane->done) continue;
        left = true;
        const bool sleeps = here.wakes[static_cast<size_t>(lane->party)] > number;
        asleep |= sleeps;
        if (sleeps || (lane->waits && lane->waits->turn == lane->turn)) continue;
        here.now = lane.get();
        go(here.home, lane->context, lane->fiber);
        if (here.failed) break;
    }
    for (; here.on_their_way > 0 && draw(2) == 0; here.progress = true) arrive();
    here.idle = here.progress ? 0 : here.idle + 1;
    if (here.idle < (here.stops > 0 ? 64 : 4)) return left;
    // Who has only just stopped, or looked, can go on. If nobody can, what is late comes, then who stands still goes on, and
    // else this is the end.
    here.idle = 0;
    if (here.on_their_way > 0)
        arrive();
    else if (asleep)
        here.wakes.assign(here.wakes.size(), 0);
    else
        here.failed = left;
    return left;
}

// Runs `body` in each lane of a grid; 1 where it waited for what never came.
inline int run(void (*body)(void*), void* argument, int blocks, int threads, int64_t shared, unsigned seed) {
    Launch here;
    launch = &here, here.body = body, here.argument = argument, here.state = seed;
#ifdef __SANITIZE_THREAD__
    here.fiber = __tsan_get_current_fiber();
#endif
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
    here.wakes.assign(static_cast<size_t>(parties(here, blocks, threads)), 0);
    before(launched);
    for (int64_t number = 0; !here.failed && turn(here, number); ++number) {}
    after(ended);
    while (here.on_their_way > 0) arrive();
#ifdef __SANITIZE_THREAD__
    for (auto& lane : here.lanes) __tsan_destroy_fiber(lane->fiber);
#endif
    launch = nullptr;
    return here.failed;
}

}  // namespace emulated

GATEFLOW_UNJUDGED inline int thread() { return emulated::launch->now->thread; }
GATEFLOW_UNJUDGED inline int block() { return emulated::launch->now->block; }
GATEFLOW_UNJUDGED inline emulated::Block& own_block() { return emulated::launch->blocks[static_cast<size_t>(block())]; }
inline emulated::Meeting& own_warp() { return own_block().warps[static_cast<size_t>(thread() / 32)]; }
inline void block_barrier() { emulated::meet(own_block().all, true); }
inline void warp_barrier() { emulated::meet(own_warp(), true); }
inline float* shared_memory() { return own_block().shared.data(); }

GATEFLOW_UNJUDGED inline float shuffle_xor(float x, int mask) {
    std::vector<float>& all = own_block().shuffled;
    all[static_cast<size_t>(thread())] = x;
    emulated::meet(own_warp(), false);
    const float other = all[static_cast<size_t>(thread() ^ mask)];
    emulated::meet(own_warp(), false);
    return other;
}

inline Words load_words(const u32* from) { return emulated::look(from); }
inline void store_word(u32* to, u32 word) { emulated::send(to, word, false); }
inline void store_half(u16* to, u16 half) { emulated::send(to, half, true); }

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
GATEFLOW_UNJUDGED inline void multiply_tile(float (&sum)[4], const Words& a, u32 b0, u32 b1) {
    emulated::Block& block = own_block();
    const size_t warp = static_cast<size_t>(thread() / 32 * 32), lane = static_cast<size_t>(thread() % 32);
    block.a[warp + lane] = a, block.b[warp + lane] = Words{{b0, b1, 0, 0}};
    emulated::meet(own_warp(), false);
    for (int i = 0; i < 4; ++i) {
        const int row = static_cast<int>(lane) / 4 + i / 2 * 8, column = static_cast<int>(lane) % 4 * 2 + i % 2;
        for (int k = 0; k < 16; ++k) {
            const size_t of_a = warp + static_cast<size_t>(row % 8 * 4 + k % 8 / 2);
            const size_t of_b = warp + static_cast<size_t>(column * 4 + k % 8 / 2);
            sum[i] += bfloat16_of(block.a[of_a], row / 8 + k / 8 * 2, k) * bfloat16_of(block.b[of_b], k / 8, k);
        }
    }
    emulated::meet(own_warp(), false);
}

inline float reciprocal(float x) { return 1 / x; }
inline void used(float) {}

struct Patience {
    int tries = 0;

    // Never: a launch in which nobody can go on ends by itself.
    bool ended(int64_t) {
        // What was asked for long ago may be there by now: only who has looked again waits.
        if (++tries > 1) emulated::pause();
        return false;
    }
};

inline void give_up(int64_t*) {}

}  // namespace gateflow
