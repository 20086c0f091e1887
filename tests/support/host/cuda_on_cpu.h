// What a kernel finds on a card, on one thread of a CPU: put in front of the text that NVRTC gets,
// it lets g++ compile that text. Every CUDA thread is a fiber that runs until it meets a barrier,
// or says that it spins. In between a thread is never interrupted, and what it writes is seen at
// once: a plain `+=` where an atomicAdd belongs, or a missing fence, does not show by itself. With
// FIND_RACES, races.cpp is told what threads do, and finds those.
//
// What runs the fibers stands in cuda_on_cpu.cpp, which is compiled once and becomes part of every
// library: compiling it takes longer than most kernels do.

// Without the Bessel functions and their kin of C++17, which no kernel has: loading this header,
// compiled, would take twice as long, for each library.
#include <cstddef>
#undef _GLIBCXX_USE_STD_SPEC_FUNCS

#include <math.h>
#include <string.h>

#include <utility>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
// All such variables of a library stand in one piece of memory, where each block finds its own
// copy while it runs.
#define __shared__ thread_local

#ifdef FIND_RACES
extern "C" {  // see races.cpp
void races_begin(unsigned blocks, unsigned threads, const void* shared, size_t shared_size);
const char* races_end();
void races_resume(unsigned thread, const void* stack, size_t size);
void races_pause();
void races_fence();
void races_block_barrier(unsigned block);
void races_warp_arrives();
void races_warp_leaves();
void races_atomic(const void* address, size_t size, const char* file, int line);
void races_after_atomic();
}
#else
static inline void races_begin(unsigned, unsigned, const void*, size_t) {}
static inline const char* races_end() { return nullptr; }
static inline void races_resume(unsigned, const void*, size_t) {}
static inline void races_pause() {}
static inline void races_fence() {}
static inline void races_block_barrier(unsigned) {}
static inline void races_warp_arrives() {}
static inline void races_warp_leaves() {}
static inline void races_atomic(const void*, size_t, const char*, int) {}
static inline void races_after_atomic() {}
#endif

#pragma GCC visibility push(hidden)  // each library has its own

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

extern dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace cpu {

constexpr unsigned WARP = 32;
constexpr size_t DYNAMIC = 48 * 1024;  // bytes of dynamic shared memory there can be

// Where in the kernel's text something was called; as a default argument, by whoever called.
struct Place {
    const char* file;
    int line;
    static Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {file, line};
    }
};

enum class At { work, warp_barrier, block_barrier, spin, end };

struct Memory {
    char* start = nullptr;
    size_t size = 0;
};

// Of the thread that runs: it waits, and goes on when it may.
void leave(At at, Place place);
// What a kernel must not do; never comes back.
void refuse(Place place, const char* what, ...);
unsigned lane();
// What a warp's lanes show each other: each puts one out, and takes that of another.
struct Box {
    char bytes[16];
};
void exchange(Box& box, unsigned source, Place place);
// They tell each other whether something holds: a bit for each lane.
unsigned ballot(bool predicate, Place place);

// A kernel with its arguments, and what calls it in each thread.
struct Body {
    void (*call)(void (*kernel)(), void** arguments);
    void (*kernel)();
    void** arguments;
};

// Runs a kernel; returns null, or what went wrong. `dynamic` is the kernel's `extern` array, with
// the number of bytes of it that this launch asks for.
const char* run(Body body, const unsigned* grid, const unsigned* block, Memory dynamic,
                unsigned in_order);

template <typename... P, size_t... I>
void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<P*>(arguments[I])...);
}

template <typename... P>
const char* launch(void (*kernel)(P...), const unsigned* grid, const unsigned* block,
                   Memory dynamic, unsigned in_order, void** arguments) {
    auto call_it = [](void (*untyped)(), void** arguments) {
        call(reinterpret_cast<void (*)(P...)>(untyped), arguments,
             std::index_sequence_for<P...>());
    };
    const Body body{call_it, reinterpret_cast<void (*)()>(kernel), arguments};
    return run(body, grid, block, dynamic, in_order);
}

inline void check(unsigned mask, Place place) {
    if (mask != ~0u) refuse(place, "leaves lanes out (mask %x), which is not supported", mask);
}

template <typename T> T exchange(unsigned mask, T value, unsigned source, Place place) {
    static_assert(sizeof(T) <= sizeof(Box), "too large for a shuffle");
    check(mask, place);
    Box box;
    memcpy(&box, &value, sizeof value);
    exchange(box, source, place);
    memcpy(&value, &box, sizeof value);
    return value;
}

}  // namespace cpu

static inline void __syncthreads(cpu::Place place = cpu::Place::here()) {
    cpu::leave(cpu::At::block_barrier, place);
}
static inline void __syncwarp(unsigned mask = ~0u, cpu::Place place = cpu::Place::here()) {
    cpu::check(mask, place);
    races_warp_arrives();
    cpu::leave(cpu::At::warp_barrier, place);
    races_warp_leaves();
}
#define __builtin_assume(condition)
static inline void __threadfence() { races_fence(); }
// In a loop that looks until another block has done something: lets the others have their turn.
static inline void spin_wait(cpu::Place place = cpu::Place::here()) {
    cpu::leave(cpu::At::spin, place);
}
template <typename T> T __ldcg(const T* address) { return *address; }

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, cpu::Place place = cpu::Place::here()) {
    return cpu::exchange(mask, value, unsigned(lane) % cpu::WARP, place);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, cpu::Place place = cpu::Place::here()) {
    return cpu::exchange(mask, value, (cpu::lane() ^ unsigned(bits)) % cpu::WARP, place);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, cpu::Place place = cpu::Place::here()) {
    const unsigned lane = cpu::lane();
    return cpu::exchange(mask, value, lane + by < cpu::WARP ? lane + by : lane, place);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, cpu::Place place = cpu::Place::here()) {
    const unsigned lane = cpu::lane();
    return cpu::exchange(mask, value, lane >= by ? lane - by : lane, place);
}
static inline unsigned __ballot_sync(unsigned mask, bool predicate,
                                     cpu::Place place = cpu::Place::here()) {
    cpu::check(mask, place);
    return cpu::ballot(predicate, place);
}

template <typename T>
T atomicAdd(T* address, T value, cpu::Place place = cpu::Place::here()) {
    races_atomic(address, sizeof(T), place.file, place.line);
    const T before = *address;
    *address += value;
    races_after_atomic();
    return before;
}
template <typename T>
T atomicMin(T* address, T value, cpu::Place place = cpu::Place::here()) {
    races_atomic(address, sizeof(T), place.file, place.line);
    const T before = *address;
    if (value < before) *address = value;
    races_after_atomic();
    return before;
}
template <typename T>
T atomicMax(T* address, T value, cpu::Place place = cpu::Place::here()) {
    races_atomic(address, sizeof(T), place.file, place.line);
    const T before = *address;
    if (value > before) *address = value;
    races_after_atomic();
    return before;
}

template <typename T>
T atomicCAS(T* address, T expected, T value, cpu::Place place = cpu::Place::here()) {
    races_atomic(address, sizeof(T), place.file, place.line);
    const T before = *address;
    if (before == expected) *address = value;
    races_after_atomic();
    return before;
}

static inline long long __double_as_longlong(double value) {
    long long word;
    memcpy(&word, &value, sizeof word);
    return word;
}
static inline double __longlong_as_double(long long word) {
    double value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

#pragma GCC visibility pop
