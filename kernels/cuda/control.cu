// The step advances its own counters: a captured graph cannot receive new values.
#include "../formulas/control.cuh"
#include "../formulas/math.cuh"
#include "threads.cuh"

// One more update and batch, and `rows` more of the order. The last group that does it also marks
// the first batch after which the loss so far, totals[0], is not finite.
LAST_PART void advance(ThreadGroup threads, BLOCK_COPY int64* counters, int64 rows,
                       const double* totals) {
    if (threads.rank != 0) return;
    const int64 updates = counters[UPDATES], batches = counters[BATCHES];
    const int64 position = counters[POSITION];  // all read before one is written: they take as long
    if (threads.slice == threads.slices - 1 && counters[BAD_BATCH] < 0 &&
        !math::is_finite(totals[0]))
        counters[BAD_BATCH] = batches;
    counters[UPDATES] = updates + 1;
    counters[BATCHES] = batches + 1;
    counters[POSITION] = position + rows;
}
