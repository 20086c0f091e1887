// Losses: what is added up over a row, of a target t and a prediction y, and its slope.
// Written by `make formulas` from `cost` and `slope` in gpunn/losses; do not edit.
#pragma once
#include "elements.cuh"

// l = mean_j -(t log p + (1 - t) log(1 - p)) over the last axis.
template <typename T> struct BinaryCrossentropy : Loss {
    enum { LABEL_SMOOTHING };
    T one_minus_label_smoothing, shift;
    HD explicit BinaryCrossentropy(const double* p)
        : one_minus_label_smoothing(T(1 - p[LABEL_SMOOTHING])),
            shift(T(0.5 * p[LABEL_SMOOTHING])) {}
    HD T value(T t, T y, const Row<T>& row) const {
        const T target = t * one_minus_label_smoothing + shift;
        const T p = elements::clip(y, T(1e-07), T(0.9999999));
        return (-(target * elements::log(p) + (T(1) - target) * elements::log(T(1) - p))) *
            row.share;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T p = elements::clip(y, T(1e-07), T(0.9999999));
        const T target = t * one_minus_label_smoothing + shift;
        return (p == y ? (p - target) / (p * (T(1) - p)) : T(0)) * row.share;
    }
};

// l = mean_j -(t log p + (1 - t) log(1 - p)) over the last axis. With from_logits.
template <typename T> struct SigmoidCrossentropy : Loss {
    enum { LABEL_SMOOTHING };
    T one_minus_label_smoothing, shift;
    HD explicit SigmoidCrossentropy(const double* p)
        : one_minus_label_smoothing(T(1 - p[LABEL_SMOOTHING])),
            shift(T(0.5 * p[LABEL_SMOOTHING])) {}
    HD T value(T t, T y, const Row<T>& row) const {
        const T target = t * one_minus_label_smoothing + shift;
        const T factor = T(y > T(0)) - target;
        const T e = elements::exp(-elements::abs(y));
        const T rest = elements::log1p(e);
        return ((factor == T(0) ? T(0) : factor * y) + rest) * row.share;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T e = elements::exp(-elements::abs(y));
        const T above = T(1) / (T(1) + e);
        const T target = t * one_minus_label_smoothing + shift;
        return ((y > T(0) ? above : e * above) - target) * row.share;
    }
};

// l = mean_j -(t log p + (1 - t) log(1 - p)) over the last axis. With from_logits and clipped.
template <typename T> struct SigmoidCrossentropyKept : Loss {
    enum { LABEL_SMOOTHING };
    T one_minus_label_smoothing, shift;
    HD explicit SigmoidCrossentropyKept(const double* p)
        : one_minus_label_smoothing(T(1 - p[LABEL_SMOOTHING])),
            shift(T(0.5 * p[LABEL_SMOOTHING])) {}
    HD T value(T t, T y, const Row<T>& row) const {
        const T target = t * one_minus_label_smoothing + shift;
        const T factor = T(y > T(0)) - target;
        const T z = elements::clip(y, T(-16.118095550958316), T(sizeof(T) == 4 ? 15.942384719848633
            : 16.11809555148467));
        const T e = elements::exp(-elements::abs(y));
        const T rest = elements::at_least(elements::log1p(e), T(sizeof(T) == 4 ?
            1.1920930376163597e-07 : 1.0000000494736474e-07));
        return ((factor == T(0) ? T(0) : factor * z) + rest) * row.share;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T e = elements::exp(-elements::abs(y));
        const T above = T(1) / (T(1) + e);
        const T target = t * one_minus_label_smoothing + shift;
        return ((y > T(0) ? above : e * above) - target) * row.share;
    }
};

// l = -sum_j t_j log p_j over the last axis; y_true holds a target for each class.
template <typename T> struct CategoricalCrossentropy : Loss {
    enum { LABEL_SMOOTHING };
    T one_minus_label_smoothing, label_smoothing;
    HD explicit CategoricalCrossentropy(const double* p)
        : one_minus_label_smoothing(T(1 - p[LABEL_SMOOTHING])),
            label_smoothing(T(p[LABEL_SMOOTHING])) {}
    static constexpr int sums = 1;
    static constexpr bool has_mass = true;
    HD T target(T t, T classes) const {
        return t * one_minus_label_smoothing + label_smoothing / classes;
    }
    HD T term(T, T y, const Row<T>&) const { return y; }
    HD T mass(T t, T y, const Row<T>& row) const {
        const T q = y / row.sum;
        const T p = elements::clip(q, T(1e-07), T(0.9999999));
        return p == q ? t : T(0);
    }
    HD T value(T t, T y, const Row<T>& row) const {
        const T q = y / row.sum;
        const T p = elements::clip(q, T(1e-07), T(0.9999999));
        const T logs = elements::log(p);
        return -(t * logs);
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T q = y / row.sum;
        const T p = elements::clip(q, T(1e-07), T(0.9999999));
        const T inside = p == q ? t : T(0);
        return row.mass / row.sum - inside / (p * row.sum);
    }
};

// l = -sum_j t_j log p_j over the last axis; y_true holds a target for each class. With
// from_logits.
template <typename T> struct SoftmaxCrossentropy : Loss {
    enum { LABEL_SMOOTHING };
    T one_minus_label_smoothing, label_smoothing;
    HD explicit SoftmaxCrossentropy(const double* p)
        : one_minus_label_smoothing(T(1 - p[LABEL_SMOOTHING])),
            label_smoothing(T(p[LABEL_SMOOTHING])) {}
    static constexpr bool whole_row = true;
    static constexpr int sums = 2;
    HD T target(T t, T classes) const {
        return t * one_minus_label_smoothing + label_smoothing / classes;
    }
    HD T term(T, T y, const Row<T>& row) const {
        const T z = y - row.maximum;
        return elements::exp(z);
    }
    HD T weight(T t, T, const Row<T>&) const { return t; }
    HD T value(T t, T y, const Row<T>& row) const {
        const T z = y - row.maximum;
        const T costs = elements::log(row.sum) - z;
        return t * (t == T(0) ? T(0) : costs);
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T z = y - row.maximum;
        const T e = elements::exp(z);
        return e * row.weight / row.sum - t;
    }
};

// l = -sum_j t_j log p_j over the last axis; y_true holds a target for each class. With from_logits
// and clipped.
template <typename T> struct SoftmaxCrossentropyKept : Loss {
    enum { LABEL_SMOOTHING };
    T one_minus_label_smoothing, label_smoothing;
    HD explicit SoftmaxCrossentropyKept(const double* p)
        : one_minus_label_smoothing(T(1 - p[LABEL_SMOOTHING])),
            label_smoothing(T(p[LABEL_SMOOTHING])) {}
    static constexpr bool whole_row = true;
    static constexpr int sums = 2;
    HD T target(T t, T classes) const {
        return t * one_minus_label_smoothing + label_smoothing / classes;
    }
    HD T term(T, T y, const Row<T>& row) const {
        const T z = y - row.maximum;
        return elements::exp(z);
    }
    HD T weight(T t, T, const Row<T>&) const { return t; }
    HD T value(T t, T y, const Row<T>& row) const {
        const T z = y - row.maximum;
        const T costs = elements::clip(elements::log(row.sum) - z, T(sizeof(T) == 4 ?
            1.1920930376163597e-07 : 1.0000000494736474e-07), T(16.11809565095832));
        return t * (t == T(0) ? T(0) : costs);
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T z = y - row.maximum;
        const T e = elements::exp(z);
        return e * row.weight / row.sum - t;
    }
};

// l = sum_j t_j log(t_j / p_j) over the last axis: how far p is from the true t.
template <typename T> struct KLDivergence : Loss {
    HD explicit KLDivergence(const double*) {}
    HD T value(T t, T y, const Row<T>&) const {
        const T q = elements::clip(t, T(1e-07), T(1));
        return q * elements::log(q / elements::clip(y, T(1e-07), T(1)));
    }
    HD T slope(T t, T y, const Row<T>&) const {
        const T p = elements::clip(y, T(1e-07), T(1));
        return p == y ? -(elements::clip(t, T(1e-07), T(1)) / p) : T(0);
    }
};

// l = mean_j (p_j - t_j log(p_j + 1e-7)) for counts t and the rates p predicted for them.
template <typename T> struct Poisson : Loss {
    HD explicit Poisson(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const {
        return (y - t * elements::log(y + T(1e-07))) * row.share;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        return (T(1) - t / (y + T(1e-07))) * row.share;
    }
};

// l = mean_j max(1 - t_j y_j, 0) with t = -1 or 1; dl/dy = -t / n where t y < 1, else 0.
template <typename T> struct Hinge : Loss {
    HD explicit Hinge(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const {
        return elements::at_least(T(1) - (t - T(t == T(0))) * y, T(0)) * row.share;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T s = t - T(t == T(0));
        return (-(elements::sign(elements::at_least(T(1) - s * y, T(0))) * s)) * row.share;
    }
};

// l = mean_j max(1 - t_j y_j, 0)^2 with t = -1 or 1 (0 counts as -1).
template <typename T> struct SquaredHinge : Loss {
    HD explicit SquaredHinge(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const {
        return elements::square(elements::at_least(T(1) - (t - T(t == T(0))) * y, T(0))) *
            row.share;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T s = t - T(t == T(0));
        return (T(-2) * (elements::at_least(T(1) - s * y, T(0)) * s)) * row.share;
    }
};

// l = mean_j max(-t_j y_j, 0) with t = -1 or 1 (0 counts as -1): Rosenblatt's criterion.
template <typename T> struct PerceptronCriterion : Loss {
    HD explicit PerceptronCriterion(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const {
        return elements::at_least(-((t - T(t == T(0))) * y), T(0)) * row.share;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T s = t - T(t == T(0));
        return (s * y <= T(0) ? -s : T(0)) * row.share;
    }
};

// l = max(0, 1 + max_j (1 - t_j) y_j - sum_j t_j y_j) for one-hot t over the last axis.
template <typename T> struct CategoricalHinge : Loss {
    HD explicit CategoricalHinge(const double*) {}
    static constexpr bool compares = true;
    static constexpr int sums = 2;
    static constexpr bool of_row = true;
    HD T score(T t, T y) const {
        const T a = T(1) - t;
        return a * (a == T(0) && y == y ? T(0) : y);
    }
    HD T term(T t, T y, const Row<T>&) const { return t * (t == T(0) && y == y ? T(0) : y); }
    HD T weight(T t, T y, const Row<T>& row) const {
        const T a = T(1) - t;
        const T others = a * (a == T(0) && y == y ? T(0) : y);
        return T(others == row.maximum);
    }
    HD T whole(const Row<T>& row) const {
        return elements::at_least(row.maximum - row.sum + T(1), T(0));
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T a = T(1) - t;
        const T others = a * (a == T(0) && y == y ? T(0) : y);
        const T hits = T(others == row.maximum);
        const T share = hits / row.weight * a;
        const T cost = elements::at_least(row.maximum - row.sum + T(1), T(0));
        return (share - t) * elements::sign(cost);
    }
};

// l = mean_j (y_j - t_j)^2 over the last axis; dl/dy = 2 (y - t) / n.
template <typename T> struct MeanSquaredError : Loss {
    HD explicit MeanSquaredError(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const { return elements::square(y - t) * row.share; }
    HD T slope(T t, T y, const Row<T>& row) const { return (T(2) * (y - t)) * row.share; }
};

// l = 1/2 sum_j (y_j - t_j)^2 over the last axis; dl/dy = y - t.
template <typename T> struct HalfSquaredError : Loss {
    HD explicit HalfSquaredError(const double*) {}
    HD T value(T t, T y, const Row<T>&) const { return T(0.5) * elements::square(y - t); }
    HD T slope(T t, T y, const Row<T>&) const { return y - t; }
};

// l = ||y - t||, the unsquared norm over the last axis; dl/dy = (y - t) / ||y - t||.
template <typename T> struct EuclideanDistance : Loss {
    HD explicit EuclideanDistance(const double*) {}
    static constexpr bool compares = true;
    static constexpr int sums = 1;
    static constexpr bool of_row = true;
    HD T score(T t, T y) const {
        const T x = y - t;
        return elements::abs(x);
    }
    HD T term(T t, T y, const Row<T>& row) const {
        const T x = y - t;
        const T unit = row.maximum + T(row.maximum == T(0));
        const T part = x / unit;
        return elements::square(part);
    }
    HD T whole(const Row<T>& row) const {
        const T unit = row.maximum + T(row.maximum == T(0));
        return elements::sqrt(row.sum) * unit;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T x = y - t;
        const T unit = row.maximum + T(row.maximum == T(0));
        const T part = x / unit;
        return part / elements::sqrt(elements::at_least(row.sum, T(1)));
    }
};

// l = mean_j |y_j - t_j|; dl/dy = sign(y - t) / n, 0 where y = t.
template <typename T> struct MeanAbsoluteError : Loss {
    HD explicit MeanAbsoluteError(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const { return elements::abs(y - t) * row.share; }
    HD T slope(T t, T y, const Row<T>& row) const { return elements::sign(y - t) * row.share; }
};

// l = 100 mean_j |y_j - t_j| / max(|t_j|, 1e-7); a target of 0 makes it huge.
template <typename T> struct MeanAbsolutePercentageError : Loss {
    HD explicit MeanAbsolutePercentageError(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const {
        return (elements::abs(y - t) * (T(100) / elements::at_least(elements::abs(t), T(1e-07)))) *
            row.share;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        return (elements::sign(y - t) * (T(100) / elements::at_least(elements::abs(t), T(1e-07)))) *
            row.share;
    }
};

// l = mean_j (log(1 + y_j) - log(1 + t_j))^2: an error by a factor, whatever the size.
template <typename T> struct MeanSquaredLogarithmicError : Loss {
    HD explicit MeanSquaredLogarithmicError(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const {
        return elements::square(elements::log1p(elements::at_least(y, T(1e-07))) -
            elements::log1p(elements::at_least(t, T(1e-07)))) * row.share;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T p = elements::at_least(y, T(1e-07));
        return (p == y ? T(2) * (elements::log1p(p) - elements::log1p(elements::at_least(t,
            T(1e-07)))) / (T(1) + p) : T(0)) * row.share;
    }
};

// Squared for small errors, absolute for large ones (Huber, 1964).
template <typename T> struct Huber : Loss {
    enum { DELTA };
    T least, delta;
    HD explicit Huber(const double* p)
        : least(T(-p[DELTA])), delta(T(p[DELTA])) {}
    HD T value(T t, T y, const Row<T>& row) const {
        const T e = y - t;
        const T c = elements::clip(e, least, delta);
        return (c * (e - T(0.5) * c)) * row.share;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        return elements::clip(y - t, least, delta) * row.share;
    }
};

// l = mean_j log(cosh(y_j - t_j)): e^2 / 2 for small errors, |e| - log 2 for large ones.
template <typename T> struct LogCosh : Loss {
    HD explicit LogCosh(const double*) {}
    HD T value(T t, T y, const Row<T>& row) const {
        const T size = elements::abs(y - t);
        return (size + elements::log1p(T(0.5) * elements::expm1(T(-2) * size))) * row.share;
    }
    HD T slope(T t, T y, const Row<T>& row) const { return elements::tanh(y - t) * row.share; }
};

// l = -(y . t) / (||y|| ||t||): -1 if both point the same way, whatever their lengths.
template <typename T> struct CosineSimilarity : Loss {
    HD explicit CosineSimilarity(const double*) {}
    static constexpr bool compares = true;
    static constexpr int sums = 2;
    static constexpr bool has_mass = true;
    static constexpr bool of_row = true;
    HD T score(T, T y) const { return elements::abs(y); }
    HD T term(T t, T y, const Row<T>& row) const {
        const T unit = row.maximum + T(row.maximum == T(0));
        const T part = y / unit;
        return part * t;
    }
    HD T weight(T, T y, const Row<T>& row) const {
        const T unit = row.maximum + T(row.maximum == T(0));
        const T part = y / unit;
        return elements::square(part);
    }
    HD T mass(T t, T, const Row<T>&) const { return elements::square(t); }
    HD T whole(const Row<T>& row) const {
        const T length = elements::sqrt(elements::at_least(row.weight, T(1)));
        const T target = elements::sqrt(row.mass + T(row.mass == T(0)));
        const T along = row.sum / length / target;
        return -along;
    }
    HD T slope(T t, T y, const Row<T>& row) const {
        const T unit = row.maximum + T(row.maximum == T(0));
        const T part = y / unit;
        const T length = elements::sqrt(elements::at_least(row.weight, T(1)));
        const T target = elements::sqrt(row.mass + T(row.mass == T(0)));
        const T along = row.sum / length / target;
        const T something = T(row.weight != T(0));
        return (part * (along / length) - t / target) * (something / (length * unit));
    }
};
