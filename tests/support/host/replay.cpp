// Performs calls that recorded_calls.py has written, and compares what they write, bit by bit but for
// NaN: compilers and CPUs are free to choose any. Prints the operations that differ.
#include "../../../kernels/cpu/operation.hpp"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
static FILE* in;
static uint64 number() { uint64 x; if (fread(&x, 8, 1, in) != 1) { x = ~0ull; } return x; }
static bool same(Type type, const char* a, const char* b, uint64 bytes) {
    if (!memcmp(a, b, bytes)) return true;
    auto each = [&](auto zero) {
        typedef decltype(zero) T;
        for (uint64 i = 0; i < bytes / sizeof(T); ++i) {
            T x, y; memcpy(&x, a + i * sizeof(T), sizeof(T)); memcpy(&y, b + i * sizeof(T), sizeof(T));
            if (memcmp(&x, &y, sizeof(T)) && (x == x || y == y)) return false;
        }
        return true;
    };
    return type == Type::float32 ? each(float()) : type == Type::float64 ? each(double()) : false;
}
int main(int, char** arguments) {
    in = fopen(arguments[1], "rb");
    std::map<std::string, const Operation*> known;
    for (const Operation& o : operations()) { std::string s = o.name; for (auto& c : o.choices) s += " " + c; known[s] = &o; }
    std::map<std::string, int> good, bad;
    for (uint64 buffers; (buffers = number()) != ~0ull;) {
        std::vector<char*> memory, after;
        for (uint64 b = 0; b < buffers; ++b) {
            const uint64 bytes = number(), offset = number();
            char* m = static_cast<char*>(aligned_alloc(64, (bytes + offset + 191) / 64 * 64)) + offset;
            char* e = static_cast<char*>(malloc(bytes + 1));
            if (fread(m, 1, bytes, in) + fread(e, 1, bytes, in) != 2 * bytes) return 2;
            memory.push_back(m); after.push_back(e);
        }
        struct Check { Type type; uint64 buffer, offset, bytes; };
        std::vector<Check> checks; std::string names;
        const uint64 steps = number(), calls = number();
        struct Call { const Operation* o; Word w[MOST_ARGUMENTS]; AnyArray listed[MOST_LISTED]; };
        std::vector<Call*> all;
        for (uint64 c = 0; c < calls; ++c) {
            char text[400] = {}; const uint64 n = number(); if (fread(text, 1, n, in) != n) return 2;
            if (!known.count(text)) { printf("unknown %s\n", text); return 3; }
            Call* call = new Call; call->o = known[text]; all.push_back(call); names += std::string(names.empty() ? "" : " | ") + text;
            const uint64 words = number(); uint64 listed = 0;
            for (uint64 i = 0; i < words; ++i) {
                const uint64 kind = number(); Word& w = call->w[i];
                const Parameter p = i < call->o->parameters.size() ? call->o->parameters[i] : Parameter();
                if (kind == 0) w.array = nullptr;
                if (kind == 1) { const uint64 b = number(), o = number(), s = number(); w.array = memory[b] + o; checks.push_back({p.type, b, o, s}); }
                if (kind == 2) { const uint64 whole = number(), real = number(); if (p.kind == Parameter::number) memcpy(&w.number, &real, 8); else w.integer = int64(whole); }
                if (kind == 3) { const uint64 count = number(); w.array = call->listed + listed;
                    for (uint64 k = 0; k < count; ++k) { const uint64 b = number(), o = number(), t = number(), size = number(), s = number();
                        call->listed[listed++] = {memory[b] + o, Type(t), int64(size)}; checks.push_back({Type(t), b, o, s}); } }
            }
        }
        for (uint64 s = 0; s < steps; ++s) for (Call* c : all) c->o->perform(c->w);
        bool fine = true;
        for (auto& c : checks) fine &= same(c.type, memory[c.buffer] + c.offset, after[c.buffer] + c.offset, c.bytes);
        ++(fine ? good : bad)[names];
    }
    uint64 right = 0; for (auto& g : good) right += g.second;
    for (auto& b : bad) printf("differs %d of %d: %.300s\n", b.second, b.second + good[b.first], b.first.c_str());
    printf("same: %llu\n", right);
}
