// Instructions for bfloat16 on a CPU without them. They trap; what they would have done is done here, on the registers of
// the thread that trapped, and it goes on behind them. So the real machine code of the products is judged on any CPU
// with AVX-512. Written from Intel's manual (volume 2), and refuses whatever the compiler makes that is not here:
//
//     VDPBF16PS, VCVTNE2PS2BF16            512 bits, no masks; from registers or memory, broadcast or not
//     LDTILECFG, TILERELEASE, TILEZERO, TILELOADD, TILESTORED, TDPBF16PS
#pragma once

#include <cpuid.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace emulated {

using Byte = std::uint8_t;

[[noreturn]] inline void refuse(const char* what, const Byte* code) {
    std::printf("not emulated: %s:", what);
    for (int i = 0; code && i < 12; ++i) std::printf(" %02x", code[i]);
    std::printf("\n");
    std::fflush(stdout);
    _exit(3);
}

inline float from_bf16(const Byte* at) {
    std::uint16_t half;
    std::memcpy(&half, at, 2);
    const std::uint32_t whole = static_cast<std::uint32_t>(half) << 16;
    float value;
    std::memcpy(&value, &whole, 4);
    return value;
}

// To nearest, ties to even, by way of the neighbours and not of the carry.
inline std::uint16_t to_bf16(float value) {
    std::uint32_t whole;
    std::memcpy(&whole, &value, 4);
    const auto below = static_cast<std::uint16_t>(whole >> 16);
    if (std::isnan(value)) return below | 0x40;
    if (std::fpclassify(value) == FP_SUBNORMAL) return below & 0x8000;
    const std::uint32_t rest = whole & 0xffff;
    return static_cast<std::uint16_t>(below + (rest > 0x8000 || (rest == 0x8000 && below % 2)));
}

// The vector registers of the trapped thread, as the system has laid them down (XSAVE, standard form).
class Vectors {
  public:
    explicit Vectors(const ucontext_t* context) : area_(reinterpret_cast<Byte*>(context->uc_mcontext.fpregs)) {
        std::uint64_t there;
        std::memcpy(&there, area_ + 512, 8);
        for (const int part : {1, 2, 6, 7}) {  // what is not there is zero
            if (!(there >> part & 1)) std::memset(part == 1 ? area_ + 160 : begin(part), 0, part == 7 ? 1024 : part == 6 ? 512 : 256);
            there |= std::uint64_t{1} << part;
        }
        std::memcpy(area_ + 512, &there, 8);
    }
    void read(int number, Byte* to) const {
        for (int part = 0; part < 4; ++part) std::memcpy(to + 16 * part, quarter(number, part), 16);
    }
    void write(int number, const Byte* from) const {
        for (int part = 0; part < 4; ++part) std::memcpy(quarter(number, part), from + 16 * part, 16);
    }

  private:
    Byte* begin(int part) const {
        unsigned size, offset, c, d;
        __cpuid_count(0xd, part, size, offset, c, d);
        return area_ + offset;
    }
    Byte* quarter(int number, int part) const {
        if (number >= 16) return begin(7) + 64 * (number - 16) + 16 * part;
        return part == 0 ? area_ + 160 + 16 * number
                         : part == 1 ? begin(2) + 16 * number : begin(6) + 32 * number + 16 * (part - 2);
    }
    Byte* const area_;
};

struct Tile {
    alignas(64) Byte row[16][64];
};

// As the configuration says, all eight tiles are full.
struct Unit {
    bool configured;
    Tile tile[8];
};
inline thread_local Unit unit;

inline std::int64_t general(const ucontext_t* context, int number) {
    constexpr int place[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                             REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return context->uc_mcontext.gregs[place[number]];
}

// What the byte behind the opcode and its followers name: two registers, or one and a place in memory.
struct Operands {
    int first, second;
    bool memory;
    std::int64_t base = 0, index = 0;

    // r, x, b: the higher bits of numbers; a displacement of one byte counts in units of `scale`.
    Operands(const ucontext_t* context, const Byte*& code, int r, int x, int b, int scale)
        : first((*code >> 3 & 7) | r), second((*code & 7) | b), memory(*code >> 6 != 3) {
        const int mode = *code++ >> 6;
        if (!memory) return;
        bool plain = (second & 7) != 5 || mode != 0, relative = !plain;
        if ((second & 7) == 4) {
            const int shift = *code >> 6, by = (*code >> 3 & 7) | x;
            second = (*code++ & 7) | b;
            plain = (second & 7) != 5 || mode != 0, relative = false;
            if (by != 4) index = general(context, by) * (1 << shift);
        }
        std::int32_t distance = 0;
        if (mode == 1) distance = static_cast<std::int8_t>(*code++) * scale;
        if (mode == 2 || !plain) std::memcpy(&distance, code, 4), code += 4;
        base = (plain ? general(context, second) : relative ? reinterpret_cast<std::int64_t>(code) : 0) + distance;
    }
    Byte* at(int row) const { return reinterpret_cast<Byte*>(base + row * index); }
};

inline void tile_product(Tile& sum, const Tile& a, const Tile& b) {
    for (int m = 0; m < 16; ++m)
        for (int n = 0; n < 16; ++n) {
            float even = 0, odd = 0, before;
            for (int k = 0; k < 16; ++k) {
                even = std::fma(from_bf16(a.row[m] + 4 * k), from_bf16(b.row[k] + 4 * n), even);
                odd = std::fma(from_bf16(a.row[m] + 4 * k + 2), from_bf16(b.row[k] + 4 * n + 2), odd);
            }
            std::memcpy(&before, sum.row[m] + 4 * n, 4);
            before += even + odd;
            std::memcpy(sum.row[m] + 4 * n, &before, 4);
        }
}

inline void configure(const Byte* shapes) {
    bool full = shapes[0] == 1 && shapes[1] == 0;
    for (int tile = 0; tile < 8; ++tile)
        full &= shapes[16 + 2 * tile] == 64 && shapes[17 + 2 * tile] == 0 && shapes[48 + tile] == 16;
    if (!full) refuse("tiles that are not full", shapes);
    std::memset(&unit, 0, sizeof unit);
    unit.configured = true;
}

// C4, RXB and map, W vvvv L pp, opcode: the instructions on tiles.
inline const Byte* on_tiles(const ucontext_t* context, const Byte* code) {
    const Byte *next = code + 4, prefix = code[2] & 3, third = ~code[2] >> 3 & 15;
    if ((code[1] & 31) != 2 || code[2] & 0x84) refuse("VEX", code);
    const Operands o(context, next, ~code[1] >> 7 & 1 ? 8 : 0, ~code[1] & 0x40 ? 8 : 0, ~code[1] & 0x20 ? 8 : 0, 1);
    if (code[3] == 0x49 && prefix == 0 && o.memory) return configure(o.at(0)), next;
    if (!unit.configured || o.first > 7 || (!o.memory && o.second > 7)) refuse("no such tile", code);
    Tile& tile = unit.tile[o.first];
    if (code[3] == 0x49 && prefix == 0)
        unit.configured = false;
    else if (code[3] == 0x49 && prefix == 3 && !o.memory)
        std::memset(&tile, 0, sizeof tile);
    else if (code[3] == 0x4b && prefix == 3 && o.memory)
        for (int m = 0; m < 16; ++m) std::memcpy(tile.row[m], o.at(m), 64);
    else if (code[3] == 0x4b && prefix == 2 && o.memory)
        for (int m = 0; m < 16; ++m) std::memcpy(o.at(m), tile.row[m], 64);
    else if (code[3] == 0x5c && prefix == 2 && !o.memory && third < 8)
        tile_product(tile, unit.tile[o.second], unit.tile[third]);
    else
        refuse("VEX", code);
    return next;
}

// 62, RXBR' and map, W vvvv 1 pp, z L'L b V' aaa, opcode: the instructions on vectors.
inline const Byte* on_vectors(const ucontext_t* context, const Byte* code) {
    const Byte *next = code + 5, prefix = code[2] & 3;
    const bool product = code[4] == 0x52 && prefix == 2, conversion = code[4] == 0x72 && prefix == 3;
    const bool broadcast = code[3] & 0x10;
    if ((code[1] & 15) != 2 || code[2] & 0x80 || (code[3] & 0xe7) != 0x40 || !(product || conversion)) refuse("EVEX", code);
    const Operands o(context, next, (~code[1] & 0x80 ? 8 : 0) | (~code[1] & 0x10 ? 16 : 0), ~code[1] & 0x40 ? 8 : 0,
                     ~code[1] & 0x20 ? 8 : 0, broadcast ? 4 : 64);
    const Vectors vectors(context);
    Byte a[64], b[64], to[64];
    vectors.read((~code[2] >> 3 & 15) | (~code[3] & 8 ? 16 : 0), a);
    if (!o.memory) vectors.read(o.second | (~code[1] & 0x40 ? 16 : 0), b);
    for (int i = 0; o.memory && i < 16; ++i) std::memcpy(b + 4 * i, o.at(1) + (broadcast ? 0 : 4 * i), 4);
    vectors.read(o.first, to);
    for (int i = 0; i < (product ? 16 : 32); ++i) {
        float value;
        std::memcpy(&value, product ? to + 4 * i : i < 16 ? b + 4 * i : a + 4 * (i - 16), 4);
        if (product) {
            value = std::fma(from_bf16(a + 4 * i + 2), from_bf16(b + 4 * i + 2), value);
            value = std::fma(from_bf16(a + 4 * i), from_bf16(b + 4 * i), value);
            std::memcpy(to + 4 * i, &value, 4);
        } else {
            const std::uint16_t half = to_bf16(value);
            std::memcpy(to + 2 * i, &half, 2);
        }
    }
    vectors.write(o.first, to);
    return next;
}

inline void trapped(int, siginfo_t*, void* about) {
    auto* const context = static_cast<ucontext_t*>(about);
    auto& pointer = context->uc_mcontext.gregs[REG_RIP];
    const Byte* const code = reinterpret_cast<const Byte*>(pointer);
    if (*code != 0xc4 && *code != 0x62) refuse("an instruction", code);
    pointer = reinterpret_cast<std::int64_t>(*code == 0x62 ? on_vectors(context, code) : on_tiles(context, code));
}

// From now on; a CPU that has the instructions runs them itself.
inline void begin() {
    struct sigaction action {};
    action.sa_sigaction = trapped;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &action, nullptr);
}

inline bool tiles_are_refused = false;

inline bool has_tiles() {
    unsigned a, b, c, d;
    __cpuid_count(7, 0, a, b, c, d);
    return d >> 24 & 1;
}

}  // namespace emulated

// A system without tiles refuses them to whoever asks; emulated ones need no permission.
extern "C" inline long syscall(long number, ...) noexcept {
    va_list list;
    va_start(list, number);
    const long first = va_arg(list, long), second = va_arg(list, long);
    va_end(list);
    long found = emulated::tiles_are_refused ? -EPERM : 0;
    if (number != SYS_arch_prctl) emulated::refuse("a call of the system", nullptr);
    if (!found && emulated::has_tiles())
        asm volatile("syscall" : "=a"(found) : "a"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
    return found < 0 ? -1 : found;
}
