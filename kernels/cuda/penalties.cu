// Penalties on weights: added to the loss, and their derivatives to the gradients.
#include "../formulas/math.cuh"
#include "threads.cuh"

// sums[k] = l1 sum(|w|) + l2 sum(w^2) over weights[starts[k] : stops[k]], with l1 and l2 from row k
// of `factors`; one block each. Where gradients are given, l1 sign(w) + 2 l2 w is added.
template <typename T>
BLOCK_PART void penalties(ThreadGroup threads, const T* weights, const int64* starts,
                          const int64* stops, const double* factors, int64 segments, T* gradients,
                          T* sums) {
    for (int64 k : threads.units(segments)) {
        const T l1 = T(factors[2 * k]), l2 = T(factors[2 * k + 1]);
        T mine = T(0);
        for (int64 i : threads.across(starts[k], stops[k])) {
            const T w = weights[i];
            mine += l1 * math::abs(w) + l2 * (w * w);
            if (gradients) gradients[i] += l1 * T((w > T(0)) - (w < T(0))) + T(2) * l2 * w;
        }
        const double sum = block_sum(double(mine));
        if (threads.rank == 0) sums[k] = T(sum);
    }
}

// totals[0] += rows times the sum of all penalties: each batch's mean loss has them once.
template <typename T>
LAST_PART void penalty_totals(ThreadGroup threads, const T* sums, int64 segments, int64 rows,
                              double* totals) {
    const volatile T* all = sums;
    double mine = 0;
    for (int64 k : threads.across(0, segments)) mine += all[k];
    const double sum = block_sum(mine);
    if (threads.rank == 0) totals[0] += rows * sum;
}
