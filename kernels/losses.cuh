// Losses: one row's loss is the sum of value() over its classes, and its gradient with respect to
// prediction y is slope(). t is the target there. What a formula needs to know of the row as a
// whole stands in `Row`; a loss with `whole_row = false` looks at one element alone.
#include "math.cuh"

template <typename T> struct Row {
    T classes;
    T maximum;  // largest prediction
    T sum;      // sum over the row of term()
    T mass;     // sum over the row of mass()
};

// l = mean (y - t)^2
template <typename T> struct MeanSquaredError : Loss {
    static constexpr bool whole_row = false;
    HD explicit MeanSquaredError(const double*) {}
    HD T target(T t, T) const { return t; }
    HD T value(T t, T y, const Row<T>& row) const { return (y - t) * (y - t) / row.classes; }
    HD T slope(T t, T y, const Row<T>& row) const { return T(2) * (y - t) / row.classes; }
};

// l = 1/2 sum (y - t)^2
template <typename T> struct HalfSquaredError : Loss {
    static constexpr bool whole_row = false;
    HD explicit HalfSquaredError(const double*) {}
    HD T target(T t, T) const { return t; }
    HD T value(T t, T y, const Row<T>&) const { return T(0.5) * (y - t) * (y - t); }
    HD T slope(T t, T y, const Row<T>&) const { return y - t; }
};

// The probabilities of a cross-entropy are kept this far from 0 and 1, as in Keras.
template <typename T> HD T probability_margin() { return T(1e-7); }

// l = -mean (t log p + (1 - t) log(1 - p)), p = y kept off 0 and 1
template <typename T> struct BinaryCrossentropy : Loss {
    static constexpr bool whole_row = false;
    T smoothing;
    HD explicit BinaryCrossentropy(const double* parameters) : smoothing(T(parameters[0])) {}
    HD T target(T t, T) const { return t * (T(1) - smoothing) + T(0.5) * smoothing; }
    HD T clipped(T y) const {
        return math::clip(y, probability_margin<T>(), T(1) - probability_margin<T>());
    }
    HD T value(T t, T y, const Row<T>& row) const {
        const T p = clipped(y);
        return -(t * math::log(p) + (T(1) - t) * math::log(T(1) - p)) / row.classes;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T p = clipped(y);
        return p == y ? (p - t) / (p * (T(1) - p)) / row.classes : T(0);
    }
};

// The same from logits: l = mean (max(z, 0) - z t + log(1 + exp(-|z|))), slope sigmoid(z) - t
template <typename T> struct SigmoidCrossentropy : Loss {
    static constexpr bool whole_row = false;
    T smoothing;
    HD explicit SigmoidCrossentropy(const double* parameters) : smoothing(T(parameters[0])) {}
    HD T target(T t, T) const { return t * (T(1) - smoothing) + T(0.5) * smoothing; }
    HD T value(T t, T z, const Row<T>& row) const {
        const T factor = z > T(0) ? T(1) - t : -t;  // 0 times infinity is 0 here
        const T linear = factor == T(0) ? T(0) : factor * z;
        return (linear + math::log1p(math::exp(-math::abs(z)))) / row.classes;
    }
    HD T slope(T t, T z, const Row<T>& row) const { return (math::sigmoid(z) - t) / row.classes; }
};

// l = -sum t log q, q = y / sum y kept off 0 and 1.
// A q at its limit does not move with y, but it did count in the sum.
template <typename T> struct CategoricalCrossentropy : Loss {
    static constexpr bool whole_row = true;
    T smoothing;
    HD explicit CategoricalCrossentropy(const double* parameters) : smoothing(T(parameters[0])) {}
    HD T target(T t, T classes) const { return t * (T(1) - smoothing) + smoothing / classes; }
    HD T clipped(T q) const {
        return math::clip(q, probability_margin<T>(), T(1) - probability_margin<T>());
    }
    HD T term(T y, T) const { return y; }
    HD T mass(T t, T y, const Row<T>& row) const {
        const T q = y / row.sum;
        return clipped(q) == q ? t : T(0);
    }
    HD T value(T t, T y, const Row<T>& row) const {
        return t == T(0) ? T(0) : -t * math::log(clipped(y / row.sum));
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        return row.mass / row.sum - (mass(t, y, row) == T(0) ? T(0) : t / y);
    }
};

// The same from logits: l = sum t (log sum exp(z - m) - (z - m)) with m the largest z, so that
// no exponent is above 0; slope softmax(z) sum t - t
template <typename T> struct SoftmaxCrossentropy : Loss {
    static constexpr bool whole_row = true;
    T smoothing;
    HD explicit SoftmaxCrossentropy(const double* parameters) : smoothing(T(parameters[0])) {}
    HD T target(T t, T classes) const { return t * (T(1) - smoothing) + smoothing / classes; }
    HD T term(T z, T maximum) const { return math::exp(z - maximum); }
    HD T mass(T t, T, const Row<T>&) const { return t; }
    HD T value(T t, T z, const Row<T>& row) const {
        return t == T(0) ? T(0) : t * (math::log(row.sum) - (z - row.maximum));
    }
    HD T slope(T t, T z, const Row<T>& row) const {
        return row.mass * math::exp(z - row.maximum) / row.sum - t;
    }
};
