// Penalties on weights: added to the loss, and their derivatives to the gradients.
#include "../formulas/math.cuh"
#include "threads.cuh"

// sums[k] = l1 sum(|w|) + l2 sum(w^2) over weights[starts[k] : stops[k]], with l1 and l2 from row k
// of `factors`; one block each. Where gradients are given, l1 sign(w) + 2 l2 w is added.
template <typename T>
BLOCK_PART void penalties(Share share, const T* weights, const int64* starts, const int64* stops,
                          const double* factors, int64 segments, T* gradients, T* sums) {
    for (int64 k = share.piece; k < segments; k += share.pieces) {
        const T l1 = T(factors[2 * k]), l2 = T(factors[2 * k + 1]);
        T mine = T(0);
        for (int64 i = starts[k] + share.rank; i < stops[k]; i += share.size) {
            const T w = weights[i];
            mine += l1 * math::abs(w) + l2 * (w * w);
            if (gradients) gradients[i] += l1 * T((w > T(0)) - (w < T(0))) + T(2) * l2 * w;
        }
        const double sum = block_sum(double(mine));
        if (share.rank == 0) sums[k] = T(sum);
    }
}

// totals[0] += rows times the sum of all penalties: each batch's mean loss has them once.
template <typename T>
LAST_PART void penalty_totals(Share share, const T* sums, int64 segments, int64 rows,
                              double* totals) {
    const volatile T* all = sums;
    double mine = 0;
    for (int64 k = share.rank; k < segments; k += share.size) mine += all[k];
    const double sum = block_sum(mine);
    if (share.rank == 0) totals[0] += rows * sum;
}
