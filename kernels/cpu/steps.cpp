// The beginning and the end of a step: the rows of the next batch, and the counters advanced.
#include "gathers.hpp"
#include "steps.hpp"

const SomeOfOrder& some_of_order(uint32 place, uint32 rows, uint64 seed, uint64 pass) {
    thread_local SomeOfOrder order{};
    SomeOfOrder& some = order;
    if (!some.has(place, rows, seed, pass)) some.compute(place, rows, seed, pass);
    return some;
}

uint32 row_in_order(uint32 place, uint32 rows, uint64 seed, uint64 pass) {
    const SomeOfOrder& some = some_of_order(place, rows, seed, pass);
    return some.row_at[place - some.first];
}

namespace {

// Between two passes: the sums of the one that has ended become a row of `sums`, whose first row is
// that of pass `first`; the next pass begins. None does after a loss that is not finite.
void next_pass(double* totals, int64 count, double* sums, int64 first, int64* counters,
               int64* stopped) {
    *stopped = counters[BAD_BATCH] >= 0;
    if (*stopped) return;
    double* row = sums + (counters[PASS] - first) * count;
    for (int64 i = 0; i < count; ++i) {
        row[i] = totals[i];
        totals[i] = 0;
    }
    counters[PASS] += 1;
    counters[POSITION] = 0;
}

const Registration registration([] {
    EACH_USUAL_SOURCE(add_gather)
    add<&advance>("advance");
#ifndef FOR_BROWSERS
    add<&next_pass>("next_pass").stops = true;
#endif
});

}  // namespace
