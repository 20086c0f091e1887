// The end of the forward pass and the beginning of the backward pass: the loss of each row, its
// gradient and whether the prediction is correct, with one warp for each row; then the sums over
// the rows.
#include "../formulas/generated_losses.cuh"
#include "threads.cuh"

// gradient = scale w dl/dy (skipped if null), for rows with weights w (1 if null);
// row_losses = w l and, with count_matches, row_matches = whether the prediction is correct.
// The target of a row is a row of `targets` or, if that is null, one-hot at the class in `labels`.
template <typename T, template <typename> class Loss>
ROW_PART void loss_rows(ThreadGroup threads, ROW_SLICED const T* predictions,
                        ROW_SLICED const T* targets, ROW_SLICED const int32* labels,
                        ROW_SLICED const T* weights, const double* parameters, double scale,
                        int64 rows, int64 classes, bool count_matches, ROW_SLICED T* gradient,
                        ROW_SLICED T* row_losses, ROW_SLICED bool* row_matches) {
    const Loss<T> loss(parameters);
    const int lane = threadIdx.x % WARP;
    for (int64 r : threads.rows(rows)) {
        const T* y = predictions + r * classes;
        const T* t = targets ? targets + r * classes : nullptr;
        const int64 label = t ? -1 : labels[r];
        const T weight = weights ? weights[r] : T(1);
        const T factor = T(scale) * weight;
        auto target = [&](int64 c) { return loss.target(t ? t[c] : T(c == label), T(classes)); };

        Row<T> row = {T(classes), T(1) / T(classes), T(0), T(0), T(0), T(0)};
        if (count_matches || Loss<T>::whole_row) {
            const Placed<T> answer = row_largest(y, classes, lane);
            row.maximum = answer.value;
            if (count_matches) {
                const int64 truth = t ? row_largest(t, classes, lane).place : label;
                if (lane == 0) row_matches[r] = answer.place == truth;
            }
        }
        if constexpr (Loss<T>::compares) {
            auto score = [&](int64 c) { return loss.score(target(c), y[c]); };
            row.maximum = largest_of(classes, lane, score).value;
        }
        if constexpr (Loss<T>::sums > 0) {
            T sum = T(0), weight = T(0);
            for (int64 c = lane; c < classes; c += WARP) {
                sum += loss.term(target(c), y[c], row);
                if constexpr (Loss<T>::sums > 1) weight += loss.weight(target(c), y[c], row);
            }
            row.sum = warp_sum(sum);
            if constexpr (Loss<T>::sums > 1) row.weight = warp_sum(weight);
        }
        if constexpr (Loss<T>::has_mass) {
            T mass = T(0);
            for (int64 c = lane; c < classes; c += WARP) mass += loss.mass(target(c), y[c], row);
            row.mass = warp_sum(mass);
        }
        T value = T(0);
#pragma unroll 1  // no read may move before a write of `gradient`: unrolling costs registers alone
        for (int64 c = lane; c < classes; c += WARP) {
            if constexpr (!Loss<T>::of_row) value += loss.value(target(c), y[c], row);
            if (gradient) gradient[r * classes + c] = factor * loss.slope(target(c), y[c], row);
        }
        if constexpr (Loss<T>::of_row) value = loss.whole(row);
        else value = warp_sum(value);
        if (lane == 0) row_losses[r] = weight * value;
    }
}

// totals += (scale batch sum(w l), rows) and, with count_matches, the number of correct predictions.
template <typename T>
LAST_PART void loss_totals(ThreadGroup threads, const T* row_losses, const bool* row_matches,
                           double scale, int64 batch, int64 rows, bool count_matches,
                           double* totals) {
    const volatile T* all_losses = row_losses;
    const volatile bool* all_matches = row_matches;
    double sum = 0;
    int64 matches = 0;
    for (int64 r : threads.across(0, rows)) {
        sum += all_losses[r];
        if (count_matches) matches += all_matches[r];
    }
    sum = block_sum(sum);
    const double right = block_sum(double(matches));
    if (threads.rank == 0) {
        totals[0] += scale * batch * sum;
        totals[1] += rows;
        if (count_matches) totals[2] += right;
    }
}
