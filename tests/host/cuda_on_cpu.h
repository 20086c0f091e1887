// What a kernel finds on a card, on one thread of a CPU: put in front of the text that NVRTC gets,
// it lets g++ compile that text. Every CUDA thread is a fiber that runs until it meets a barrier;
// the blocks of a grid come one after the other.

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <ucontext.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static  // one block at a time, so one copy is enough
#define __launch_bounds__(...)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

static dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace cpu {

constexpr unsigned WARP = 32;
constexpr size_t STACK = 64 * 1024;

enum class State { ready, at_block_barrier, at_warp_barrier, done };

struct Fiber {
    std::unique_ptr<char[]> stack{new char[STACK]};
    bool started = false;
    jmp_buf place;  // where it goes on
    State state = State::done;
    dim3 thread;
    unsigned lane = 0, warp = 0;
    unsigned exchanges = 0;  // warp operations so far: alternates between two boxes
};

struct Warp {
    alignas(16) char boxes[2][WARP][16];
};

static std::vector<Fiber> fibers;
static std::vector<Warp> warps;
static unsigned live = 0;  // threads in the block that is running
static Fiber* current = nullptr;
static jmp_buf scheduler;
static std::function<void()> body;
static char message[256];

// Fibers stay alive from launch to launch: only the first start of each makes a context, after
// that two jumps are all a switch takes.
static void fiber_main() {
    for (;;) {
        body();
        current->state = State::done;
        if (!_setjmp(current->place)) _longjmp(scheduler, 1);
    }
}

static void resume(Fiber& fiber) {
    current = &fiber;
    threadIdx = fiber.thread;
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    static ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack.get();
    context.uc_stack.ss_size = STACK;
    makecontext(&context, fiber_main, 0);
    setcontext(&context);
}

static void wait_at(State barrier) {
    current->state = barrier;
    if (!_setjmp(current->place)) _longjmp(scheduler, 1);
}

// Lets fibers first..last go on if all of them wait at this barrier.
static bool release(unsigned first, unsigned last, State barrier) {
    for (unsigned i = first; i < last; ++i)
        if (fibers[i].state != barrier) return false;
    for (unsigned i = first; i < last; ++i) fibers[i].state = State::ready;
    return true;
}

// Each round of a block's threads begins with another one, forwards or backwards, and for some
// rounds half of the warps stay behind: who comes first between two barriers is anybody's guess on
// a card, too.
static unsigned next_chance() {
    static unsigned state = 1;
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static bool run_block() {
    for (unsigned z = 0, i = 0; z < blockDim.z; ++z)
        for (unsigned y = 0; y < blockDim.y; ++y)
            for (unsigned x = 0; x < blockDim.x; ++x, ++i) {
                fibers[i].state = State::ready;
                fibers[i].thread = {x, y, z};
                fibers[i].lane = i % WARP;
                fibers[i].warp = i / WARP;
                fibers[i].exchanges = 0;
            }
    for (unsigned round = 0, asleep = 0;;) {
        bool moved = false;
        unsigned done = 0;
        const unsigned chance = next_chance();
        if (round++ % 8 == 0) asleep = next_chance();
        for (unsigned n = 0; n < live; ++n) {
            const unsigned i = ((chance & 1 ? n : live - n) + (chance >> 1)) % live;
            if (fibers[i].state == State::ready) {
                moved = true;
                if (!(asleep >> fibers[i].warp % 16 & 1)) resume(fibers[i]);
            }
            done += fibers[i].state == State::done;
        }
        if (done == live) return true;
        for (unsigned first = 0; first < live; first += WARP)
            moved |= release(first, first + WARP < live ? first + WARP : live,
                             State::at_warp_barrier);
        moved |= release(0, live, State::at_block_barrier);
        if (!moved) return false;
    }
}

template <typename T> T exchange(T value, unsigned source) {
    static_assert(sizeof(T) <= 16, "too large for a shuffle");
    auto& boxes = warps[current->warp].boxes[current->exchanges++ % 2];
    *reinterpret_cast<T*>(boxes[current->lane]) = value;
    wait_at(State::at_warp_barrier);
    return *reinterpret_cast<T*>(boxes[source % WARP]);
}

template <typename... P, size_t... I>
const char* launch(void (*kernel)(P...), dim3 grid, dim3 block, void** arguments,
                   std::index_sequence<I...>) {
    gridDim = grid;
    blockDim = block;
    live = block.x * block.y * block.z;
    if (live == 0 || live > 1024) return "a block has 1 to 1024 threads";
    while (fibers.size() < live) fibers.emplace_back();
    warps.resize((live + WARP - 1) / WARP);
    body = [=] { kernel(*static_cast<P*>(arguments[I])...); };
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                blockIdx = {x, y, z};
                if (run_block()) continue;
                for (Fiber& fiber : fibers) fiber.started = false;
                snprintf(message, sizeof message,
                         "block (%u, %u, %u): not all threads reached the same barrier", x, y, z);
                return message;
            }
    return nullptr;
}

// Runs a kernel; returns null, or what went wrong.
template <typename... P>
const char* launch(void (*kernel)(P...), const unsigned* grid, const unsigned* block,
                   void** arguments) {
    return launch(kernel, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, arguments,
                  std::index_sequence_for<P...>());
}

}  // namespace cpu

static inline void __syncthreads() { cpu::wait_at(cpu::State::at_block_barrier); }
static inline void __syncwarp(unsigned = ~0u) { cpu::wait_at(cpu::State::at_warp_barrier); }
static inline void __threadfence() {}

template <typename T> T __shfl_sync(unsigned, T value, int lane) {
    return cpu::exchange(value, unsigned(lane));
}
template <typename T> T __shfl_xor_sync(unsigned, T value, int mask) {
    return cpu::exchange(value, cpu::current->lane ^ unsigned(mask));
}
template <typename T> T __shfl_down_sync(unsigned, T value, unsigned distance) {
    const unsigned source = cpu::current->lane + distance;
    return cpu::exchange(value, source < cpu::WARP ? source : cpu::current->lane);
}
static inline unsigned __ballot_sync(unsigned, bool predicate) {
    unsigned ballot = 0;
    const auto box = cpu::current->exchanges % 2;
    cpu::exchange(unsigned(predicate), 0);
    const unsigned first = cpu::current->warp * cpu::WARP;
    for (unsigned lane = 0; lane < cpu::WARP && first + lane < cpu::live; ++lane) {
        const char* vote = cpu::warps[cpu::current->warp].boxes[box][lane];
        ballot |= *reinterpret_cast<const unsigned*>(vote) << lane;
    }
    return ballot;
}

template <typename T> T atomicAdd(T* address, T value) {
    const T before = *address;
    *address += value;
    return before;
}
