// Threads that work on one recurrence: started together, meeting at barriers, with subnormals flushed to zero.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#ifndef GATEFLOW_STD_THREADS
#include <omp.h>
#endif
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace [[gnu::visibility("hidden")]] gateflow {

// Runs work(id, threads) on each of at most `asked` threads: there may be fewer, where a limit is set.
template <class Work>
void in_parallel(int64_t asked, const Work& work) {
    if (asked <= 1) return work(0, 1);
#ifdef GATEFLOW_STD_THREADS
    std::vector<std::thread> others;
    for (int64_t id = 1; id < asked; ++id) others.emplace_back([&work, id, asked] { work(id, asked); });
    work(0, asked);
    for (auto& thread : others) thread.join();
#else
#pragma omp parallel num_threads(static_cast<int>(asked))
    work(omp_get_thread_num(), omp_get_num_threads());
#endif
}

// All threads wait for the last. Spins for some fifty microseconds, then sleeps: one that only spins uses up its share
// of a core that others want too, and stands still for a time slice when the last has come.
class Barrier {
  public:
    void wait(int64_t threads) {
        if (threads == 1) return;
        const int64_t round = round_.load(std::memory_order_relaxed);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
            // Before the round ends: whoever sees the next round may arrive at once.
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins)
            // Some fifty microseconds, within which steps of a few rows meet; after 1,000 spins they slept first.
            if (spins < 4096)
                relax();
            else
                std::this_thread::sleep_for(std::chrono::microseconds(20));
    }

  private:
    static void relax() {
#if defined(__x86_64__) || defined(__i386__)
        _mm_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    // Each in a line of the cache of its own: an arrival does not take the line away on which the others spin.
    alignas(64) std::atomic<int64_t> arrived_{0};
    alignas(64) std::atomic<int64_t> round_{0};
};

// Treats subnormal numbers as zero while it lives; then the caller's mode is as it was. A vanishing gradient soon is
// subnormal, and arithmetic on subnormals is up to a hundred times slower.
class SubnormalsAreZero {
  public:
#if defined(__x86_64__) || defined(__i386__)
    // 0x8000 flushes results to zero, 0x40 takes subnormal operands for zero.
    SubnormalsAreZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~SubnormalsAreZero() { _mm_setcsr(before_); }

  private:
    const unsigned before_;
#elif defined(__aarch64__)
    SubnormalsAreZero() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" ::"r"(before_ | (uint64_t{1} << 24)));
    }
    ~SubnormalsAreZero() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

  private:
    uint64_t before_ = 0;
#else
    SubnormalsAreZero() {}
#endif
  public:
    SubnormalsAreZero(const SubnormalsAreZero&) = delete;
    SubnormalsAreZero& operator=(const SubnormalsAreZero&) = delete;
};

}  // namespace gateflow
