// Metrics: a row's value is the mean of value() over its classes, or, with `by_place`, 1 where the
// largest prediction stands where the largest target (or the label) does, else 0.
#include "math.cuh"

// t == (y > threshold)
template <typename T> struct BinaryAccuracy : Metric {
    static constexpr bool by_place = false;
    T threshold;
    HD explicit BinaryAccuracy(const double* parameters) : threshold(T(parameters[0])) {}
    HD T value(T t, T y) const { return t == (y > threshold ? T(1) : T(0)) ? T(1) : T(0); }
};

template <typename T> struct CategoricalAccuracy : Metric {
    static constexpr bool by_place = true;
    HD explicit CategoricalAccuracy(const double*) {}
};

template <typename T> struct SparseCategoricalAccuracy : Metric {
    static constexpr bool by_place = true;
    HD explicit SparseCategoricalAccuracy(const double*) {}
};
