// Metrics. The value of a row is the mean of value() over its classes; or, with `by_place`, 1 if
// the largest prediction and the largest target (or the label) have the same index, else 0; or,
// with `by_rank`, 1 if hit() accepts the number of predictions larger than that at the label.
//
// Bins: the index of the bin that a prediction falls into, see `bin_rows`.
#pragma once
#include "math.cuh"

// A row whose predictions are assigned to bins, and the statistics of the row.
template <typename T> struct BinnedRow {
    const T* y;  // predictions
    int64 classes;
    const T* targets;  // or null
    int64 truth;       // the label; for a formula `by_place`, the index of the largest target
    Placed<T> largest;
    Placed<T> last;  // of the first `top` predictions; its place is `classes` if these are all

    HD bool in_top(int64 place) const {
        return last.place == classes || !precedes(last, Placed<T>{y[place], place});
    }
};

// Among every `step`-th element of a row from `first` on, returns the next after `last`, as
// `precedes` orders them; its place is n if there is none.
template <typename T>
HD Placed<T> next_behind(Placed<T> last, const T* row, int64 n, int64 first, int64 step) {
    Placed<T> next = {math::minus_infinity<T>(), n};
    for (int64 c = first; c < n; c += step) {
        const Placed<T> here = {row[c], c};
        if (precedes(last, here) && precedes(here, next)) next = here;
    }
    return next;
}

// The last of the `top` first elements of a row, in `top` passes over the row; `next(last)` finds
// the next after `last`. Its place is n if the row has no more than `top` elements.
template <typename T, typename F> HD Placed<T> last_of_top(int64 top, int64 n, F next) {
    Placed<T> last = {math::not_a_number<T>(), -1};  // before all
    if (top <= 0 || top >= n) last.place = n;
    for (; top > 0 && last.place < n; --top) last = next(last);
    return last;
}

// t == y
template <typename T> struct Accuracy : Metric {
    HD explicit Accuracy(const double*) {}
    HD T value(T t, T y) const { return t == y ? T(1) : T(0); }
};

// t == (y > threshold)
template <typename T> struct BinaryAccuracy : Metric {
    enum { THRESHOLD };
    T threshold;
    HD explicit BinaryAccuracy(const double* parameters) : threshold(T(parameters[THRESHOLD])) {}
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

// Fewer than k predictions exceed that at the label, if it is one of the classes, and that is not
// NaN; or, with sorted class ids instead of predictions, the label is among the first k.
template <typename T> struct TopK : Metric {
    enum { K, FROM_SORTED_IDS };
    static constexpr bool by_rank = true;
    int64 k;
    bool sorted;
    HD explicit TopK(const double* parameters)
        : k(int64(parameters[K])), sorted(parameters[FROM_SORTED_IDS] != 0) {}
    // Whether there is a prediction at the label, or none is needed: otherwise nothing is counted.
    HD bool knows(int64 label, int64 classes) const {
        return sorted || (label >= 0 && label < classes);
    }
    HD bool counts(T y, int64 place, const T* row, int64 label) const {
        return sorted ? place < k && y == T(label) : !(y <= row[label]);
    }
    HD bool hit(int64 count) const { return sorted ? count > 0 : count < k; }
};

// How many of some ascending thresholds are below y, for positive and for negative targets, and
// optionally for each class: bin = (class 2 + (t != 0)) levels + level.
template <typename T> struct Levels : Bins {
    enum { THRESHOLD_COUNT, TOP_K, ONLY_CLASS, BY_OUTPUT, FROM_LOGITS, LARGEST, ASCENDING };
    const double* thresholds;
    int64 count;    // of thresholds; there is one more level
    int64 class_;   // the only class that counts, or -1
    bool by_class;  // whether each class has its own bins
    bool logits;    // whether thresholds are compared with sigmoid(y)
    bool largest;   // level 1 is the largest of the row, instead of using thresholds
    HD explicit Levels(const double* parameters)
        : thresholds(parameters + ASCENDING), count(int64(parameters[THRESHOLD_COUNT])),
          class_(int64(parameters[ONLY_CLASS])), by_class(parameters[BY_OUTPUT] != 0),
          logits(parameters[FROM_LOGITS] != 0), largest(parameters[LARGEST] != 0) {
        top = int64(parameters[TOP_K]);  // the others are below all thresholds, unless 0
    }
    HD int64 level(T y) const {
        int64 low = 0, high = count;  // the thresholds before `low` are below y
        while (low < high) {
            const int64 middle = (low + high) / 2;
            if (y <= T(thresholds[middle])) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        return low;
    }
    HD int64 bin(const BinnedRow<T>& row, int64 column) const {
        const int64 place = class_ < 0 ? column : class_;
        const T y = row.y[place];
        int64 found;
        if (largest) {
            found = y == row.largest.value && math::abs(y) > T(1e-9);
        } else if (top && !row.in_top(place)) {
            found = 0;
        } else {
            found = level(logits ? math::sigmoid(y) : y);
        }
        const bool truth = row.targets ? row.targets[place] != T(0) : place == row.truth;
        return ((by_class ? column : 0) * 2 + truth) * (count + 1) + found;
    }
};

// The cell of a confusion matrix: truth classes + prediction; for one output, by the threshold.
template <typename T> struct Confusion : Bins {
    enum { THRESHOLD };
    static constexpr bool by_place = true;
    T threshold;
    HD explicit Confusion(const double* parameters) : threshold(T(parameters[THRESHOLD])) {}
    HD int64 bin(const BinnedRow<T>& row, int64) const {
        if (row.classes > 1) return row.truth * row.classes + row.largest.place;
        return 2 * (row.targets ? row.targets[0] != T(0) : row.truth) + (row.y[0] > threshold);
    }
};
