// The product by the matrix unit of a CPU (AMX), where it has one and the system lets us: else that of product.h.
//
// The unit knows tiles of 16 rows of 64 bytes, and the memory of product.h is made of such rows:
//
//     sums        16 samples × 16 units                   sum[m][unit]
//     operand     16 samples × 16 places, 32 factors      operand[m][k]
//     weights     16 places  × 16 units of 2 factors      panel[k][gate]
//
// A tile always has 16 rows: those beyond the last sample hold anything, and are computed for nobody.
#pragma once

#include "product.h"

#ifdef GATEFLOW_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace [[gnu::visibility("hidden")]] gateflow {

#ifdef GATEFLOW_AMX
constexpr int tile_height = 16;

// Whether the system gives this process the memory for tiles. It wants to be asked, and is, once.
inline bool may_use_tiles() {
    constexpr long ask_for_state = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    static const bool granted = syscall(SYS_arch_prctl, ask_for_state, tile_data) == 0;
    return granted;
}

struct TileShapes {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
alignas(64) inline const TileShapes all_tiles_full;

// A thread has tiles while it lives.
class AmxTiles {
  public:
    AmxTiles() {
        if (may_use_tiles()) _tile_loadconfig(&all_tiles_full);
    }
    ~AmxTiles() {
        if (may_use_tiles()) _tile_release();
    }
    AmxTiles(const AmxTiles&) = delete;
    AmxTiles& operator=(const AmxTiles&) = delete;
};

constexpr int columns_at_once = 4;  // tiles 0 to 3 are sums, 4 is the operand, 5 to 7 are weights

// As `multiply`, for 16 rows: column j is gate j % C of block j / C. The intrinsics want literal numbers.
template <class T, int U, int C, int first = 0>
void multiply_by_amx(const Operand<T>& operand, const T* panels, const T* next, T* sum, int64_t sums, bool fresh) {
    constexpr int L = lanes<T>, N = std::min(U * C - first, columns_at_once);
    const int64_t panel = operand.depth * C * L, row_bytes = operand.stride * 4, sum_bytes = U * sums * 64;
    const auto weights = [&](int i) { return panels + (first + i) / C * panel + (first + i) % C * L; };
    const auto sums_of = [&](int i) { return sum + ((first + i) / C * sums + (first + i) % C) * L; };
    asm volatile("" ::: "memory");  // the intrinsics do not tell that they read memory
    if (fresh) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, sums_of(0), sum_bytes);
        if constexpr (N > 1) _tile_loadd(1, sums_of(1), sum_bytes);
        if constexpr (N > 2) _tile_loadd(2, sums_of(2), sum_bytes);
        if constexpr (N > 3) _tile_loadd(3, sums_of(3), sum_bytes);
    }
    for (int64_t k = 0; k < operand.depth; k += places_at_once) {
        for (int64_t i = k; i < k + places_at_once; ++i) __builtin_prefetch(next + i * line_of_cache<T>, 0, 2);
        _tile_loadd(4, operand.rows + k, row_bytes);
        _tile_loadd(5, weights(0) + k * C * L, C * 64);
        _tile_dpbf16ps(0, 4, 5);
        if constexpr (N > 1) {
            _tile_loadd(6, weights(1) + k * C * L, C * 64);
            _tile_dpbf16ps(1, 4, 6);
        }
        if constexpr (N > 2) {
            _tile_loadd(7, weights(2) + k * C * L, C * 64);
            _tile_dpbf16ps(2, 4, 7);
        }
        if constexpr (N > 3) {
            _tile_loadd(5, weights(3) + k * C * L, C * 64);
            _tile_dpbf16ps(3, 4, 5);
        }
    }
    _tile_stored(0, sums_of(0), sum_bytes);
    if constexpr (N > 1) _tile_stored(1, sums_of(1), sum_bytes);
    if constexpr (N > 2) _tile_stored(2, sums_of(2), sum_bytes);
    if constexpr (N > 3) _tile_stored(3, sums_of(3), sum_bytes);
    if constexpr (first + N < U * C) multiply_by_amx<T, U, C, first + N>(operand, panels, next, sum, sums, fresh);
}
#else
constexpr int tile_height = 1;
struct AmxTiles {
    AmxTiles() {}
};
#endif

// How a pass cuts its rows: into how many tiles, each with how many blocks of units at once.
struct Cut {
    int64_t tiles, blocks;
};

template <class T>
Cut cut(int64_t rows, int sums) {
#ifdef GATEFLOW_AMX
    if (rounds<T> && may_use_tiles()) return {(rows + tile_height - 1) / tile_height, sums == 1 ? 4 : sums == 2 ? 2 : 1};
#endif
    const int64_t tiles = (rows + tile_rows(sums) - 1) / tile_rows(sums);
    return {tiles, tile_blocks(static_cast<int>((rows + tiles - 1) / tiles), sums)};
}

// Vectors that the sums of one tile take at most.
template <class T>
constexpr int most_sums(int sums) {
    const int vectors = std::max(tile_sums, tile_rows(sums) * sums);
#ifdef GATEFLOW_AMX
    return std::max(vectors, tile_height * std::max(sums, columns_at_once));
#endif
    return vectors;
}

// The kernel for a tile of `rows` × `blocks` with C gates.
template <class T, int C, int most>
Multiply<T> multiplication(int64_t rows, int64_t blocks) {
#ifdef GATEFLOW_AMX
    if constexpr (rounds<T>) {
        constexpr Multiply<T> tiles[] = {multiply_by_amx<T, 1, C>, multiply_by_amx<T, 2, C>, multiply_by_amx<T, 4, C>};
        if (may_use_tiles()) return tiles[blocks / 2];
    }
#endif
    return in_registers<T, C, most>(rows, blocks);
}

}  // namespace gateflow
