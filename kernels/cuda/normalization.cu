// Normalization: over the batch, for each feature, and over the features, for each row. Arrays are
// (outer, features, inner), whichever axis of the data the feature axis is.
#include "../formulas/math.cuh"
#include "threads.cuh"

// The position of the k-th element of feature f.
__device__ inline int64 place_of(int64 f, int64 k, int64 features, int64 inner) {
    if (inner == 1) return k * features + f;
    return (k / inner * features + f) * inner + k % inner;
}

// partial (chunks, 2, features) = two sums for each chunk of each feature over its elements at
// `place`, which add(place, f, first place of the chunk, sums) adds up. A block takes a chunk of
// `across` (a power of 2) features at once, and its threads share the elements of each.
template <typename T, typename Add>
__device__ inline void sums_of_features(ThreadGroup threads, int64 outer, int64 features,
                                        int64 inner, int64 chunks, int across, T* partial,
                                        Add add) {
    __shared__ T sums[2][BLOCK];
    const int rank = int(threads.rank), depth = BLOCK / across, down = rank / across;
    const int64 n = outer * inner, tiles = (features + across - 1) / across;
    for (int64 unit : threads.units(tiles * chunks)) {
        const int64 f = unit % tiles * across + rank % across, chunk = unit / tiles;
        const int64 first = n * chunk / chunks, stop = n * (chunk + 1) / chunks;
        T mine[2] = {};
        if (f < features) {
            const int64 start = place_of(f, first, features, inner);
            for (int64 k = first + down; k < stop; k += depth)
                add(place_of(f, k, features, inner), f, start, mine);
        }
        for (int s = 0; s < 2; ++s) sums[s][rank] = mine[s];
        for (int half = depth / 2; half > 0; half /= 2) {
            __syncthreads();
            if (down < half)
                for (int s = 0; s < 2; ++s) sums[s][rank] += sums[s][rank + half * across];
        }
        if (down == 0 && f < features)
            for (int s = 0; s < 2; ++s) partial[(chunk * 2 + s) * features + f] = sums[s][rank];
        __syncthreads();  // `sums` is reused for the next chunk
    }
}

// Sums of differences from the first element of the chunk, and of their squares: nothing cancels if
// the mean is far larger than the deviation.
template <typename T>
BLOCK_PART void batch_moments(ThreadGroup threads, const T* x, int64 outer, int64 features,
                              int64 inner, int64 chunks, int32 across, T* partial) {
    sums_of_features(threads, outer, features, inner, chunks, across, partial,
                     [&](int64 place, int64 f, int64 start, T* sums) {
                         const T difference = x[place] - x[start];
                         sums[0] += difference;
                         sums[1] += difference * difference;
                     });
}

// Computes the mean and variance of each feature from these; the moving ones advance by `rest`. One
// warp for each feature: its lanes share the chunks, and their sums are added in the order of
// warp_sum.
template <typename T>
BLOCK_PART void batch_statistics(ThreadGroup threads, const T* x, const T* partial, int64 outer,
                                 int64 features, int64 inner, int64 chunks, T momentum, T rest,
                                 T* moving_mean, T* moving_variance, T* mean, T* variance) {
    const int lane = threadIdx.x % WARP;
    const int64 n = outer * inner;
    for (int64 f : threads.warp_units(features)) {
        const double origin = n ? x[place_of(f, 0, features, inner)] : T(0);
        double sum = 0, squares = 0;
        for (int64 chunk = lane; chunk < chunks; chunk += WARP) {
            const int64 first = n * chunk / chunks, stop = n * (chunk + 1) / chunks;
            if (first == stop) continue;  // an empty chunk
            const double shift = x[place_of(f, first, features, inner)] - origin;
            const double total = partial[chunk * 2 * features + f], count = double(stop - first);
            sum += total + count * shift;
            squares += partial[(chunk * 2 + 1) * features + f] + shift * (2 * total + count * shift);
        }
        sum = warp_sum(sum);
        squares = warp_sum(squares);
        if (lane > 0) continue;
        const double difference = sum / n, spread = squares / n - difference * difference;
        mean[f] = T(origin + difference);
        variance[f] = spread < 0 ? T(0) : T(spread);
        moving_mean[f] = moving_mean[f] * momentum + mean[f] * rest;
        moving_variance[f] = moving_variance[f] * momentum + variance[f] * rest;
    }
}

// Steps through this thread's elements and knows the feature of each: a 64-bit division for each
// would cost more than the rest. A slice begins with feature 0.
struct FeatureWalk {
    uint32 inner, period, place, stride;

    __device__ FeatureWalk(ThreadGroup threads, uint32 features, uint32 inner)
        : inner(inner), period(features * inner), place(uint32(threads.rank % period)),
          stride(uint32(threads.size % period)) {}

    __device__ uint32 feature() const { return inner == 1 ? place : place / inner; }

    __device__ void go_on() {
        place = place >= period - stride ? place - (period - stride) : place + stride;
    }
};

template <typename T> HD T scale_of(const T* variance, const T* gamma, T epsilon, int64 f) {
    return (gamma ? gamma[f] : T(1)) / math::sqrt(variance[f] + epsilon);
}

// out = (x - mean) gamma / sqrt(variance + epsilon) + beta
template <typename T>
ELEMENT_PART void normalize(ThreadGroup threads, ROW_SLICED const T* x, const T* mean,
                            const T* variance, const T* gamma, const T* beta, T epsilon, int64 n,
                            uint32 features, uint32 inner, ROW_SLICED T* out) {
    FeatureWalk walk(threads, features, inner);
    for (int64 i : threads.elements(n)) {
        const uint32 f = walk.feature();
        const T y = (x[i] - mean[f]) * scale_of(variance, gamma, epsilon, f);
        out[i] = beta ? y + beta[f] : y;
        walk.go_on();
    }
}

// Sums of dy and of dy (x - mean).
template <typename T>
BLOCK_PART void normalize_sums(ThreadGroup threads, const T* x, const T* dy, const T* mean,
                               int64 outer, int64 features, int64 inner, int64 chunks, int32 across,
                               T* partial) {
    sums_of_features(threads, outer, features, inner, chunks, across, partial,
                     [&](int64 place, int64 f, int64, T* sums) {
                         sums[0] += dy[place];
                         sums[1] += dy[place] * (x[place] - mean[f]);
                     });
}

// totals (2, features) = the sum of dy, the gradient of beta, and that of dy times the normalized
// x, the gradient of gamma. One warp for each feature, as in batch_statistics.
template <typename T>
BLOCK_PART void normalize_totals(ThreadGroup threads, const T* partial, const T* variance,
                                 T epsilon, int64 chunks, int64 features,
                                 bool accumulate_gradients, T* dgamma, T* dbeta, T* totals) {
    const int lane = threadIdx.x % WARP;
    for (int64 f : threads.warp_units(features)) {
        double sums[2] = {};
        for (int64 chunk = lane; chunk < chunks; chunk += WARP)
            for (int s = 0; s < 2; ++s) sums[s] += partial[(chunk * 2 + s) * features + f];
        for (int s = 0; s < 2; ++s) sums[s] = warp_sum(sums[s]);
        if (lane > 0) continue;
        totals[f] = T(sums[0]);
        totals[features + f] = T(sums[1]) / math::sqrt(variance[f] + epsilon);
        if (dbeta) dbeta[f] = totals[f] + (accumulate_gradients ? dbeta[f] : T(0));
        if (dgamma) dgamma[f] = totals[features + f] + (accumulate_gradients ? dgamma[f] : T(0));
    }
}

// out (+)= gamma / sqrt(variance + epsilon) (dy - mean(dy) - n mean(dy n)), with n the normalized x
// and means over the batch. Without totals, mean and variance are constants.
template <typename T>
ELEMENT_PART void normalize_gradient(ThreadGroup threads, ROW_SLICED const T* x,
                                     ROW_SLICED const T* dy, const T* mean, const T* variance,
                                     const T* gamma, T epsilon, const T* totals, T one_nth, int64 n,
                                     uint32 features, uint32 inner, bool accumulate,
                                     ROW_SLICED T* out) {
    FeatureWalk walk(threads, features, inner);
    for (int64 i : threads.elements(n)) {
        const uint32 f = walk.feature();
        T slope = dy[i];
        if (totals) {
            const T normal = (x[i] - mean[f]) / math::sqrt(variance[f] + epsilon);
            slope -= (totals[f] + normal * totals[features + f]) * one_nth;
        }
        slope *= scale_of(variance, gamma, epsilon, f);
        out[i] = accumulate ? out[i] + slope : slope;
        walk.go_on();
    }
}

// out = (x - mean) gamma / sqrt(variance + epsilon) + beta with the mean and variance of the row.
// If `mean` is null, 0 is used. One warp for each row.
template <typename T>
ROW_PART void layer_norm(ThreadGroup threads, ROW_SLICED const T* x, const T* gamma, const T* beta,
                         T epsilon, int64 rows, int64 features, ROW_SLICED T* mean,
                         ROW_SLICED T* variance, ROW_SLICED T* out) {
    const int lane = threadIdx.x % WARP;
    for (int64 r : threads.rows(rows)) {
        const T* row = x + r * features;
        T* result = out + r * features;
        T middle = T(0);
        if (mean) {  // from differences, so that a large mean is accurate
            T sum = T(0);
            for (int64 c = lane; c < features; c += WARP) sum += row[c] - row[0];
            middle = row[0] + warp_sum(sum) / T(features);
        }
        T squares = T(0);
        for (int64 c = lane; c < features; c += WARP)
            squares += (row[c] - middle) * (row[c] - middle);
        const T spread = warp_sum(squares) / T(features);
        const T inverse = T(1) / math::sqrt(spread + epsilon);
        for (int64 c = lane; c < features; c += WARP) {
            const T y = (row[c] - middle) * inverse * (gamma ? gamma[c] : T(1));
            result[c] = beta ? y + beta[c] : y;
        }
        if (lane == 0) {
            if (mean) mean[r] = middle;
            variance[r] = spread;
        }
    }
}

// Its gradient: with g = dy gamma and n the normalized row, out (+)= (g - mean(g) - n mean(g n)) /
// sqrt(variance + epsilon), without mean(g) if `mean` is null; product = dy n, whose column sums
// are the gradient of gamma.
template <typename T>
ROW_PART void layer_norm_gradient(ThreadGroup threads, ROW_SLICED const T* x,
                                  ROW_SLICED const T* dy, const T* gamma, T epsilon, int64 rows,
                                  int64 features, ROW_SLICED const T* mean,
                                  ROW_SLICED const T* variance, bool accumulate,
                                  ROW_SLICED T* product, ROW_SLICED T* out) {
    const int lane = threadIdx.x % WARP;
    for (int64 r : threads.rows(rows)) {
        const int64 start = r * features;
        const T middle = mean ? mean[r] : T(0);
        const T inverse = T(1) / math::sqrt(variance[r] + epsilon);
        T sum = T(0), along = T(0);
        for (int64 c = lane; c < features; c += WARP) {
            const T term = dy[start + c] * ((x[start + c] - middle) * inverse);
            if (product) product[start + c] = term;
            sum += dy[start + c] * (gamma ? gamma[c] : T(1));
            along += term * (gamma ? gamma[c] : T(1));
        }
        if (!out) continue;
        sum = mean ? warp_sum(sum) / T(features) : T(0);
        along = warp_sum(along) / T(features);
        for (int64 c = lane; c < features; c += WARP) {
            const int64 i = start + c;
            const T normal = (x[i] - middle) * inverse;
            const T slope = (dy[i] * (gamma ? gamma[c] : T(1)) - sum - normal * along) * inverse;
            out[i] = accumulate ? out[i] + slope : slope;
        }
    }
}
