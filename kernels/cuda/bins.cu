// Metrics that count: the bin index of each prediction, then the weights in each bin. Results do
// not depend on the order of threads, weighted or not.
#include "../formulas/metrics.cuh"
#include "threads.cuh"

// bins (rows, width) = the bin of each prediction.
// The target of a row is a row of `targets` or, if that is null, one-hot at the class in `labels`.
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
        BinnedRow<T> row = {y, classes, t, t ? -1 : labels[r], row_largest(y, classes, lane), {}};
        if constexpr (Bins<T>::by_place)
            if (t) row.truth = row_largest(t, classes, lane).place;
        row.last = last_of_top<T>(formula.top, classes, [&](Placed<T> last) {
            return warp_largest(next_behind(last, y, classes, lane, WARP));
        });
        for (int64 c = lane; c < width; c += WARP) {
            const int64 bin = formula.bin(row, c);  // of any label, maybe beyond int32
            bins[r * width + c] = int32(bin) == bin ? int32(bin) : -1;
        }
    }
}

// Atomically: *place += value. GPUs before compute capability 6.0 (GTX 9xx) have no such instruction
// for doubles: they replace the sum until no other thread has changed it meanwhile.
__device__ inline void add_atomically(double* place, double value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 600
    uint64* word = reinterpret_cast<uint64*>(place);
    uint64 before = *word, found = ~before;
    while (found != before) {
        found = before;
        const double sum = __longlong_as_double(int64(found)) + value;
        before = atomicCAS(word, found, uint64(__double_as_longlong(sum)));
    }
#else
    atomicAdd(place, value);
#endif
}

// state[b] += the number of predictions in bin b: an integer, whatever the order of additions.
ELEMENT_PART void bin_counts(ThreadGroup threads, const int32* bins, int64 n, int64 size,
                             double* state) {
    for (int64 i : threads.elements(n))
        if (bins[i] >= 0 && bins[i] < size) add_atomically(&state[bins[i]], 1.0);
}

constexpr int SHARED_BINS = 4;  // that the lanes of a warp add to together, one after the other

// Weights are also added up as integers: as multiples of 1 / scale[0], and the remainder of each as
// multiples of 1 / unit of that (see `weight_scale`). For a million predictions that keeps 84 bits
// from the largest weight's first one on.
//
// whole (2, size) += the weights of the rows, `width` predictions each, in each bin: the multiples,
// followed by the remainders. A weight that is not finite is added to `state` directly: the sum is
// then the same, whatever is added to it and in whatever order.
template <typename T>
BLOCK_PART void bin_sums(ThreadGroup threads, const int32* bins, const T* weights, int64 rows,
                         int64 width, int64 size, const double* scale, double unit, uint64* whole,
                         double* state) {
    const int64 n = rows * width;
    const int lane = threadIdx.x % WARP;
    auto add = [&](int32 bin, int64 multiple, int64 left) {
        atomicAdd(&whole[bin], uint64(multiple));
        atomicAdd(&whole[size + bin], uint64(left));
    };
    for (int64 each : threads.warp_units((n + WARP - 1) / WARP)) {
        const int64 i = each * WARP + lane;
        int32 bin = i < n && bins[i] < size ? bins[i] : -1;
        const double weight = bin < 0 ? 0.0 : double(weights[i / width]);
        if (weight == 0) bin = -1;
        if (bin >= 0 && !math::is_finite(weight)) {
            add_atomically(&state[bin], weight);
            bin = -1;
        }
        const double multiples = bin < 0 ? 0.0 : weight * scale[0];
        const int64 multiple = int64(multiples);
        const int64 left = int64((multiples - double(multiple)) * unit);
        // Most predictions may be in a few bins, where all threads would contend.
        for (int k = 0; k < SHARED_BINS; ++k) {
            const Placed<int32> shared = warp_largest(Placed<int32>{bin, lane});
            if (shared.value < 0) break;
            const bool mine = bin == shared.value;
            const int64 sum = warp_sum(mine ? multiple : 0), rest = warp_sum(mine ? left : 0);
            if (lane == shared.place) add(bin, sum, rest);
            if (mine) bin = -1;
        }
        if (bin >= 0) add(bin, multiple, left);
    }
}

// state += the sums of `bin_sums`, which are reset to 0.
ELEMENT_PART void take_bin_sums(ThreadGroup threads, const double* scale, double unit, int64 size,
                                uint64* whole, double* state) {
    for (int64 b : threads.elements(size)) {
        const double multiples = double(int64(whole[b])), left = double(int64(whole[size + b]));
        state[b] += (multiples + left / unit) / scale[0];
        whole[b] = whole[size + b] = 0;
    }
}

constexpr int TARGET_SUMS = 5;
constexpr int TARGET_COLUMNS = 32;  // most columns that a block handles

// For each column: state += (sum(w t), sum(w t^2), sum(w (t - y)^2), sum(w)), (4, columns). After
// these, the number of rows with nonzero weight. Neighbouring threads take neighbouring columns; if
// there are few columns, they take more rows.
template <typename T>
BLOCK_PART void target_sums(ThreadGroup threads, const T* predictions, const T* targets,
                            const T* weights, int64 rows, int64 columns, double* state) {
    __shared__ double partial[TARGET_SUMS][BLOCK];
    int tile = 1;
    while (tile < columns && tile < TARGET_COLUMNS) tile *= 2;
    const int rank = int(threads.rank), across = rank % tile, down = rank / tile;
    for (int64 first : threads.tiles(columns, tile)) {
        const int64 c = first + across;
        double sums[TARGET_SUMS] = {0, 0, 0, 0, 0};
        for (int64 r = down; c < columns && r < rows; r += BLOCK / tile) {
            const double w = weights ? double(weights[r]) : 1.0;
            const double t = targets[r * columns + c];
            const double error = t - double(predictions[r * columns + c]);
            sums[0] += w * t;
            sums[1] += w * t * t;
            sums[2] += w * error * error;
            sums[3] += w;
            sums[4] += w != 0;
        }
        for (int k = 0; k < TARGET_SUMS; ++k) partial[k][rank] = sums[k];
        for (int half = BLOCK / tile / 2; half > 0; half /= 2) {
            __syncthreads();
            if (down < half)
                for (int k = 0; k < TARGET_SUMS; ++k)
                    partial[k][rank] += partial[k][rank + half * tile];
        }
        if (down == 0 && c < columns) {
            for (int k = 0; k < 4; ++k) state[k * columns + c] += partial[k][rank];
            if (c == 0) state[4 * columns] += partial[4][rank];
        }
        __syncthreads();  // `partial` is reused for the next tile
    }
}
