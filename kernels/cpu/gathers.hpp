// The rows of the next batch: gathered in the order of a pass, and converted.
#pragma once
#include "../formulas/control.cuh"
#include "operation.hpp"
#include "order.hpp"
#include "pieces.hpp"
#include "vectors.hpp"

#include <algorithm>
#include <cstring>

namespace {

constexpr int64 LINE = 64;  // size of a cache line in bytes
constexpr int64 AHEAD = 4;  // rows that are prefetched before they are needed
constexpr int64 PREFETCHED = 4096;  // bytes of these

// Elements of a batch up to which a plain loop is fastest.
constexpr int64 FEW = 32;

// Elements of a batch from which threads share its columns, as they share the product with it, or its
// rows, if these are short.
constexpr int64 BATCH_WORTH_THREADS = 1 << 14, ROWS_WORTH_THREADS = 1 << 11;

// The rows at `position` and the following places of a pass, asked for in ascending order.
struct Rows {
    uint32 position, total;
    bool shuffled;
    uint64 seed, pass;
    const uint32* known = nullptr;
    int64 first = 0, end = 0;  // of the places from `position` on, which are known

    int64 operator()(int64 i) {
        if (!shuffled) return position + i;
        if (i >= end) {
            const SomeOfOrder& some = some_of_order(uint32(position + i), total, seed, pass);
            first = int64(some.first) - position;
            end = first + some.count;
            known = some.row_at;
        }
        return known[i - first];
    }
};

// out[i] = source[i-th row] scale + offset, for the columns from begin to end of all rows.
template <typename Source, typename Out>
void gather_columns(const Source* source, Rows row_of, int64 begin, int64 end, int64 rows,
                    int64 width, Out scale, Out offset, Out* out) {
    const int64 lead = rows < AHEAD ? rows : AHEAD;
    const std::size_t bytes = std::size_t(end - begin) * sizeof(Source);
    const bool plain = scale == Out(1) && offset == Out(0);
    const Source* ahead[AHEAD];
    for (int64 i = 0; i < rows + lead; ++i) {
        const Source* from = i < lead ? nullptr : ahead[(i - lead) % AHEAD];
        if (i < rows) {
            const Source* row = source + row_of(i) * width + begin;
            if (row_of.shuffled && int64(bytes) > LINE)
                for (int64 at = 0; at < std::min(int64(bytes), PREFETCHED); at += LINE)
                    PREFETCH(reinterpret_cast<const char*>(row) + at);
            ahead[i % AHEAD] = row;
        }
        if (i < lead) continue;
        Out* row = out + (i - lead) * width + begin;
        if constexpr (std::is_same_v<Source, Out>) {
            if (plain) {
                std::memcpy(row, from, bytes);
                continue;
            }
        }
        for (int64 c = 0; c < end - begin; ++c)
            row[c] = Converted<Out>::of(from[c]) * scale + offset;
    }
}

template <typename Source, typename Out>
void few_rows(const Source* source, Rows row_of, int64 rows, int64 width, Out scale, Out offset,
              Out* out) {
    const bool plain = std::is_same_v<Source, Out> && scale == Out(1) && offset == Out(0);
    for (int64 i = 0; i < rows; ++i) {
        const Source* from = source + row_of(i) * width;
        for (int64 c = 0; c < width; ++c) {
            const Out x = Converted<Out>::of(*from++);
            *out++ = plain ? x : x * scale + offset;
        }
    }
}

// out[i] = source[row at index position + first + i of the pass] scale + offset, converted to type
// Out. A row has `width` elements. Shuffled rows lie anywhere in memory: while one is copied, the
// following ones are prefetched.
template <typename Source, typename Out>
void gather(const Source* source, uint32 total, int64 width, uint64 seed, bool shuffled,
            const int64* counters, int64 first, int64 rows, double factor, double shift, Out* out) {
    const uint64 pass = uint64(counters[PASS]);
    const int64 position = counters[POSITION] + first;
    if (position < 0 || position >= int64(total)) return;  // there is no such row
    if (total - position < rows) rows = total - position;
    const Rows row_of{uint32(position), total, shuffled, seed, pass};
    if (rows * width <= FEW) {
        few_rows(source, row_of, rows, width, Out(factor), Out(shift), out);
        return;
    }
    if (width < DEPTH && rows >= ROWS_WORTH_THREADS) {
        constexpr int64 some = SomeOfOrder::PLACES;
        parallel((rows + some - 1) / some, [&](int64 k) {
            Rows here = row_of;
            here.position += uint32(k * some);
            gather_columns(source, here, 0, width, std::min(some, rows - k * some), width,
                           Out(factor), Out(shift), out + k * some * width);
        });
        return;
    }
    const bool alone = threads() == 1 || rows * width < BATCH_WORTH_THREADS;
    const int64 some = alone ? width : block_of(width, DEPTH, 8);
    if (some == 0) return;
    parallel((width + some - 1) / some, [&](int64 k) {
        const int64 begin = k * some, end = width - begin < some ? width : begin + some;
        gather_columns(source, row_of, begin, end, rows, width, Out(factor), Out(shift), out);
    });
}

template <typename Source> void add_gather(const char* source) {
    add<&gather<Source, float>>("gather", {source, "float32"});
#ifndef FOR_BROWSERS
    add<&gather<Source, double>>("gather", {source, "float64"});
#endif
    add<&gather<Source, int32>>("gather", {source, "int32"});
}

}  // namespace
