// Metrics: each row's value by one warp; then the last block to finish sums the rows up.
#include "metrics.cuh"
#include "threads.cuh"

// state += (sum(w v), sum(w)) over the rows' values v with weights w (1 where null).
// A row's target is a row of `targets`, or, where that is null, 1 at the class in `labels`.
template <typename T, template <typename> class Metric>
__global__ void metric_rows(const T* predictions, const T* targets, const int32* labels,
                            const T* weights, const double* parameters, int64 rows, int64 classes,
                            T* row_values, uint32* arrivals, double* state) {
    const Metric<T> metric(parameters);
    const int lane = threadIdx.x % WARP;
    for (int64 r = thread_number() / WARP; r < rows; r += thread_count() / WARP) {
        const T* y = predictions + r * classes;
        const T* t = targets ? targets + r * classes : nullptr;
        const int64 label = t ? -1 : labels[r];
        T value = T(0);
        if constexpr (Metric<T>::by_place) {
            const int64 truth = t ? row_largest(t, classes, lane).place : label;
            value = T(row_largest(y, classes, lane).place == truth);
        } else {
            for (int64 c = lane; c < classes; c += WARP)
                value += metric.value(t ? t[c] : T(c == label), y[c]);
            value = warp_sum(value) / T(classes);
        }
        if (lane == 0) row_values[r] = value;
    }

    if (!last_block(arrivals)) return;
    const volatile T* all_values = row_values;
    double sum = 0;
    double mass = 0;
    for (int64 r = threadIdx.x; r < rows; r += blockDim.x) {
        const double weight = weights ? double(weights[r]) : 1.0;
        sum += weight * all_values[r];
        mass += weight;
    }
    sum = block_sum(sum);
    mass = block_sum(mass);
    if (threadIdx.x == 0) {
        state[0] += sum;
        state[1] += mass;
    }
}
