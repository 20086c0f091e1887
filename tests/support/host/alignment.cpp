// What g++ has called with -fsanitize=alignment, in place of its library: a kernel that reads or
// writes several elements at once where their address does not allow it is refused.
#include "cuda_on_cpu.h"

#include <stdint.h>

#pragma GCC visibility push(hidden)

struct Description {  // as g++ makes it
    const char* file;
    uint32_t line, column;
    const void* type;
    unsigned char log_alignment, kind;
};

extern "C" void __ubsan_handle_type_mismatch_v1(const Description* at, uintptr_t address) {
    cpu::refuse({at->file, int(at->line)}, "takes an address %u bytes beyond a multiple of %u as one",
                unsigned(address % (1u << at->log_alignment)), 1u << at->log_alignment);
}

#pragma GCC visibility pop
