// Penalties on weights: added to the loss, and their derivatives to the gradients.
#include "../formulas/generated_weights.cuh"
#include "threads.cuh"

// sums[k] = the penalties of weights[starts[k] : stops[k]], with the values in row k of `factors`;
// one block each. If gradients are given, the derivatives are added.
template <typename T>
BLOCK_PART void penalties(ThreadGroup threads, const T* weights, const int64* starts,
                          const int64* stops, const double* factors, int64 segments, T* gradients,
                          T* sums) {
    for (int64 k : threads.units(segments)) {
        const BothPenalties<T> penalty(factors + 2 * k);
        T mine = T(0);
        for (int64 i : threads.across(starts[k], stops[k])) {
            const T w = weights[i];
            mine += penalty.term(w);
            if (gradients) gradients[i] += penalty.slope(w);
        }
        const double sum = block_sum(double(mine));
        if (threads.rank == 0) sums[k] = T(sum);
    }
}

// totals[0] += rows times the sum of all penalties: each batch's mean loss includes them once.
template <typename T>
LAST_PART void penalty_totals(ThreadGroup threads, const T* sums, int64 segments, int64 rows,
                              double* totals) {
    const volatile T* all = sums;
    double mine = 0;
    for (int64 k : threads.across(0, segments)) mine += all[k];
    const double sum = block_sum(mine);
    if (threads.rank == 0) totals[0] += rows * sum;
}
