// Losses: one row's loss is the sum of value() over its classes, and its gradient with respect to
// prediction y is slope(). t is the target there. What a formula needs to know of the row as a
// whole stands in `Row`; a loss with neither `whole_row` nor `compares` looks at one element alone.
#pragma once
#include "math.cuh"

template <typename T> struct Row {
    T classes;
    T maximum;  // largest prediction; where a loss compares, largest score()
    T sum;      // sum over the row of term()
    T mass;     // sum over the row of mass()
    T weight;   // sum over the row of weight(), where a loss compares
};

// l = mean (y - t)^2
template <typename T> struct MeanSquaredError : Loss {
    HD explicit MeanSquaredError(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const { return (y - t) * (y - t) / row.classes; }
    HD T slope(T t, T y, const Row<T>& row) const { return T(2) * (y - t) / row.classes; }
};

// l = 1/2 sum (y - t)^2
template <typename T> struct HalfSquaredError : Loss {
    HD explicit HalfSquaredError(const double*) {}
    HD T value(T t, T y, const Row<T>&) const { return T(0.5) * (y - t) * (y - t); }
    HD T slope(T t, T y, const Row<T>&) const { return y - t; }
};

// Probabilities are kept this far from 0 and 1, and divisors from 0, as in Keras.
template <typename T> HD T margin() { return T(1e-7); }

// The costs -log p of probabilities that are kept so, and the logits log(p / (1 - p)). In float the
// largest p is 1 - 2^-23: 1 - 1e-7 rounded.
template <typename T> HD T least_cost() {
    return sizeof(T) == 4 ? T(1.1920929665620916e-07) : T(1.0000000494736474e-07);
}
template <typename T> HD T largest_cost() { return T(16.11809565095832); }
template <typename T> HD T least_logit() { return T(-16.118095550958316); }
template <typename T> HD T largest_logit() {
    return sizeof(T) == 4 ? T(15.942385033669446) : T(16.11809555148467);
}

// l = -mean (t log p + (1 - t) log(1 - p)), p = y kept off 0 and 1
template <typename T> struct BinaryCrossentropy : Loss {
    enum { LABEL_SMOOTHING };
    T smoothing;
    HD explicit BinaryCrossentropy(const double* parameters)
        : smoothing(T(parameters[LABEL_SMOOTHING])) {}
    HD T target(T t, T) const { return t * (T(1) - smoothing) + T(0.5) * smoothing; }
    HD T clipped(T y) const {
        return math::clip(y, margin<T>(), T(1) - margin<T>());
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

// The same from logits: l = mean (max(z, 0) - z t + log(1 + exp(-|z|))), slope sigmoid(z) - t.
// `clipped`: the value, not the slope, is that of probabilities kept off 0 and 1.
template <typename T> struct SigmoidCrossentropy : Loss {
    enum { LABEL_SMOOTHING, CLIPPED };
    T smoothing, low, high, least;
    HD explicit SigmoidCrossentropy(const double* parameters)
        : smoothing(T(parameters[LABEL_SMOOTHING])), low(math::minus_infinity<T>()), high(-low),
          least(T(0)) {
        if (parameters[CLIPPED] == 0) return;
        low = least_logit<T>();
        high = largest_logit<T>();
        least = least_cost<T>();
    }
    HD T target(T t, T) const { return t * (T(1) - smoothing) + T(0.5) * smoothing; }
    HD T value(T t, T z, const Row<T>& row) const {
        const T factor = z > T(0) ? T(1) - t : -t;  // 0 times infinity is 0 here
        const T linear = factor == T(0) ? T(0) : factor * math::clip(z, low, high);
        const T rest = math::log1p(math::exp(-math::abs(z)));
        return (linear + (rest < least ? least : rest)) / row.classes;
    }
    HD T slope(T t, T z, const Row<T>& row) const { return (math::sigmoid(z) - t) / row.classes; }
};

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

// l = mean |y - t|
template <typename T> struct MeanAbsoluteError : Loss {
    HD explicit MeanAbsoluteError(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const { return math::abs(y - t) / row.classes; }
    HD T slope(T t, T y, const Row<T>& row) const { return math::sign(y - t) / row.classes; }
};

// l = 100 mean (|y - t| / |t|)
template <typename T> struct MeanAbsolutePercentageError : Loss {
    HD explicit MeanAbsolutePercentageError(const double*) {}
    HD T factor(T t, const Row<T>& row) const {
        const T size = math::abs(t);
        return T(100) / (size < margin<T>() ? margin<T>() : size) / row.classes;
    }
    HD T value(T t, T y, const Row<T>& row) const { return math::abs(y - t) * factor(t, row); }
    HD T slope(T t, T y, const Row<T>& row) const { return math::sign(y - t) * factor(t, row); }
};

// l = mean (log(1 + y) - log(1 + t))^2
template <typename T> struct MeanSquaredLogarithmicError : Loss {
    HD explicit MeanSquaredLogarithmicError(const double*) {}
    HD T positive(T x) const { return x < margin<T>() ? margin<T>() : x; }
    HD T error(T t, T y) const { return math::log1p(positive(y)) - math::log1p(positive(t)); }
    HD T value(T t, T y, const Row<T>& row) const {
        return error(t, y) * error(t, y) / row.classes;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T p = positive(y);
        return p == y ? T(2) * error(t, y) / (T(1) + p) / row.classes : T(0);
    }
};

// l = mean c (e - c / 2) with e = y - t, and c = e kept within delta
template <typename T> struct Huber : Loss {
    enum { DELTA };
    T delta;
    HD explicit Huber(const double* parameters) : delta(T(parameters[DELTA])) {}
    HD T value(T t, T y, const Row<T>& row) const {
        const T c = math::clip(y - t, -delta, delta);
        return c * (y - t - T(0.5) * c) / row.classes;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        return math::clip(y - t, -delta, delta) / row.classes;
    }
};

// l = mean log(cosh(y - t))
template <typename T> struct LogCosh : Loss {
    HD explicit LogCosh(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const {
        const T size = math::abs(y - t);
        return (size + math::log1p(T(0.5) * math::expm1(T(-2) * size))) / row.classes;
    }
    HD T slope(T t, T y, const Row<T>& row) const { return math::tanh(y - t) / row.classes; }
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

// l = sum t log(t / p), both kept within [1e-7, 1]
template <typename T> struct KLDivergence : Loss {
    HD explicit KLDivergence(const double*) {}
    HD T clipped(T y) const { return math::clip(y, margin<T>(), T(1)); }
    HD T value(T t, T y, const Row<T>&) const {
        return clipped(t) * math::log(clipped(t) / clipped(y));
    }
    HD T slope(T t, T y, const Row<T>&) const {
        return clipped(y) == y ? -(clipped(t) / y) : T(0);
    }
};

// l = mean (y - t log y)
template <typename T> struct Poisson : Loss {
    HD explicit Poisson(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const {
        return (y - t * math::log(y + margin<T>())) / row.classes;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        return (T(1) - t / (y + margin<T>())) / row.classes;
    }
};

// The class as -1 or 1, from these or from 0 or 1.
template <typename T> HD T side(T t) { return t == T(0) ? T(-1) : t; }

// l = mean max(1 - t y, 0)
template <typename T> struct Hinge : Loss {
    HD explicit Hinge(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const {
        const T missing = T(1) - side(t) * y;
        return missing < T(0) ? T(0) : missing / row.classes;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T missing = T(1) - side(t) * y;
        return -(missing < T(0) ? T(0) : math::sign(missing)) * side(t) / row.classes;
    }
};

// l = mean max(1 - t y, 0)^2
template <typename T> struct SquaredHinge : Loss {
    HD explicit SquaredHinge(const double*) {}
    HD T missing(T t, T y) const {
        const T lacks = T(1) - side(t) * y;
        return lacks < T(0) ? T(0) : lacks;
    }
    HD T value(T t, T y, const Row<T>& row) const {
        return missing(t, y) * missing(t, y) / row.classes;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        return T(-2) * side(t) * missing(t, y) / row.classes;
    }
};

// l = mean max(-t y, 0); where y = 0 its slope is that of the wrong side
template <typename T> struct PerceptronCriterion : Loss {
    HD explicit PerceptronCriterion(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const {
        const T depth = -side(t) * y;
        return depth < T(0) ? T(0) : depth / row.classes;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        return -side(t) * y >= T(0) ? -side(t) / row.classes : T(0);
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
