// The end of a step: limits on the gradients, and one optimizer update over the flat arrays.
#include "control.cuh"
#include "threads.cuh"
#include "updates.cuh"

// A row of the run table: weights that stand together and are treated alike.
struct Run {
    double start, stop;  // positions in the flat arrays
    double multiplier;   // of the learning rate
    double decay;        // whether weight decay applies, 1 or 0
};

template <typename T, template <typename> class Optimizer>
BLOCK_PART void update(Share share, DEALT T* weights, DEALT const T* gradients, DEALT T* slot_0,
                       DEALT T* slot_1, DEALT T* slot_2, const double* run_table, int64 runs,
                       const double* parameters, const int64* counters, const double* rates) {
    __shared__ Optimizer<T> formula;
    for (int64 k = 0; k < runs; ++k) {
        const Run run = {run_table[4 * k], run_table[4 * k + 1], run_table[4 * k + 2],
                         run_table[4 * k + 3]};
        __syncthreads();  // the run before may still be under way
        if (share.rank == 0)
            formula.prepare(parameters, rates[LEARNING_RATE] * run.multiplier, counters[UPDATES],
                            run.decay != 0);
        __syncthreads();
        for (int64 i = share.dealt(int64(run.start)); i < int64(run.stop); i += share.count())
            formula.apply(i, gradients[i], weights, slot_0, slot_1, slot_2);
    }
}

// Each element between -limit and limit.
template <typename T>
ELEMENT_PART void clip_values(Share share, PIECE T* gradients, T limit, int64 n) {
    for (int64 i = share.first(n) + share.rank; i < share.stop(n); i += share.size)
        gradients[i] = math::clip(gradients[i], -limit, limit);
}

// sums[k] = sum of squares of gradients[starts[k] : stops[k]]; one block each.
template <typename T>
BLOCK_PART void square_sums(Share share, const T* gradients, const int64* starts,
                            const int64* stops, int64 segments, double* sums) {
    for (int64 k = share.piece; k < segments; k += share.pieces) {
        T mine = T(0);
        for (int64 i = starts[k] + share.rank; i < stops[k]; i += share.size)
            mine += gradients[i] * gradients[i];
        const double sum = block_sum(double(mine));
        if (share.rank == 0) sums[k] = sum;
    }
}

// Each segment scaled so that its norm, or with `together` that of all of them, is at most limit.
template <typename T>
BLOCK_PART void limit_norms(Share share, T* gradients, const int64* starts, const int64* stops,
                            int64 segments, const double* sums, bool together, double limit) {
    __shared__ T factor;
    double mine = 0;
    for (int64 k = share.rank; together && k < segments; k += share.size) mine += sums[k];
    const double total = block_sum(mine);
    for (int64 k = share.piece; k < segments; k += share.pieces) {
        __syncthreads();  // the factor before may still be in use
        if (share.rank == 0) {
            const double norm = math::sqrt(together ? total : sums[k]);
            factor = T(norm > limit ? limit / norm : 1.0);
        }
        __syncthreads();
        for (int64 i = starts[k] + share.rank; i < stops[k]; i += share.size)
            gradients[i] *= factor;
    }
}
