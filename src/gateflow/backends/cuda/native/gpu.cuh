// What the frame needs of a GPU, and nothing else: `emulated.h` of the tests gives the same words on a CPU.
#pragma once

#ifdef __CUDACC_RTC__

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long int64_t;

#define GATEFLOW_INLINE __device__ __forceinline__
// What hardly ever runs, and must not stand between the instructions that do.
#define GATEFLOW_RARE __device__ __noinline__
// What a step does several times: once in the memory for instructions, which is small.
#define GATEFLOW_SHARED __device__ __noinline__
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

#define GATEFLOW_TILE(kind)                                                                                             \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." kind "." kind                                                 \
                 ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                           \
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])                                               \
                 : "r"(a.of[0]), "r"(a.of[1]), "r"(a.of[2]), "r"(a.of[3]), "r"(b0), "r"(b1))

// sum += a b for tiles of 16 by 16 and 16 by 8 numbers of float16 or bfloat16, which the lanes of a warp have parts of.
template <bool is_float16>
GATEFLOW_INLINE void multiply_tile(float (&sum)[4], const Words& a, u32 b0, u32 b1) {
    if constexpr (is_float16)
        GATEFLOW_TILE("f16");
    else
        GATEFLOW_TILE("bf16");
}

// To the nearest, what is too large to infinity, and NaN to the one that has all bits but the sign (PTX, `cvt`).
GATEFLOW_INLINE u16 to_float16(float x) {
    u16 half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(x));
    return half;
}
GATEFLOW_INLINE float of_float16(u16 half) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(half));
    return x;
}

GATEFLOW_INLINE u32 bits(float x) { return __float_as_uint(x); }
GATEFLOW_INLINE float number(u32 word) { return __uint_as_float(word); }
// To one unit in the last place, and in one instruction.
GATEFLOW_INLINE float reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
// A product of 64 bits in one instruction: the compiler makes several of what are numbers of 64 bits on the host.
GATEFLOW_INLINE int64_t times(int a, int b) {
    int64_t product;
    asm("mul.wide.s32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
    return product;
}

GATEFLOW_INLINE float* shared_memory() {
    extern __shared__ __align__(16) float memory[];
    return memory;
}

GATEFLOW_RARE bool is_late(u64& since, int64_t nanoseconds) {
    u64 now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    if (since == 0) since = now;
    // With a sign: nobody promises that this clock never goes back.
    return static_cast<int64_t>(now - since) > nanoseconds;
}

// How long a thread has waited; a card that is shared, or stopped by a debugger, may keep it waiting for seconds.
struct Patience {
    u64 since = 0;
    u32 tries = 0;

    GATEFLOW_INLINE bool ended(int64_t nanoseconds) {
        // The clock is far away.
        return ++tries % 1024 == 0 && is_late(since, nanoseconds);
    }
};

// Ends the launch with an error; the host finds in `failure` which.
GATEFLOW_RARE void give_up(int64_t* failure) {
    if (failure) *reinterpret_cast<volatile int64_t*>(failure) = 1;
    __threadfence_system();
    __trap();
}

}  // namespace gateflow

#else
#include "emulated.h"
#endif
