// The shuffled order of rows, as in `order_row`. Each thread has some of it computed beforehand.
#pragma once
#include "../formulas/random.cuh"
#include "operation.hpp"

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
        const int bits = order_bits(rows);
        for (uint32 i = 0; i < count; i += TOGETHER)  // beyond the last place: for nothing
            for (uint32 k = 0; k < TOGETHER; ++k)
                row_at[i + k] = order_mixed(place + i + k, bits, keys);
        // As `order_row` does, the network goes on where there is no such row: there alone.
        uint32 at[PLACES], left = 0;
        for (uint32 i = 0; i < count; ++i) {
            at[left] = i;
            left += row_at[i] >= rows;
        }
        while (left) {
            uint32 again = 0;
            for (uint32 start = 0; start < left; start += TOGETHER) {
                const uint32 some = left - start < TOGETHER ? left - start : TOGETHER;
                uint32 x[TOGETHER] = {};
                for (uint32 k = 0; k < some; ++k) x[k] = row_at[at[start + k]];
                for (uint32 k = 0; k < TOGETHER; ++k) x[k] = order_mixed(x[k], bits, keys);
                for (uint32 k = 0; k < some; ++k) {
                    const uint32 i = at[start + k];
                    row_at[i] = x[k];
                    at[again] = i;
                    again += x[k] >= rows;
                }
            }
            left = again;
        }
    }
};

// Some of the order of a pass: this place, and some that follow.
const SomeOfOrder& some_of_order(uint32 place, uint32 rows, uint64 seed, uint64 pass);

// The row at index `place` (below `rows`) of a pass.
uint32 row_in_order(uint32 place, uint32 rows, uint64 seed, uint64 pass);
