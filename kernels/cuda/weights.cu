// The common scale of the weights of a batch.
#include "../formulas/math.cuh"
#include "threads.cuh"

// scale[0] = the power of 2 that scales the largest finite weight to at most `unit`. `unit` is a
// power of 2.
template <typename T>
LAST_PART void weight_scale(ThreadGroup threads, const T* weights, int64 rows, double unit,
                         double* scale) {
    const volatile T* all_weights = weights;
    double largest = 0;
    for (int64 r : threads.across(0, rows)) {
        const double weight = math::abs(double(all_weights[r]));
        if (weight > largest && math::is_finite(weight)) largest = weight;
    }
    largest = block_largest(largest);
    if (largest < 1e-280) largest = 1e-280;  // the scale must be finite
    if (threads.rank == 0)
        scale[0] = math::times_power_of_2(unit, -1 - math::exponent(largest));
}
