// Losses: one row's loss is the sum of value() over its classes, and its gradient with respect to
// prediction y is slope(). t is the target there. What a formula needs to know of the row as a
// whole stands in `Row`; a loss with neither `whole_row` nor `compares` looks at one element alone.
#pragma once
#include "generated_losses.cuh"

// Probabilities are kept this far from 0 and 1, and divisors from 0, as in Keras.
template <typename T> HD T margin() { return T(1e-7); }

// The costs -log p of probabilities that are kept so, and the logits log(p / (1 - p)). In float the
// largest p is 1 - 2^-23: 1 - 1e-7 rounded.
template <typename T> HD T least_cost() {
    return sizeof(T) == 4 ? T(1.1920929665620916e-07) : T(1.0000000494736474e-07);
}
template <typename T> HD T largest_cost() { return T(16.11809565095832); }

// l = -sum t log q, q = y / sum y kept off 0 and 1.
// A q at its limit does not move with y, but it did count in the sum.
template <typename T> struct CategoricalCrossentropy : Loss {
    enum { LABEL_SMOOTHING };
    static constexpr bool whole_row = true;
    T smoothing;
    HD explicit CategoricalCrossentropy(const double* parameters)
        : smoothing(T(parameters[LABEL_SMOOTHING])) {}
    HD T target(T t, T classes) const { return t * (T(1) - smoothing) + smoothing / classes; }
    HD T clipped(T q) const {
        return math::clip(q, margin<T>(), T(1) - margin<T>());
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
// no exponent is above 0; slope softmax(z) sum t - t. `clipped` as above.
template <typename T> struct SoftmaxCrossentropy : Loss {
    enum { LABEL_SMOOTHING, CLIPPED };
    static constexpr bool whole_row = true;
    T smoothing, least, most;
    HD explicit SoftmaxCrossentropy(const double* parameters)
        : smoothing(T(parameters[LABEL_SMOOTHING])), least(math::minus_infinity<T>()),
          most(-least) {
        if (parameters[CLIPPED] == 0) return;
        least = least_cost<T>();
        most = largest_cost<T>();
    }
    HD T target(T t, T classes) const { return t * (T(1) - smoothing) + smoothing / classes; }
    HD T term(T z, T maximum) const { return math::exp(z - maximum); }
    HD T mass(T t, T, const Row<T>&) const { return t; }
    HD T value(T t, T z, const Row<T>& row) const {
        const T cost = math::log(row.sum) - (z - row.maximum);  // -log p
        return t == T(0) ? T(0) : t * math::clip(cost, least, most);
    }
    HD T slope(T t, T z, const Row<T>& row) const {
        return row.mass * math::exp(z - row.maximum) / row.sum - t;
    }
};

// l = ||y - t||, in units of the largest |y - t| so that no square overflows
template <typename T> struct EuclideanDistance : Loss {
    static constexpr bool compares = true;
    HD explicit EuclideanDistance(const double*) {}
    HD T score(T t, T y) const { return math::abs(y - t); }
    HD T part(T t, T y, const Row<T>& row) const {
        return (y - t) / (row.maximum == T(0) ? T(1) : row.maximum);
    }
    // At least 1 if the largest is one of the parts.
    HD T norm(const Row<T>& row) const { return math::sqrt(row.sum < T(1) ? T(1) : row.sum); }
    HD T term(T t, T y, const Row<T>& row) const { return part(t, y, row) * part(t, y, row); }
    HD T mass(T, T, const Row<T>&) const { return T(0); }
    HD T weight(T, T) const { return T(0); }
    HD T value(T t, T y, const Row<T>& row) const {
        return row.maximum * term(t, y, row) / norm(row);
    }
    HD T slope(T t, T y, const Row<T>& row) const { return part(t, y, row) / norm(row); }
};

// l = -(y . t) / (||y|| ||t||), y in units of its largest element
template <typename T> struct CosineSimilarity : Loss {
    static constexpr bool compares = true;
    HD explicit CosineSimilarity(const double*) {}
    HD T score(T, T y) const { return math::abs(y); }
    HD T unit(const Row<T>& row) const { return row.maximum == T(0) ? T(1) : row.maximum; }
    HD T length(const Row<T>& row) const { return math::sqrt(row.sum < T(1) ? T(1) : row.sum); }
    HD T lengths(const Row<T>& row) const {
        return length(row) * math::sqrt(row.weight == T(0) ? T(1) : row.weight);
    }
    HD T term(T, T y, const Row<T>& row) const { return y / unit(row) * (y / unit(row)); }
    HD T mass(T t, T y, const Row<T>& row) const { return t * (y / unit(row)); }
    HD T weight(T t, T) const { return t * t; }
    HD T value(T t, T y, const Row<T>& row) const { return -mass(t, y, row) / lengths(row); }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T along = row.mass / lengths(row) * (y / unit(row)) / length(row);
        const T target = t * length(row) / lengths(row);
        return row.sum == T(0) ? T(0) : (along - target) / (length(row) * unit(row));
    }
};

// l = max(0, 1 + max (1 - t) y - sum t y); the largest ones share its slope
template <typename T> struct CategoricalHinge : Loss {
    static constexpr bool compares = true;
    HD explicit CategoricalHinge(const double*) {}
    // 0 times infinity is 0; NaN stays NaN.
    HD T product(T a, T y) const { return a == T(0) && y == y ? T(0) : a * y; }
    HD T score(T t, T y) const { return product(T(1) - t, y); }
    HD T term(T t, T y, const Row<T>&) const { return product(t, y); }
    HD T mass(T t, T y, const Row<T>& row) const {
        return score(t, y) == row.maximum ? T(1) : T(0);
    }
    HD T weight(T, T) const { return T(0); }
    HD T missing(const Row<T>& row) const {
        const T lacks = row.maximum - row.sum + T(1);
        return lacks < T(0) ? T(0) : lacks;
    }
    HD T value(T, T, const Row<T>& row) const { return missing(row) / row.classes; }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T others = mass(t, y, row) / row.mass * (T(1) - t);
        return math::sign(missing(row)) * (others - t);
    }
};
