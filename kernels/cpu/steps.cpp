// The beginning and the end of a step: the rows of the next batch, and the counters advanced.
#include "../formulas/control.cuh"
#include "../formulas/random.cuh"
#include "operation.hpp"
#include "order.hpp"
#include "pieces.hpp"
#include "vectors.hpp"

#include <cstring>

namespace {

constexpr int64 LINE = 64;  // size of a cache line in bytes
constexpr int64 AHEAD = 4;  // rows that are prefetched before they are needed

// Elements of a batch up to which a plain loop is fastest.
constexpr int64 FEW = 32;

// Elements of a batch from which threads share its columns, as they share the product with it.
constexpr int64 BATCH_WORTH_THREADS = 1 << 14;

// The order of a pass, for some of its places at a time: most steps need only a few.
struct SomeOfOrder {
    static constexpr uint32 PLACES = 32;
    uint32 first, rows;
    uint64 seed, pass;
    uint32 row_at[PLACES];

    uint32 row(uint32 place) const { return row_at[place - first]; }
    bool has(uint32 place, uint32 of_rows, uint64 of_seed, uint64 of_pass) const {
        return place - first < PLACES && rows == of_rows && seed == of_seed && pass == of_pass;
    }

    // As `order_row` for each place, in vectors.
    void compute(uint32 place, uint32 of_rows, uint64 of_seed, uint64 of_pass) {
        *this = {place, of_rows, of_seed, of_pass, {}};
        const OrderKeys keys(seed, pass);
        const int bits = order_bits(rows);
        for (uint32 i = 0; i < PLACES; ++i)  // beyond the last place: any, computed for nothing
            row_at[i] = order_mixed(place + i < rows ? place + i : place, bits, keys);
        for (uint32 outside = 1; outside;) {
            outside = 0;
            for (uint32 i = 0; i < PLACES; ++i) {
                const uint32 x = row_at[i], next = order_mixed(x, bits, keys);
                outside |= uint32(x >= rows);
                row_at[i] = x >= rows ? next : x;
            }
        }
    }
};

}  // namespace

uint32 row_in_order(uint32 place, uint32 rows, uint64 seed, uint64 pass) {
    thread_local SomeOfOrder order{};
    SomeOfOrder& some = order;
    if (!some.has(place, rows, seed, pass)) some.compute(place, rows, seed, pass);
    return some.row(place);
}

namespace {

// out[i] = source[i-th row] scale + offset, for the columns from begin to end of all rows.
template <typename Source, typename Out, typename RowOf>
void gather_columns(const Source* source, RowOf row_of, bool shuffled, int64 begin, int64 end,
                    int64 rows, int64 width, Out scale, Out offset, Out* out) {
    const int64 lead = rows < AHEAD ? rows : AHEAD;
    const std::size_t bytes = std::size_t(end - begin) * sizeof(Source);
    const bool plain = scale == Out(1) && offset == Out(0);
    const Source* ahead[AHEAD];
    for (int64 i = 0; i < rows + lead; ++i) {
        const Source* from = i < lead ? nullptr : ahead[(i - lead) % AHEAD];
        if (i < rows) {
            const Source* row = source + row_of(i) * width + begin;
            if (shuffled && int64(bytes) > LINE)
                for (int64 at = 0; at < int64(bytes); at += LINE)
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

template <typename Source, typename Out, typename RowOf>
void few_rows(const Source* source, RowOf row_of, int64 rows, int64 width, Out scale, Out offset,
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
    const auto row_of = [=](int64 i) -> int64 {
        const uint32 place = uint32(position + i);
        return shuffled ? row_in_order(place, total, seed, pass) : place;
    };
    if (rows * width <= FEW) {
        few_rows(source, row_of, rows, width, Out(factor), Out(shift), out);
        return;
    }
    const bool alone = threads() == 1 || rows * width < BATCH_WORTH_THREADS;
    const int64 some = alone ? width : block_of(width, DEPTH, 8);
    if (some == 0) return;
    parallel((width + some - 1) / some, [&](int64 k) {
        const int64 begin = k * some, end = width - begin < some ? width : begin + some;
        gather_columns(source, row_of, shuffled, begin, end, rows, width, Out(factor), Out(shift),
                       out);
    });
}

// One more update and batch, and `rows` more of the order. The first batch after which the loss so
// far, totals[0], is not finite is marked.
void advance(int64* counters, int64 rows, const double* totals) {
    if (counters[BAD_BATCH] < 0 && !math::is_finite(totals[0]))
        counters[BAD_BATCH] = counters[BATCHES];
    counters[UPDATES] += 1;
    counters[BATCHES] += 1;
    counters[POSITION] += rows;
}

template <typename Source> void add_gather(const char* source) {
    add<&gather<Source, float>>("gather", {source, "float32"});
#ifndef FOR_BROWSERS
    add<&gather<Source, double>>("gather", {source, "float64"});
#endif
    add<&gather<Source, int32>>("gather", {source, "int32"});
}

const Registration registration([] {
    EACH_SOURCE(add_gather)
    add<&advance>("advance");
});

}  // namespace
