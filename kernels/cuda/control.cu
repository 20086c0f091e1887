// The step advances its own counters: a captured graph cannot receive new values.
#include "../formulas/control.cuh"
#include "../formulas/math.cuh"
#include "threads.cuh"

// One more update and batch, and `rows` more of the order. The first batch after which the loss so
// far, totals[0], is not finite is marked.
LAST_PART void advance(ThreadGroup threads, int64* counters, int64 rows, const double* totals) {
    if (threads.rank != 0) return;
    if (counters[BAD_BATCH] < 0 && !math::is_finite(totals[0]))
        counters[BAD_BATCH] = counters[BATCHES];
    counters[UPDATES] += 1;
    counters[BATCHES] += 1;
    counters[POSITION] += rows;
}
