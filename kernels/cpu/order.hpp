// The shuffled order of rows, as in `order_row`. Each thread has some of it computed beforehand.
#pragma once
#include "../formulas/random.cuh"
#include "operation.hpp"

#include <cstring>

// The order of a pass, for some of its places at a time. Most steps need only a few, and need them
// for each array that they gather.
struct SomeOfOrder {
    static constexpr uint32 PLACES = 1024, TOGETHER = 32;
    uint32 first, count, rows;
    uint64 seed, pass;
    uint32 row_at[PLACES];

    bool has(uint32 place, uint32 of_rows, uint64 of_seed, uint64 of_pass) const {
        return place - first < count && rows == of_rows && seed == of_seed && pass == of_pass;
    }

    ONCE void compute(uint32 place, uint32 of_rows, uint64 of_seed, uint64 of_pass) {
        first = place;
        count = of_rows - place < PLACES ? of_rows - place : PLACES;
        rows = of_rows;
        seed = of_seed;
        pass = of_pass;
        const OrderKeys keys(seed, pass);
        for (uint32 i = 0; i < count; i += TOGETHER) compute(place + i, rows, keys, row_at + i);
    }

    // As `order_row` for each place from `place` on, in vectors.
    static void compute(uint32 place, uint32 rows, const OrderKeys keys, uint32* row_at) {
        const int bits = order_bits(rows);
        uint32 some[TOGETHER];
        for (uint32 i = 0; i < TOGETHER; ++i)  // beyond the last place: any, computed for nothing
            some[i] = order_mixed(place + i < rows ? place + i : place, bits, keys);
        for (uint32 outside = 1; outside;) {
            outside = 0;
            for (uint32 i = 0; i < TOGETHER; ++i) {
                const uint32 x = some[i], next = order_mixed(x, bits, keys);
                outside |= uint32(x >= rows);
                some[i] = x >= rows ? next : x;
            }
        }
        std::memcpy(row_at, some, sizeof some);
    }
};

// Some of the order of a pass: this place, and some that follow.
const SomeOfOrder& some_of_order(uint32 place, uint32 rows, uint64 seed, uint64 pass);

// The row at index `place` (below `rows`) of a pass.
uint32 row_in_order(uint32 place, uint32 rows, uint64 seed, uint64 pass);
