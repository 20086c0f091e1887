// The end of a step: limits on the gradients, and one optimizer update over the flat arrays.
#include "../formulas/control.cuh"
#include "threads.cuh"
#include "../formulas/updates.cuh"

// The step's gradients are added up; when an update is due, they become the mean of so many steps.
template <typename T>
BLOCK_PART void accumulate_gradients(Share share, DEALT T* gradients, DEALT T* accumulated,
                                     const double* group_table, int64 groups, int64 every,
                                     const int64* counters) {
    const bool due = is_due(counters, every);
    for (int64 k = 0; k < groups; ++k)
        for (int64 i = share.dealt(int64(group_table[4 * k])); i < int64(group_table[4 * k + 1]);
             i += share.count()) {
            const T sum = gradients[i] + accumulated[i];
            if (due) gradients[i] = sum / T(every);
            accumulated[i] = due ? T(0) : sum;
        }
}

template <typename T, template <typename> class Optimizer>
BLOCK_PART void update(Share share, DEALT T* weights, DEALT const T* gradients, DEALT T* slot_0,
                       DEALT T* slot_1, DEALT T* slot_2, const double* group_table, int64 groups,
                       const double* parameters, int64 every, const int64* counters,
                       const double* rates) {
    if (!is_due(counters, every)) return;
    __shared__ Optimizer<T> formula;
    for (int64 k = 0; k < groups; ++k) {
        const ParameterGroup group = {group_table[4 * k], group_table[4 * k + 1],
                                      group_table[4 * k + 2], group_table[4 * k + 3]};
        __syncthreads();  // the group before may still be under way
        if (share.rank == 0)
            formula.prepare(parameters, rates[LEARNING_RATE] * group.multiplier,
                            updates(counters, every), group.decay != 0);
        __syncthreads();
        for (int64 i = share.dealt(int64(group.start)); i < int64(group.stop); i += share.count())
            formula.apply(i, gradients[i], weights, slot_0, slot_1, slot_2);
    }
}

// The moving average of the weights, which they become every `overwrite` updates (0: never).
template <typename T>
BLOCK_PART void average_weights(Share share, DEALT T* weights, DEALT T* averages,
                                const double* group_table, int64 groups, double momentum,
                                int64 overwrite, int64 every, const int64* counters) {
    const int64 done = updates(counters, every);
    const T change = T(done == 0 ? 1.0 : 1.0 - momentum);
    const bool overwrites = overwrite != 0 && (done + 1) % overwrite == 0;
    for (int64 k = 0; k < groups; ++k)
        for (int64 i = share.dealt(int64(group_table[4 * k])); i < int64(group_table[4 * k + 1]);
             i += share.count()) {
            const T average = averages[i] + (weights[i] - averages[i]) * change;
            averages[i] = average;
            if (overwrites) weights[i] = average;
        }
}

// Each element between -limit and limit.
template <typename T>
ELEMENT_PART void clip_values(Share share, PIECE T* gradients, T limit, int64 n) {
    for (int64 i = share.first(n) + share.rank; i < share.stop(n); i += share.size)
        gradients[i] = math::clip(gradients[i], -limit, limit);
}

// sums[k] = sum of squares of x[starts[k] : stops[k]]; one block each.
template <typename T>
BLOCK_PART void square_sums(Share share, const T* x, const int64* starts,
                            const int64* stops, int64 segments, double* sums) {
    for (int64 k = share.piece; k < segments; k += share.pieces) {
        T mine = T(0);
        for (int64 i = starts[k] + share.rank; i < stops[k]; i += share.size)
            mine += x[i] * x[i];
        const double sum = block_sum(double(mine));
        if (share.rank == 0) sums[k] = sum;
    }
}

// In thread 0: the norm of pieces first to last (not included), of sums of squares. All threads
// come together in it: what they did before is done.
__device__ inline double norm(Share share, const double* sums, int64 first, int64 last) {
    double mine = 0;
    for (int64 k = first + share.rank; k < last; k += share.size) mine += sums[k];
    return math::sqrt(block_sum(mine));
}

// Gradients scaled so that their norm is at most limit: a piece with those from firsts[k] to
// lasts[k], which are the pieces of one parameter, or all.
template <typename T>
BLOCK_PART void limit_norms(Share share, T* gradients, const int64* starts, const int64* stops,
                            const int64* firsts, const int64* lasts, int64 pieces,
                            const double* sums, double limit) {
    __shared__ T factor;
    for (int64 k = share.piece; k < pieces; k += share.pieces) {
        const double all = norm(share, sums, firsts[k], lasts[k]);
        if (share.rank == 0) factor = T(all <= limit ? 1.0 : limit / all);
        __syncthreads();
        for (int64 i = starts[k] + share.rank; i < stops[k]; i += share.size)
            gradients[i] *= factor;
    }
}

// weights -= rate |weights| / |directions| directions, parameter by parameter; where one of the
// norms is zero, the ratio is one (You et al., "LAMB", 2020).
template <typename T>
BLOCK_PART void step_by_norms(Share share, T* weights, const T* directions, const int64* starts,
                              const int64* stops, const int64* firsts, const int64* lasts,
                              int64 pieces, const double* weight_sums,
                              const double* direction_sums, const double* multipliers, int64 every,
                              const int64* counters, const double* rates) {
    if (!is_due(counters, every)) return;
    __shared__ T step;
    for (int64 k = share.piece; k < pieces; k += share.pieces) {
        const double size = norm(share, weight_sums, firsts[k], lasts[k]);
        const double length = norm(share, direction_sums, firsts[k], lasts[k]);
        if (share.rank == 0) {
            const double ratio = size > 0 && length > 0 ? size / length : 1.0;
            step = T(ratio * rates[LEARNING_RATE] * multipliers[k]);
        }
        __syncthreads();
        const T scale = step;
        for (int64 i = starts[k] + share.rank; i < stops[k]; i += share.size)
            weights[i] -= scale * directions[i];
    }
}
