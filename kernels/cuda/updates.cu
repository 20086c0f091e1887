// The end of a step: gradient clipping, and one optimizer update over the flat arrays.
#include "../formulas/control.cuh"
#include "threads.cuh"
#include "../formulas/updates.cuh"

// Adds up the gradients of steps. When an update is due, they become the mean over `every` steps.
template <typename T>
BLOCK_PART void accumulate_gradients(ThreadGroup threads, GRID_STRIDED T* gradients,
                                     GRID_STRIDED T* accumulated, const double* group_table,
                                     int64 groups, int64 every, BLOCK_COPY const int64* counters) {
    const bool due = is_due(counters, every);
    for (int64 k = 0; k < groups; ++k)
        for (int64 i : threads.strided(group_table[4 * k], group_table[4 * k + 1])) {
            const T sum = gradients[i] + accumulated[i];
            if (due) gradients[i] = sum / T(every);
            accumulated[i] = due ? T(0) : sum;
        }
}

template <typename T, template <typename> class Optimizer>
BLOCK_PART void update(ThreadGroup threads, GRID_STRIDED T* weights,
                       GRID_STRIDED const T* gradients, GRID_STRIDED T* slot_0,
                       GRID_STRIDED T* slot_1, GRID_STRIDED T* slot_2, const double* group_table,
                       int64 groups, const double* parameters, int64 every,
                       BLOCK_COPY const int64* counters, const double* rates) {
    if (!is_due(counters, every)) return;
    __shared__ Optimizer<T> formula;
    for (int64 k = 0; k < groups; ++k) {
        const ParameterGroup group = {group_table[4 * k], group_table[4 * k + 1],
                                      group_table[4 * k + 2], group_table[4 * k + 3]};
        __syncthreads();  // the previous group may still be in progress
        if (threads.rank == 0)
            formula.prepare(parameters, rates[LEARNING_RATE] * group.multiplier,
                            updates(counters, every), group.decay != 0);
        __syncthreads();
        for (int64 i : threads.strided(group.start, group.stop))
            formula.apply(i, gradients[i], weights, slot_0, slot_1, slot_2);
    }
}

// The moving average of the weights. It replaces the weights every `overwrite` updates (0: never).
template <typename T>
BLOCK_PART void average_weights(ThreadGroup threads, GRID_STRIDED T* weights,
                                GRID_STRIDED T* averages, const double* group_table, int64 groups,
                                double momentum, int64 overwrite, int64 every,
                                BLOCK_COPY const int64* counters) {
    const int64 done = updates(counters, every);
    const T change = T(done == 0 ? 1.0 : 1.0 - momentum);
    const bool overwrites = overwrite != 0 && (done + 1) % overwrite == 0;
    for (int64 k = 0; k < groups; ++k)
        for (int64 i : threads.strided(group_table[4 * k], group_table[4 * k + 1])) {
            const T average = averages[i] + (weights[i] - averages[i]) * change;
            averages[i] = average;
            if (overwrites) weights[i] = average;
        }
}

// Clips each element to -limit to limit.
template <typename T>
ELEMENT_PART void clip_values(ThreadGroup threads, ROW_SLICED T* gradients, T limit, int64 n) {
    for (int64 i : threads.elements(n))
        gradients[i] = math::clip(gradients[i], -limit, limit);
}

// sums[k] = sum of squares of x[starts[k] : stops[k]]; one block each.
template <typename T>
BLOCK_PART void square_sums(ThreadGroup threads, const T* x, const int64* starts,
                            const int64* stops, int64 segments, double* sums) {
    for (int64 k : threads.units(segments)) {
        double mine = 0;  // in double: the square of a float is never infinite
        for (int64 i : threads.across(starts[k], stops[k]))
            mine += double(x[i]) * double(x[i]);
        const double sum = block_sum(mine);
        if (threads.rank == 0) sums[k] = sum;
    }
}

// In thread 0: the norm of pieces first to last (exclusive), from sums of squares. It synchronizes
// all threads.
__device__ inline double norm(ThreadGroup threads, const double* sums, int64 first, int64 last) {
    double mine = 0;
    for (int64 k : threads.across(first, last)) mine += sums[k];
    return math::sqrt(block_sum(mine));
}

// Scales gradients so that their norm is at most limit. Piece k belongs to the norm of the pieces
// from firsts[k] to before lasts[k]: those of one parameter, or all.
template <typename T>
BLOCK_PART void limit_norms(ThreadGroup threads, T* gradients, const int64* starts,
                            const int64* stops, const int64* firsts, const int64* lasts,
                            int64 pieces, const double* sums, double limit) {
    __shared__ T factor;
    for (int64 k : threads.units(pieces)) {
        const double all = norm(threads, sums, firsts[k], lasts[k]);
        if (threads.rank == 0) factor = T(all <= limit ? 1.0 : limit / all);
        __syncthreads();
        for (int64 i : threads.across(starts[k], stops[k]))
            gradients[i] *= factor;
    }
}

// weights -= rate |weights| / |directions| directions, for each parameter. If one of the norms is
// zero, the ratio is one (You et al., "LAMB", 2020).
template <typename T>
BLOCK_PART void step_by_norms(ThreadGroup threads, T* weights, const T* directions,
                              const int64* starts, const int64* stops, const int64* firsts,
                              const int64* lasts, int64 pieces, const double* weight_sums,
                              const double* direction_sums, const double* multipliers, int64 every,
                              BLOCK_COPY const int64* counters, const double* rates) {
    if (!is_due(counters, every)) return;
    __shared__ T step;
    for (int64 k : threads.units(pieces)) {
        const double size = norm(threads, weight_sums, firsts[k], lasts[k]);
        const double length = norm(threads, direction_sums, firsts[k], lasts[k]);
        if (threads.rank == 0) {
            const double ratio = size > 0 && length > 0 ? size / length : 1.0;
            step = T(ratio * rates[LEARNING_RATE] * multipliers[k]);
        }
        __syncthreads();
        const T scale = step;
        for (int64 i : threads.across(starts[k], stops[k]))
            weights[i] -= scale * directions[i];
    }
}
