// What threads.h promises: at a barrier everybody's work is done and seen, and the caller's arithmetic is left as it was.
#include "threads.h"

#include <cstdio>

namespace {

// Volatile, because a compiler does not know that arithmetic depends on the mode, and moves it past a change.
volatile float smallest = 1.17549435e-38f, half;

bool subnormals_live() {
    half = smallest / 2;
    return half != 0;
}

// Each thread writes where only it may, all meet, and each reads what all have written.
bool everybody_sees_everything(int64_t threads, int rounds) {
    std::vector<int64_t> written(static_cast<std::size_t>(threads)), wrong(written.size());
    gateflow::Barrier barrier;
    gateflow::in_parallel(threads, [&](int64_t id, int64_t all) {
        for (int round = 1; round <= rounds; ++round) {
            written[static_cast<std::size_t>(id)] = round * (id + 1);
            barrier.wait(all);
            int64_t sum = 0;
            for (const int64_t value : written) sum += value;
            wrong[static_cast<std::size_t>(id)] += sum != round * threads * (threads + 1) / 2;
            barrier.wait(all);
        }
    });
    for (const int64_t count : wrong)
        if (count) return false;
    return written[0] == rounds;
}

}  // namespace

int main() {
    bool fine = subnormals_live();
    {
        const gateflow::SubnormalsAreZero flush;
        fine &= !subnormals_live();
    }
    fine &= subnormals_live();
    for (const int64_t threads : {1, 2, 3, 7}) fine &= everybody_sees_everything(threads, 300);
    if (!fine) std::printf("a promise of threads.h does not hold\n");
    return fine ? 0 : 1;
}
