// The end of the forward pass and the beginning of the backward pass: each row's loss, its gradient
// and whether the answer is right, by one warp a row; then the sums over the rows.
#include "../formulas/losses.cuh"
#include "threads.cuh"

// gradient = scale w dl/dy (none where it is null), for rows with weights w (1 where null);
// row_losses = w l and, with count_matches, row_matches = whether the answer is right.
// A row's target is a row of `targets`, or, where that is null, 1 at the class in `labels`.
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
        if constexpr (Loss<T>::whole_row) {
            for (int64 c = lane; c < classes; c += WARP) row.sum += loss.term(y[c], row.maximum);
            row.sum = warp_sum(row.sum);
            for (int64 c = lane; c < classes; c += WARP)
                row.mass += loss.mass(target(c), y[c], row);
            row.mass = warp_sum(row.mass);
        }
        if constexpr (Loss<T>::compares) {
            auto score = [&](int64 c) { return loss.score(target(c), y[c]); };
            row.maximum = largest_of(classes, lane, score).value;
            for (int64 c = lane; c < classes; c += WARP) {
                row.sum += loss.term(target(c), y[c], row);
                row.weight += loss.weight(target(c), y[c]);
            }
            row.sum = warp_sum(row.sum);
            row.weight = warp_sum(row.weight);
            for (int64 c = lane; c < classes; c += WARP)
                row.mass += loss.mass(target(c), y[c], row);
            row.mass = warp_sum(row.mass);
        }
        T value = T(0);
        for (int64 c = lane; c < classes; c += WARP) {
            value += loss.value(target(c), y[c], row);
            if (gradient) gradient[r * classes + c] = factor * loss.slope(target(c), y[c], row);
        }
        value = warp_sum(value);
        if (lane == 0) row_losses[r] = weight * value;
    }
}

// totals += (scale rows sum(w l), rows) and, with count_matches, right answers.
template <typename T>
LAST_PART void loss_totals(ThreadGroup threads, const T* row_losses, const bool* row_matches,
                           double scale, int64 rows, bool count_matches, double* totals) {
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
        totals[0] += scale * rows * sum;
        totals[1] += rows;
        if (count_matches) totals[2] += right;
    }
}
