// The end of a step.
#pragma once
#include "../formulas/control.cuh"
#include "../formulas/math.cuh"

// One more update and batch, and `rows` more of the order. The first batch after which the loss so
// far, totals[0], is not finite is marked.
inline void advance(int64* counters, int64 rows, const double* totals) {
    if (counters[BAD_BATCH] < 0 && !math::is_finite(totals[0]))
        counters[BAD_BATCH] = counters[BATCHES];
    counters[UPDATES] += 1;
    counters[BATCHES] += 1;
    counters[POSITION] += rows;
}
