// Runs the threads of a kernel as fibers, see cuda_on_cpu.h.

#include "cuda_on_cpu.h"

#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#pragma GCC visibility push(hidden)

dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace cpu {

constexpr size_t STACK = 64 * 1024;
constexpr unsigned THREADS = 16 * 1024;  // in a grid: each has a stack
constexpr unsigned SPINS = 1000;  // turns that bring nothing but spinning, until the launch hangs

// What threads run on, one after another: the next has what is still in the cache.
struct Stack {
    std::unique_ptr<char[]> memory{new char[STACK]};
    bool started = false;
    jmp_buf context;  // where its thread goes on, or the next one begins
};

struct Fiber {
    Stack* stack = nullptr;  // from its first turn to its end
    dim3 thread;
    unsigned lane, warp;
    unsigned exchanges;  // warp operations so far: alternates between two boxes
    At at;
    Place place;  // of the barrier that it waits at, or where it spins
};

struct Warp {
    unsigned block, first, last;  // its fibers
    Box boxes[2][WARP];
};

struct Block {
    dim3 index;
    std::vector<char> shared;  // what its shared memory holds while another block runs
    bool spins = false;  // whether one of its threads does
};

static std::vector<Fiber> fibers;
static std::vector<std::unique_ptr<Stack>> stacks;
static std::vector<Stack*> idle;  // the last is the next to be taken
static std::vector<Warp> warps;
static std::vector<Block> blocks;
static Memory shared;
static unsigned entered;  // the block that runs
static Fiber* current = nullptr;
static jmp_buf scheduler;
static Body body;

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

static void tell_who_runs() {
    races_resume(unsigned(current - fibers.data()), current->stack->memory.get(), STACK);
}

// Stacks stay alive from launch to launch: only the first start of each makes a context, after
// that two jumps are all a switch takes.
void leave(At at, Place place) {
    races_pause();
    current->at = at;
    current->place = place;
    if (!_setjmp(current->stack->context)) _longjmp(scheduler, 1);
    tell_who_runs();
}

static void fiber_main() {
    for (;;) {
        tell_who_runs();
        body.call(body.kernel, body.arguments);
        leave(At::end, {});
    }
}

static Stack* idle_stack() {
    if (idle.empty()) {
        stacks.emplace_back(new Stack);
        return stacks.back().get();
    }
    Stack* stack = idle.back();
    idle.pop_back();
    return stack;
}

// After a failure: whatever a thread was at, it does not go on.
static void start_anew() {
    idle.clear();
    for (const auto& stack : stacks) {
        stack->started = false;
        idle.push_back(stack.get());
    }
    for (Fiber& fiber : fibers) fiber.stack = nullptr;
}

static void resume(Fiber& fiber) {
    current = &fiber;
    threadIdx = fiber.thread;
    if (!fiber.stack) fiber.stack = idle_stack();
    if (!_setjmp(scheduler)) {
        if (fiber.stack->started) _longjmp(fiber.stack->context, 1);
        fiber.stack->started = true;
        static ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = fiber.stack->memory.get();
        context.uc_stack.ss_size = STACK;
        makecontext(&context, fiber_main, 0);
        setcontext(&context);
    }
    if (*message) throw Failure{};
    if (fiber.at == At::end) idle.push_back(std::exchange(fiber.stack, nullptr));
}

// Called in a fiber, which never comes back from here.
void refuse(Place place, const char* what, ...) {
    char text[200];
    va_list values;
    va_start(values, what);
    vsnprintf(text, sizeof text, what, values);
    va_end(values);
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
    static size_t before, size;  // the bytes before it and in all, as in every thread
    if (size) return {const_cast<char*>(&ours) - before, size};
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
    before = const_cast<char*>(&ours) - found.start;
    size = found.size;
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

const char* run(Body of_all, const unsigned* grid, const unsigned* block, Memory dynamic,
                unsigned in_order) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    if (threads == 0 || threads > 1024) return "a block has 1 to 1024 threads";
    if (gridDim.x * gridDim.y * gridDim.z > THREADS / threads) return "too many blocks for a CPU";
    if (dynamic.size > DYNAMIC) return "a block has at most 48 KB of dynamic shared memory";
    order = chance = in_order;
    *message = 0;
    body = of_all;
    set_up(threads);
    races_begin(unsigned(blocks.size()), threads, shared.start, shared.size);
    try {
        run_grid(threads);
        check_dynamic(dynamic);
    } catch (Failure) {
        start_anew();
        return message;
    }
    return races_end();
}

unsigned lane() { return current->lane; }

void exchange(Box& box, unsigned source, Place place) {
    const Warp& warp = warps[current->warp];
    auto& boxes = warps[current->warp].boxes[current->exchanges++ % 2];
    boxes[current->lane] = box;
    leave(At::warp_barrier, place);
    if (warp.first + source >= warp.last)
        refuse(place, "reads lane %u, which the block does not have,", source);
    box = boxes[source];
}

unsigned ballot(bool predicate, Place place) {
    const Warp& warp = warps[current->warp];
    const auto& boxes = warp.boxes[current->exchanges % 2];
    Box box{{char(predicate)}};
    exchange(box, current->lane, place);
    unsigned result = 0;
    for (unsigned lane = 0; lane < warp.last - warp.first; ++lane)
        result |= unsigned(boxes[lane].bytes[0]) << lane;
    return result;
}

}  // namespace cpu

#pragma GCC visibility pop
