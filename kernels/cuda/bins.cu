// Metrics that count: a number of a bin for each prediction, then the weights in each bin. Bins
// belong to warps, which look through all predictions in order: so nothing depends on which
// thread is faster, weighted or not, and no two threads write to one place.
#include "../formulas/metrics.cuh"
#include "threads.cuh"

// bins (rows, width) = where each prediction is counted.
// A row's target is a row of `targets`, or, where that is null, 1 at the class in `labels`.
template <typename T, template <typename> class Bins>
ROW_PART void bin_rows(ThreadGroup threads, ROW_SLICED const T* predictions,
                       ROW_SLICED const T* targets, ROW_SLICED const int32* labels,
                       const double* parameters, int64 rows, int64 classes, int64 width,
                       ROW_SLICED int32* bins) {
    const Bins<T> formula(parameters);
    const int lane = threadIdx.x % WARP;
    for (int64 r : threads.rows(rows)) {
        const T* y = predictions + r * classes;
        const T* t = targets ? targets + r * classes : nullptr;
        const T maximum = row_largest(y, classes, lane).value;
        const int64 label = t ? -1 : labels[r];
        for (int64 c = lane; c < width; c += WARP)
            bins[r * width + c] = int32(formula.bin(y, classes, maximum, c, t, label));
    }
}

// state[b] += the sum of the rows' weights (1 where null) over the predictions in bin b.
template <typename T>
BLOCK_PART void bin_totals(ThreadGroup threads, const int32* bins, const T* weights, int64 rows,
                           int64 width, int64 size, double* state) {
    const int lane = threadIdx.x % WARP;
    for (int64 b : threads.warp_units(size)) {
        double sum = 0;
        for (int64 i = lane; i < rows * width; i += WARP)
            if (bins[i] == b) sum += weights ? double(weights[i / width]) : 1.0;
        sum = warp_sum(sum);
        if (lane == 0) state[b] += sum;
    }
}

// For each column: state += (sum(w t), sum(w t^2), sum(w (t - y)^2), sum(w)), (4, columns); and
// at the end the number of rows whose weight is not 0.
template <typename T>
BLOCK_PART void target_sums(ThreadGroup threads, const T* predictions, const T* targets,
                            const T* weights, int64 rows, int64 columns, double* state) {
    const int lane = threadIdx.x % WARP;
    for (int64 c : threads.warp_units(columns)) {
        double sums[5] = {0, 0, 0, 0, 0};
        for (int64 r = lane; r < rows; r += WARP) {
            const double w = weights ? double(weights[r]) : 1.0;
            const double t = targets[r * columns + c];
            const double error = t - double(predictions[r * columns + c]);
            sums[0] += w * t;
            sums[1] += w * t * t;
            sums[2] += w * error * error;
            sums[3] += w;
            sums[4] += w != 0;
        }
        for (int k = 0; k < 5; ++k) sums[k] = warp_sum(sums[k]);
        if (lane == 0) {
            for (int k = 0; k < 4; ++k) state[k * columns + c] += sums[k];
            if (c == 0) state[4 * columns] += sums[4];
        }
    }
}
