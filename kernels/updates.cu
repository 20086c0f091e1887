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
__global__ void update(T* weights, const T* gradients, T* slot_0, T* slot_1, T* slot_2,
                       const double* run_table, int64 runs, const double* parameters,
                       const int64* counters, const double* rates) {
    __shared__ Optimizer<T> formula;
    for (int64 k = 0; k < runs; ++k) {
        const Run run = {run_table[4 * k], run_table[4 * k + 1], run_table[4 * k + 2],
                         run_table[4 * k + 3]};
        __syncthreads();  // the run before may still be under way
        if (threadIdx.x == 0)
            formula.prepare(parameters, rates[LEARNING_RATE] * run.multiplier, counters[UPDATES],
                            run.decay != 0);
        __syncthreads();
        for (int64 i = int64(run.start) + thread_number(); i < int64(run.stop);
             i += thread_count())
            formula.apply(i, gradients[i], weights, slot_0, slot_1, slot_2);
    }
}

// Each element between -limit and limit.
template <typename T> __global__ void clip_values(T* gradients, T limit, int64 n) {
    for (int64 i = thread_number(); i < n; i += thread_count())
        gradients[i] = math::clip(gradients[i], -limit, limit);
}

// sums[k] = sum of squares of gradients[starts[k] : stops[k]]; one block each.
template <typename T>
__global__ void square_sums(const T* gradients, const int64* starts, const int64* stops,
                            int64 segments, double* sums) {
    for (int64 k = blockIdx.x; k < segments; k += gridDim.x) {
        T mine = T(0);
        for (int64 i = starts[k] + threadIdx.x; i < stops[k]; i += blockDim.x)
            mine += gradients[i] * gradients[i];
        const double sum = block_sum(double(mine));
        if (threadIdx.x == 0) sums[k] = sum;
    }
}

// Each segment scaled so that its norm, or with `together` that of all of them, is at most limit.
template <typename T>
__global__ void limit_norms(T* gradients, const int64* starts, const int64* stops, int64 segments,
                            const double* sums, bool together, double limit) {
    __shared__ T factor;
    double mine = 0;
    for (int64 k = threadIdx.x; together && k < segments; k += blockDim.x) mine += sums[k];
    const double total = block_sum(mine);
    for (int64 k = blockIdx.x; k < segments; k += gridDim.x) {
        __syncthreads();  // the factor before may still be in use
        if (threadIdx.x == 0) {
            const double norm = math::sqrt(together ? total : sums[k]);
            factor = T(norm > limit ? limit / norm : 1.0);
        }
        __syncthreads();
        for (int64 i = starts[k] + threadIdx.x; i < stops[k]; i += blockDim.x)
            gradients[i] *= factor;
    }
}
