// Metrics that count: a number of a bin for each prediction, then the weights in each bin. Nothing
// depends on which thread is faster, weighted or not.
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
//
// Without weights each prediction adds its 1: however many are added, and in whatever order, the
// bits are the same. With weights the order of a sum has to be one and the same. A warp a bin looks
// through all predictions, which is fast as long as there are few of either. Where there are
// `many`, one block takes them BLOCK by BLOCK, in order; the first thread with a bin sums up what
// the tile has for it. That costs as much as there are predictions, however many bins there are.
template <typename T>
BLOCK_PART void bin_totals(ThreadGroup threads, const int32* bins, const T* weights, int64 rows,
                           int64 width, int64 size, bool many, double* state) {
    const int64 n = rows * width;
    if (!weights) {
        for (int64 i : Range{threads.grid_rank(), n, threads.grid_size()})
            if (bins[i] >= 0 && bins[i] < size) atomicAdd(&state[bins[i]], 1.0);
        return;
    }
    if (!many) {
        const int lane = threadIdx.x % WARP;
        for (int64 b : threads.warp_units(size)) {
            double sum = 0;
            for (int64 i = lane; i < n; i += WARP)
                if (bins[i] == b) sum += double(weights[i / width]);
            sum = warp_sum(sum);
            if (lane == 0) state[b] += sum;
        }
        return;
    }
    if (threads.slice > 0) return;
    __shared__ int32 tile[BLOCK];
    __shared__ T amounts[BLOCK];
    const int rank = int(threads.rank);
    for (int64 first = 0; first < n; first += BLOCK) {
        const int64 i = first + rank;
        const int32 bin = i < n ? bins[i] : -1;
        tile[rank] = bin;
        amounts[rank] = i < n ? weights[i / width] : T(0);
        __syncthreads();
        bool sums = bin >= 0 && bin < size;
        for (int before = 0; before < rank && sums; ++before) sums = tile[before] != bin;
        if (sums) {
            double sum = 0;
            for (int k = rank; k < BLOCK; ++k)
                if (tile[k] == bin) sum += double(amounts[k]);
            state[bin] += sum;
        }
        __syncthreads();  // `tile` is filled anew
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
