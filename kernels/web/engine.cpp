// The operations of ../cpu for a browser, called from JavaScript. A program is a list of calls,
// each with an operation and the address of its arguments in the shared memory.
#include "../cpu/operation.hpp"
#include "../cpu/pool.hpp"

#include <cstdlib>

#define EXPORT(name) extern "C" __attribute__((export_name(#name))) auto name

// A call, as pages write it: 8 bytes.
struct Call {
    uint32 operation;
    const Word* arguments;
};

// One thread, so that pages need no special server settings.
int threads() { return 1; }
void set_threads(int) {}
void share_pieces(int64 pieces, PieceOfWork run, void* work) {
    for (int64 piece = 0; piece < pieces; ++piece) run(work, piece);
}

// The work arrays of the single thread are never freed.
extern "C" int __cxa_thread_atexit(void (*)(void*), void*, void*) noexcept { return 0; }

EXPORT(operation_count)() -> uint32 { return uint32(operations().size()); }

// "name choice choice: kinds", a letter for each parameter: array, list of arrays, integer, number
// or boolean. It is valid until the next call.
EXPORT(operation_text)(uint32 i) -> const char* {
    static std::string text;
    const Operation& operation = operations()[i];
    text = operation.name;
    for (const std::string& choice : operation.choices) text += " " + choice;
    text += ": ";
    for (const Parameter& parameter : operation.parameters) text += "alinb"[parameter.kind];
    return text.c_str();
}

// Zero-initialized memory, aligned to 64 bytes; null if there is none.
EXPORT(allocate)(uint32 bytes) -> void* {
    const std::size_t whole = (std::size_t(bytes) + 63) / 64 * 64;
    void* memory = whole < bytes ? nullptr : std::aligned_alloc(64, whole ? whole : 64);
    if (memory) __builtin_memset(memory, 0, whole);
    return memory;
}

EXPORT(release)(void* memory) -> void { std::free(memory); }

// Performs all calls in order, `steps` times.
EXPORT(run)(const Call* calls, uint32 count, uint32 steps) -> void {
    for (uint32 step = 0; step < steps; ++step)
        for (uint32 k = 0; k < count; ++k)
            operations()[calls[k].operation].perform(calls[k].arguments);
}
