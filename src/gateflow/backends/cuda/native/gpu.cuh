// What the frame needs of a GPU, and nothing else: `emulated.h` of the tests gives the same words on a CPU.
#pragma once

#ifdef __CUDACC_RTC__

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long int64_t;

#define GATEFLOW_INLINE __device__ __forceinline__
// Where a step has many products, a copy of their loop for each takes the compiler seconds, and registers.
#ifdef GATEFLOW_MANY_PRODUCTS
#define GATEFLOW_CALLED __device__ __noinline__
#else
#define GATEFLOW_CALLED GATEFLOW_INLINE
#endif
#define GATEFLOW_KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads, 1)
#define GATEFLOW_PRAGMA(words) _Pragma(#words)
#define GATEFLOW_UNROLL(times) GATEFLOW_PRAGMA(unroll times)
#define GATEFLOW_CALL const __grid_constant__
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)

namespace gateflow {

struct alignas(16) Words {
    u32 of[4];
};

GATEFLOW_INLINE int thread() { return threadIdx.x; }
GATEFLOW_INLINE int block() { return blockIdx.x; }
GATEFLOW_INLINE void block_barrier() { __syncthreads(); }
GATEFLOW_INLINE void warp_barrier() { __syncwarp(); }

GATEFLOW_INLINE float shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }

// Relaxed, and at the scope of the device: a word is either EMPTY or what was written, and no other order is needed.
GATEFLOW_INLINE Words load_words(const u32* from) {
    Words w;
    asm volatile("ld.relaxed.gpu.global.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(w.of[0]), "=r"(w.of[1]), "=r"(w.of[2]), "=r"(w.of[3])
                 : "l"(from));
    return w;
}
GATEFLOW_INLINE void store_word(u32* to, u32 word) {
    asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(word) : "memory");
}

GATEFLOW_INLINE void store_half(u16* to, u16 half) {
    asm volatile("st.relaxed.gpu.global.u16 [%0], %1;" ::"l"(to), "h"(half) : "memory");
}

// sum += a b for tiles of 16 by 16 and 16 by 8 numbers of bfloat16, which the lanes of a warp have parts of.
GATEFLOW_INLINE void multiply_tile(float (&sum)[4], const Words& a, u32 b0, u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a.of[0]), "r"(a.of[1]), "r"(a.of[2]), "r"(a.of[3]), "r"(b0), "r"(b1));
}

GATEFLOW_INLINE u32 bits(float x) { return __float_as_uint(x); }
GATEFLOW_INLINE float number(u32 word) { return __uint_as_float(word); }
// To one unit in the last place, and in one instruction.
GATEFLOW_INLINE float reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
// Keeps a load that nobody else needs, until here.
GATEFLOW_INLINE void used(float x) { asm volatile("" ::"f"(x)); }

GATEFLOW_INLINE float* shared_memory() {
    extern __shared__ __align__(16) float memory[];
    return memory;
}

// How long a thread has waited; a card that is shared, or stopped by a debugger, may keep it waiting for seconds.
struct Patience {
    u64 since = 0;
    u32 tries = 0;

    GATEFLOW_INLINE bool ended(int64_t nanoseconds) {
        if (++tries % 1024 != 0) return false;  // the clock is far away
        u64 now;
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
        if (since == 0) since = now;
        return now - since > static_cast<u64>(nanoseconds);
    }
};

// Ends the launch with an error; the host finds in `failure` which.
GATEFLOW_INLINE void give_up(int64_t* failure) {
    if (failure) *reinterpret_cast<volatile int64_t*>(failure) = 1;
    __threadfence_system();
    __trap();
}

}  // namespace gateflow

#else
#include "emulated.h"
#endif
