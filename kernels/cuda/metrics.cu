// Metrics: the value of each row, with one warp for each row; then the sums over the rows.
#include "../formulas/metrics.cuh"
#include "threads.cuh"

// row_values = v, the metric of each row.
// The target of a row is a row of `targets` or, if that is null, one-hot at the class in `labels`.
template <typename T, template <typename> class Metric>
ROW_PART void metric_rows(ThreadGroup threads, ROW_SLICED const T* predictions,
                          ROW_SLICED const T* targets, ROW_SLICED const int32* labels,
                          const double* parameters, int64 rows, int64 classes,
                          ROW_SLICED T* row_values) {
    const Metric<T> metric(parameters);
    const int lane = threadIdx.x % WARP;
    for (int64 r : threads.rows(rows)) {
        const T* y = predictions + r * classes;
        const T* t = targets ? targets + r * classes : nullptr;
        const int64 label = t ? -1 : labels[r];
        T value = T(0);
        if constexpr (Metric<T>::by_place) {
            const int64 truth = t ? row_largest(t, classes, lane).place : label;
            value = T(row_largest(y, classes, lane).place == truth);
        } else if constexpr (Metric<T>::by_rank) {
            const int64 truth = t ? row_largest(t, classes, lane).place : label;
            int64 count = 0;
            const bool known = metric.knows(truth, classes);  // the same in the whole warp
            for (int64 c = lane; known && c < classes; c += WARP)
                count += metric.counts(y[c], c, y, truth);
            value = T(known && metric.hit(warp_sum(count)));
        } else {
            for (int64 c = lane; c < classes; c += WARP)
                value += metric.value(t ? t[c] : T(c == label), y[c]);
            value = warp_sum(value) / T(classes);
        }
        if (lane == 0) row_values[r] = value;
    }
}

// state += (sum(w v), sum(w)) over the rows' values v with weights w (1 if null).
template <typename T>
LAST_PART void metric_totals(ThreadGroup threads, const T* row_values, const T* weights, int64 rows,
                             double* state) {
    const volatile T* all_values = row_values;
    double sum = 0;
    double mass = 0;
    for (int64 r : threads.across(0, rows)) {
        const double weight = weights ? double(weights[r]) : 1.0;
        sum += weight * all_values[r];
        mass += weight;
    }
    sum = block_sum(sum);
    mass = block_sum(mass);
    if (threads.rank == 0) {
        state[0] += sum;
        state[1] += mass;
    }
}
