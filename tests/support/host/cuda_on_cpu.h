// What a kernel finds on a card, on one thread of a CPU: put in front of the text that NVRTC gets,
// it lets g++ compile that text. Every CUDA thread is a fiber that runs until it meets a barrier,
// or says that it spins. In between a thread is never interrupted, and what it writes is seen at
// once: a plain `+=` where an atomicAdd belongs, or a missing fence, does not show by itself. With
// FIND_RACES, races.cpp is told what threads do, and finds those.

#include <link.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
// All such variables of a library stand in one piece of memory, where each block finds its own
// copy while it runs.
#define __shared__ thread_local

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

static dim3 gridDim, blockDim, blockIdx, threadIdx;

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

namespace cpu {

constexpr unsigned WARP = 32;
constexpr size_t STACK = 64 * 1024;
constexpr unsigned THREADS = 16 * 1024;  // in a grid: each has a stack
constexpr size_t DYNAMIC = 48 * 1024;  // bytes of dynamic shared memory there can be
constexpr unsigned SPINS = 1000;  // turns that bring nothing but spinning, until the launch hangs

// Where in the kernel's text something was called; as a default argument, by whoever called.
struct Place {
    const char* file;
    int line;
    static Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {file, line};
    }
};

enum class At { work, warp_barrier, block_barrier, spin, end };

struct Fiber {
    std::unique_ptr<char[]> stack{new char[STACK]};
    bool started = false;
    jmp_buf context;  // where it goes on
    dim3 thread;
    unsigned lane, warp;
    unsigned exchanges;  // warp operations so far: alternates between two boxes
    At at;
    Place place;  // of the barrier that it waits at, or where it spins
};

struct Warp {
    unsigned block, first, last;  // its fibers
    char boxes[2][WARP][16];
};

struct Block {
    dim3 index;
    std::vector<char> shared;  // what its shared memory holds while another block runs
    bool spins = false;  // whether one of its threads does
};

struct Memory {
    char* start = nullptr;
    size_t size = 0;
};

static std::vector<Fiber> fibers;
static std::vector<Warp> warps;
static std::vector<Block> blocks;
static Memory shared;
static unsigned entered;  // the block that runs
static Fiber* current = nullptr;
static jmp_buf scheduler;
static std::function<void()> body;

struct Failure {};
static char message[512];

static void complain(const char* format, ...) {
    const int used = snprintf(message, sizeof message, "block (%u, %u, %u): ", blockIdx.x,
                              blockIdx.y, blockIdx.z);
    va_list values;
    va_start(values, format);
    vsnprintf(message + used, sizeof message - used, format, values);
    va_end(values);
}

// Fibers stay alive from launch to launch: only the first start of each makes a context, after
// that two jumps are all a switch takes.
static void leave(At at, Place place) {
    races_pause();
    current->at = at;
    current->place = place;
    if (!_setjmp(current->context)) _longjmp(scheduler, 1);
    races_resume(unsigned(current - fibers.data()), current->stack.get(), STACK);
}

static void fiber_main() {
    for (;;) {
        races_resume(unsigned(current - fibers.data()), current->stack.get(), STACK);
        body();
        leave(At::end, {});
    }
}

static void resume(Fiber& fiber) {
    current = &fiber;
    threadIdx = fiber.thread;
    if (!_setjmp(scheduler)) {
        if (fiber.started) _longjmp(fiber.context, 1);
        fiber.started = true;
        static ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = fiber.stack.get();
        context.uc_stack.ss_size = STACK;
        makecontext(&context, fiber_main, 0);
        setcontext(&context);
    }
    if (*message) throw Failure{};
}

// What a kernel must not do. Called in a fiber, which never comes back from here.
template <typename... V> void refuse(Place place, const char* what, V... values) {
    char text[200];
    snprintf(text, sizeof text, what, values...);
    const dim3 t = threadIdx;
    complain("thread (%u, %u, %u) %s at %s:%d", t.x, t.y, t.z, text, place.file, place.line);
    leave(At::end, place);
}

// Which of the warps that can go on does, and which lane of it, is anybody's guess on a card. Here
// it is always the first in an order: 0 upwards, 1 downwards, others shuffled. Upwards and downwards
// together bring out a barrier that is missing in a block: of any two threads each is once ahead
// of the other by as much as the barriers allow. Shuffled orders do so between blocks.
static unsigned order = 0, chance = 0;

static std::vector<unsigned> turns(size_t n) {
    std::vector<unsigned> path(n);
    for (unsigned i = 0; i < n; ++i) path[i] = order == 1 ? unsigned(n) - 1 - i : i;
    for (unsigned i = unsigned(n); order > 1 && i > 1; --i) {
        chance = chance * 1664525u + 1013904223u;
        std::swap(path[i - 1], path[(chance >> 8) % i]);
    }
    return path;
}

static std::string state(const Fiber& fiber) {
    if (fiber.at == At::end) return "has ended";
    return std::string(fiber.at == At::spin ? "spins" : "waits") + " at " + fiber.place.file + ":" +
           std::to_string(fiber.place.line);
}

// Whether threads first..last, when none of them can go on, wait at this barrier: then they may.
// All or none must.
static bool meet(unsigned first, unsigned last, At barrier) {
    const Fiber* one = nullptr;
    for (unsigned i = first; i < last; ++i) {
        if (fibers[i].at == At::work || fibers[i].at == At::spin) return false;
        if (fibers[i].at == barrier && !one) one = &fibers[i];
    }
    if (!one) return false;
    for (unsigned i = first; i < last; ++i) {
        const Fiber& other = fibers[i];
        if (other.at == barrier && other.place.line == one->place.line &&
            !strcmp(other.place.file, one->place.file))
            continue;
        const dim3 a = one->thread, b = other.thread;
        complain("not all threads reached the same barrier: thread (%u, %u, %u) %s, "
                 "thread (%u, %u, %u) %s",
                 a.x, a.y, a.z, state(*one).c_str(), b.x, b.y, b.z, state(other).c_str());
        throw Failure{};
    }
    for (unsigned i = first; i < last; ++i) fibers[i].at = At::work;
    return true;
}

static void enter(unsigned block) {
    if (block == entered) return;
    if (entered < blocks.size())
        memcpy(blocks[entered].shared.data(), shared.start, shared.size);
    memcpy(shared.start, blocks[block].shared.data(), shared.size);
    blockIdx = blocks[block].index;
    entered = block;
}

// Nobody can go on but threads that spin, and that brings nothing: they wait for what never comes.
[[noreturn]] static void hang(unsigned threads) {
    const Block* other = nullptr;  // one where nobody spins, if there is any
    const Fiber* one = nullptr;
    for (size_t i = blocks.size() * threads; i-- > 0;) {
        if (!blocks[i / threads].spins) other = &blocks[i / threads];
        if (fibers[i].at == At::spin) one = &fibers[i];
    }
    const dim3 t = one->thread, b = other ? other->index : dim3{};
    std::string rest = "so does every block";
    if (other) {
        char name[64];
        snprintf(name, sizeof name, "block (%u, %u, %u) ", b.x, b.y, b.z);
        rest = name + state(fibers[(other - blocks.data()) * threads]);
    }
    enter(unsigned((one - fibers.data()) / threads));
    complain("nobody can go on: thread (%u, %u, %u) %s for ever, %s", t.x, t.y, t.z,
             state(*one).c_str(), rest.c_str());
    throw Failure{};
}

// Lets threads that spin look again; false if there are none.
static bool look_again(unsigned threads) {
    bool any = false;
    for (size_t i = 0; i < blocks.size() * threads; ++i)
        if (fibers[i].at == At::spin) {
            fibers[i].at = At::work;
            any = true;
        }
    for (Block& block : blocks) block.spins = false;
    return any;
}

// Runs the lanes of a warp that can go on; true if any of them ended. The first of a block to spin
// stops its block, which goes on after all others: they may not rely on what is not yet written.
static bool run_warp(const Warp& warp, const std::vector<unsigned>& lanes) {
    Block& block = blocks[warp.block];
    const bool spun = block.spins;
    bool ended = false;
    for (unsigned lane : lanes) {
        if (warp.first + lane >= warp.last) continue;
        Fiber& fiber = fibers[warp.first + lane];
        if (fiber.at != At::work) continue;
        resume(fiber);
        ended |= fiber.at == At::end;
        block.spins |= fiber.at == At::spin;
        if (block.spins && !spun) break;
    }
    return ended;
}

static bool works(const Warp& warp) {
    for (unsigned i = warp.first; i < warp.last; ++i)
        if (fibers[i].at == At::work) return true;
    return false;
}

static void run_grid(unsigned threads) {
    auto path = turns(warps.size());
    const auto lanes = turns(WARP);
    bool behind = false;  // whether it is the turn of the blocks in which a thread spins
    unsigned idle = 0;    // turns of theirs since anybody did anything else
    for (size_t next = 0;;) {
        if (next == path.size()) {
            next = 0;
            behind = !behind;
            if (behind) continue;
            if (idle++ == SPINS) hang(threads);
            if (!look_again(threads)) return;
            path = turns(path.size());
            continue;
        }
        const Warp& warp = warps[path[next]];
        if (blocks[warp.block].spins != behind || !works(warp)) {
            ++next;
            continue;
        }
        enter(warp.block);
        do {
            if (run_warp(warp, lanes)) idle = 0;
        } while (meet(warp.first, warp.last, At::warp_barrier));
        const unsigned first = warp.block * threads;
        if (meet(first, first + threads, At::block_barrier)) {
            races_block_barrier(warp.block);
            idle = 0;
            next = 0;
            behind = false;
        }
    }
}

// NaN as a float and as a double, no truth value, and no index into anything: what memory holds
// that nobody has written.
constexpr unsigned POISON = 0xFFF5A5A5u;
static char poison(size_t i) { return char(POISON >> i % 4 * 8); }
static std::vector<char> poisoned;  // shared memory that nobody has written

// All shared memory that the kernels of this library have.
static Memory shared_memory() {
    static thread_local volatile char ours;
    ours = 0;  // a thread has no such memory before it first uses it
    Memory found;
    auto look = [](dl_phdr_info* info, size_t, void* result) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
            const Memory memory = {static_cast<char*>(info->dlpi_tls_data),
                                   info->dlpi_phdr[i].p_memsz};
            const size_t place = const_cast<char*>(&ours) - memory.start;
            if (info->dlpi_phdr[i].p_type == PT_TLS && memory.start && place < memory.size)
                *static_cast<Memory*>(result) = memory;
        }
        return 0;
    };
    dl_iterate_phdr(look, &found);
    return found;
}

// Makes the blocks, warps and fibers of a grid, none of which has done anything yet.
static void set_up(unsigned threads) {
    shared = shared_memory();
    if (poisoned.size() != shared.size) {
        poisoned.resize(shared.size);
        for (size_t i = 0; i < shared.size; ++i) poisoned[i] = poison(i);
    }
    blocks.resize(gridDim.x * gridDim.y * gridDim.z);
    entered = unsigned(blocks.size());
    warps.clear();
    while (fibers.size() < blocks.size() * threads) fibers.emplace_back();
    for (unsigned b = 0; b < blocks.size(); ++b) {
        blocks[b].index = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
        blocks[b].shared = poisoned;
        blocks[b].spins = false;
        for (unsigned i = 0; i < threads; ++i) {
            if (i % WARP == 0)
                warps.push_back({b, b * threads + i, b * threads + std::min(i + WARP, threads), {}});
            Fiber& fiber = fibers[b * threads + i];
            fiber.thread = {i % blockDim.x, i / blockDim.x % blockDim.y,
                            i / blockDim.x / blockDim.y};
            fiber.lane = i % WARP;
            fiber.warp = unsigned(warps.size()) - 1;
            fiber.exchanges = 0;
            fiber.at = At::work;
        }
    }
}

static void check_dynamic(Memory dynamic) {
    for (unsigned block = 0; dynamic.start && block < blocks.size(); ++block) {
        enter(block);
        const size_t beyond = dynamic.start - shared.start + dynamic.size;
        if (memcmp(shared.start + beyond, poisoned.data() + beyond, DYNAMIC - dynamic.size)) {
            complain("wrote beyond its %zu bytes of dynamic shared memory", dynamic.size);
            throw Failure{};
        }
    }
}

template <typename... P, size_t... I>
std::function<void()> with_arguments(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    return [=] { kernel(*static_cast<P*>(arguments[I])...); };
}

// Runs a kernel; returns null, or what went wrong. `dynamic` is the kernel's `extern` array, with
// the number of bytes of it that this launch asks for.
template <typename... P>
const char* launch(void (*kernel)(P...), const unsigned* grid, const unsigned* block,
                   Memory dynamic, unsigned in_order, void** arguments) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    if (threads == 0 || threads > 1024) return "a block has 1 to 1024 threads";
    if (gridDim.x * gridDim.y * gridDim.z > THREADS / threads) return "too many blocks for a CPU";
    if (dynamic.size > DYNAMIC) return "a block has at most 48 KB of dynamic shared memory";
    order = chance = in_order;
    *message = 0;
    body = with_arguments(kernel, arguments, std::index_sequence_for<P...>());
    set_up(threads);
    races_begin(unsigned(blocks.size()), threads, shared.start, shared.size);
    try {
        run_grid(threads);
        check_dynamic(dynamic);
    } catch (Failure) {
        for (Fiber& fiber : fibers) fiber.started = false;
        return message;
    }
    return races_end();
}

static void check(unsigned mask, Place place) {
    if (mask != ~0u) refuse(place, "leaves lanes out (mask %x), which is not supported", mask);
}

// A warp's lanes show each other a value each, and take that of another.
template <typename T> T exchange(unsigned mask, T value, unsigned source, Place place) {
    static_assert(sizeof(T) <= 16, "too large for a shuffle");
    check(mask, place);
    auto& boxes = warps[current->warp].boxes[current->exchanges++ % 2];
    memcpy(boxes[current->lane], &value, sizeof value);
    leave(At::warp_barrier, place);
    if (warps[current->warp].first + source >= warps[current->warp].last)
        refuse(place, "reads lane %u, which the block does not have,", source);
    memcpy(&value, boxes[source], sizeof value);
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
    return cpu::exchange(mask, value, (cpu::current->lane ^ unsigned(bits)) % cpu::WARP, place);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, cpu::Place place = cpu::Place::here()) {
    const unsigned lane = cpu::current->lane;
    return cpu::exchange(mask, value, lane + by < cpu::WARP ? lane + by : lane, place);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, cpu::Place place = cpu::Place::here()) {
    const unsigned lane = cpu::current->lane;
    return cpu::exchange(mask, value, lane >= by ? lane - by : lane, place);
}
static inline unsigned __ballot_sync(unsigned mask, bool predicate,
                                     cpu::Place place = cpu::Place::here()) {
    const cpu::Warp& warp = cpu::warps[cpu::current->warp];
    const auto& boxes = warp.boxes[cpu::current->exchanges % 2];
    cpu::exchange(mask, predicate, cpu::current->lane, place);
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < warp.last - warp.first; ++lane)
        ballot |= unsigned(boxes[lane][0]) << lane;
    return ballot;
}

template <typename T>
T atomicAdd(T* address, T value, cpu::Place place = cpu::Place::here()) {
    races_atomic(address, sizeof(T), place.file, place.line);
    const T before = *address;
    *address += value;
    races_after_atomic();
    return before;
}
