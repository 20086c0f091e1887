// The step moves its own counters on: a recorded graph cannot be told new numbers.
#include "control.cuh"
#include "math.cuh"

// One more update and batch, `rows` further in the order; the first batch after which the loss so
// far, totals[0], is not finite is marked.
__global__ void advance(int64* counters, int64 rows, const double* totals) {
    if (counters[BAD_BATCH] < 0 && !math::is_finite(totals[0]))
        counters[BAD_BATCH] = counters[BATCHES];
    counters[UPDATES] += 1;
    counters[BATCHES] += 1;
    counters[POSITION] += rows;
}
