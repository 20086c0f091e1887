// Finds races between the blocks of a kernel that runs on the CPU, where one thread of the system
// runs all blocks and nothing is ever late. g++ calls the functions below, whose names are those of
// ThreadSanitizer's own, at every access of a kernel that is compiled with -fsanitize=thread;
// cuda_on_cpu.h calls the others at barriers, fences and atomics.
//
// Two accesses of two blocks, of which one writes, must be ordered: by a write, a fence and then an
// atomic or a volatile write; and, in the other block, an atomic or volatile access that sees it, a
// fence and then the access. Barriers of a block or of a warp order what their threads do. So each
// thread has clocks, which say what other threads did before; see "FastTrack" (Flanagan and Freund,
// 2009). Races inside a block are not looked for: orders of threads bring those out.

#include <stdint.h>
#include <stdio.h>

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

// What a thread has done so far: in the upper half the barriers of its block, in the lower one its
// own fences and barriers of its warp since then.
using Time = uint64_t;

unsigned threads_of_block = 1;

struct Clock {
    std::vector<Time> blocks;  // all threads of a block: what they did before this time
    std::vector<std::pair<unsigned, Time>> threads;  // single ones, sorted: up to this time

    bool covers(unsigned thread, Time time) const {
        if (time < blocks[thread / threads_of_block]) return true;
        const auto found = std::lower_bound(threads.begin(), threads.end(),
                                            std::make_pair(thread, Time(0)));
        return found != threads.end() && found->first == thread && time <= found->second;
    }

    void add(const Clock& other) {
        for (size_t b = 0; b < blocks.size(); ++b)
            blocks[b] = std::max(blocks[b], other.blocks[b]);
        std::vector<std::pair<unsigned, Time>> both;
        auto a = threads.cbegin(), b = other.threads.cbegin();
        while (a != threads.cend() || b != other.threads.cend()) {
            const bool mine = b == other.threads.cend() ||
                              (a != threads.cend() && a->first <= b->first);
            auto one = mine ? *a : *b;
            if (mine && b != other.threads.cend() && b->first == one.first)
                one.second = std::max(one.second, (b++)->second);
            mine ? ++a : ++b;
            if (one.second >= blocks[one.first / threads_of_block]) both.push_back(one);
        }
        threads.swap(both);
    }

    void add(unsigned thread, Time time) {
        add({std::vector<Time>(blocks.size()), {{thread, time}}});
    }
};

struct Knowledge {
    Clock ordered;  // what came before, for good
    Clock fenced;   // what was before a fence that came before: whoever sees us next may know it
    Clock seen;     // what was so for those whom we saw: ours after the next fence

    void add(const Knowledge& other) {
        ordered.add(other.ordered);
        fenced.add(other.fenced);
        seen.add(other.seen);
    }
};

struct Place {
    const void* code;  // or else a line
    const char* file;
    int line;
};

struct Access {
    unsigned thread;
    Time time;
    uint8_t bytes;  // of the eight, a bit each
    bool write, strong;  // strong: atomic or volatile
    Place place;
};

constexpr uintptr_t PAGE = 4096;
using Cell = std::vector<Access>;  // of eight bytes: what the next access may collide with
using Page = std::vector<Cell>;

struct Launch {
    unsigned blocks, threads;  // threads of a block
    uintptr_t shared, shared_size;
    std::vector<Knowledge> common;  // of a block's threads since its last barrier
    std::vector<std::unique_ptr<Knowledge>> own;  // of a thread that has learnt more since then
    std::vector<Time> time;  // of each thread
    std::vector<Knowledge> met;  // two for each warp, which take turns: what its lanes know
    std::vector<bool> turn;  // of each thread: which of the two is next
    std::unordered_map<uintptr_t, Clock> published;  // by a strong write to this address
    std::unordered_map<uintptr_t, Page> pages;
    uintptr_t last_page = 0;
    Page* page = nullptr;
    char message[400];

    bool running = false;
    unsigned thread = 0;
    uintptr_t stack = 0, stack_size = 0;

    Knowledge nothing() const {
        const Clock none{std::vector<Time>(blocks), {}};
        return {none, none, none};
    }

    Knowledge& mine() {
        auto& knowledge = own[thread];
        if (!knowledge) knowledge.reset(new Knowledge(common[thread / threads]));
        return *knowledge;
    }

    const Knowledge& known() const { return own[thread] ? *own[thread] : common[thread / threads]; }

    Cell& cell(uintptr_t address) {
        if (!page || address / PAGE != last_page) {
            last_page = address / PAGE;
            page = &pages[last_page];
            page->resize(PAGE / 8);
        }
        return (*page)[address % PAGE / 8];
    }

    static void describe(char* text, size_t size, Place place) {
        if (place.file) {
            snprintf(text, size, "%s:%d", place.file, place.line);
        } else {
            snprintf(text, size, "<code %p>", place.code);
        }
    }

    void complain(const Access& now, const Access& before, uintptr_t address) {
        if (*message) return;
        char here[100], there[100];
        describe(here, sizeof here, now.place);
        describe(there, sizeof there, before.place);
        snprintf(message, sizeof message,
                 "a race between blocks: thread %u of block %u %s <address %p> at %s, what thread "
                 "%u of block %u %s at %s, and nothing orders the two",
                 now.thread % threads, now.thread / threads, now.write ? "writes" : "reads",
                 reinterpret_cast<void*>(address), here, before.thread % threads,
                 before.thread / threads, before.write ? "writes" : "reads", there);
    }

    // What the access to some bytes of a cell collides with, and what the next one may.
    void access_cell(uintptr_t address, Access now) {
        Cell& cell = this->cell(address);
        const unsigned block = now.thread / threads;
        for (const Access& e : cell)
            if (e.thread == now.thread && e.time == now.time && e.bytes == now.bytes &&
                e.write == now.write && e.strong == now.strong && (!now.write || cell.size() == 1))
                return;
        const Clock& ordered = known().ordered;
        size_t kept = 0;
        for (size_t i = 0; i < cell.size(); ++i) {
            const Access e = cell[i];
            const bool ours = e.thread / threads == block;
            if ((e.bytes & now.bytes) && (e.write || now.write) && !(e.strong && now.strong) &&
                !ours && !ordered.covers(e.thread, e.time))
                complain(now, e, address);
            // Whoever comes after us comes after what was ordered before us; and all strong
            // writes of one place have an order.
            const bool replaced = now.write || (ours && !e.write && e.strong == now.strong);
            if (!replaced || (e.bytes & ~now.bytes)) cell[kept++] = e;
        }
        cell.resize(kept);
        cell.push_back(now);
    }

    void access(uintptr_t address, size_t size, bool write, bool strong, Place place) {
        if (address - stack < stack_size || address - shared < shared_size) return;
        for (uintptr_t at = address; at < address + size;) {
            const uintptr_t stop = std::min(address + size, (at & ~uintptr_t(7)) + 8);
            const uint8_t bytes = uint8_t(((1u << (stop - at)) - 1) << at % 8);
            access_cell(at, {thread, time[thread], bytes, write, strong, place});
            at = stop;
        }
    }

    void strong(uintptr_t address, size_t size, bool reads, bool writes, Place place) {
        if (address - stack < stack_size || address - shared < shared_size) return;
        access(address, size, writes, true, place);
        const auto found = published.find(address);
        if (reads && found != published.end()) mine().seen.add(found->second);
        if (!writes) return;
        if (found == published.end()) {
            published.emplace(address, known().fenced);
        } else if (reads) {  // atomics hand on what those before them have published
            found->second.add(known().fenced);
        } else {
            found->second = known().fenced;
        }
    }
};

thread_local std::unique_ptr<Launch> launch;

template <bool write, bool volatile_> void on_access(void* address, size_t size, void* code) {
    if (!launch || !launch->running) return;
    const Place place{static_cast<char*>(code) - 1, nullptr, 0};
    const uintptr_t at = reinterpret_cast<uintptr_t>(address);
    if (volatile_) {
        launch->strong(at, size, !write, write, place);
    } else {
        launch->access(at, size, write, false, place);
    }
}

}  // namespace

extern "C" {

void races_begin(unsigned blocks, unsigned threads, const void* shared, size_t shared_size) {
    launch.reset(new Launch{blocks, threads, reinterpret_cast<uintptr_t>(shared), shared_size});
    threads_of_block = threads;
    launch->common.assign(blocks, launch->nothing());
    launch->own.resize(blocks * threads);
    launch->time.resize(blocks * threads);
    launch->met.assign(2 * blocks * ((threads + 31) / 32), launch->nothing());
    launch->turn.resize(blocks * threads);
}

// What was found, or null; until the next launch.
const char* races_end() {
    launch->pages.clear();
    launch->page = nullptr;
    return *launch->message ? launch->message : nullptr;
}

void races_resume(unsigned thread, const void* stack, size_t size) {
    launch->thread = thread;
    launch->stack = reinterpret_cast<uintptr_t>(stack);
    launch->stack_size = size;
    launch->running = true;
}

void races_pause() { launch->running = false; }

void races_fence() {
    Knowledge& mine = launch->mine();
    mine.ordered.add(mine.seen);
    mine.fenced.add(mine.ordered);
    mine.fenced.add(launch->thread, launch->time[launch->thread]++);
}

// All threads of a block have met.
void races_block_barrier(unsigned block) {
    const unsigned first = block * launch->threads, stop = first + launch->threads;
    Knowledge& common = launch->common[block];
    for (unsigned thread = first; thread < stop; ++thread)
        if (auto& own = launch->own[thread]) {
            common.add(*own);
            own.reset();
        }
    const Time time = ((launch->time[first] >> 32) + 1) << 32;
    std::fill(&launch->time[first], &launch->time[first] + launch->threads, time);
    common.ordered.blocks[block] = time;
}

// A lane comes to a barrier of its warp, and goes on when all have come.
void races_warp_arrives() {
    const unsigned thread = launch->thread, block = thread / launch->threads;
    const unsigned warp = block * ((launch->threads + 31) / 32) + thread % launch->threads / 32;
    launch->mine().ordered.add(thread, launch->time[thread]++);
    launch->met[2 * warp + launch->turn[thread]].add(launch->mine());
}

void races_warp_leaves() {
    const unsigned thread = launch->thread, block = thread / launch->threads;
    const unsigned warp = block * ((launch->threads + 31) / 32) + thread % launch->threads / 32;
    launch->mine().add(launch->met[2 * warp + launch->turn[thread]]);
    launch->turn[thread] = !launch->turn[thread];
}

// An atomic operation; what it does in memory, until races_after_atomic, is not looked at.
void races_atomic(const void* address, size_t size, const char* file, int line) {
    launch->strong(reinterpret_cast<uintptr_t>(address), size, true, true, {nullptr, file, line});
    launch->running = false;
}

void races_after_atomic() { launch->running = true; }

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

#define ACCESS(name, size)                                                        \
    void __tsan_read##name(void* address) {                                       \
        on_access<false, false>(address, size, __builtin_return_address(0));      \
    }                                                                             \
    void __tsan_write##name(void* address) {                                      \
        on_access<true, false>(address, size, __builtin_return_address(0));       \
    }                                                                             \
    void __tsan_volatile_read##name(void* address) {                              \
        on_access<false, true>(address, size, __builtin_return_address(0));       \
    }                                                                             \
    void __tsan_volatile_write##name(void* address) {                             \
        on_access<true, true>(address, size, __builtin_return_address(0));        \
    }                                                                             \
    void __tsan_unaligned_read##name(void* address) {                             \
        on_access<false, false>(address, size, __builtin_return_address(0));      \
    }                                                                             \
    void __tsan_unaligned_write##name(void* address) {                            \
        on_access<true, false>(address, size, __builtin_return_address(0));       \
    }
ACCESS(1, 1)
ACCESS(2, 2)
ACCESS(4, 4)
ACCESS(8, 8)
ACCESS(16, 16)

void __tsan_read_range(void* address, size_t size) {
    on_access<false, false>(address, size, __builtin_return_address(0));
}
void __tsan_write_range(void* address, size_t size) {
    on_access<true, false>(address, size, __builtin_return_address(0));
}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

}  // extern "C"
