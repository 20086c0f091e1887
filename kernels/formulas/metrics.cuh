// Metrics. A row's value is the mean of value() over its classes, or, `by_place`, 1 where the
// largest prediction stands where the largest target (or the label) does, else 0, or, `by_rank`,
// 1 where hit() says so of how many predictions are larger than that at the label.
//
// Bins: the number of the bin that a prediction falls into, see `bin_totals`.
#pragma once
#include "math.cuh"

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

// Fewer than k predictions are larger than that at the label; or, of sorted class numbers in place
// of predictions, the label is among the first k.
template <typename T> struct TopK : Metric {
    enum { K, FROM_SORTED_IDS };
    static constexpr bool by_rank = true;
    int64 k;
    bool sorted;
    HD explicit TopK(const double* parameters)
        : k(int64(parameters[K])), sorted(parameters[FROM_SORTED_IDS] != 0) {}
    HD bool counts(T y, int64 place, const T* row, int64 label) const {
        return sorted ? place < k && y == T(label) : y > row[label];
    }
    HD bool hit(int64 count) const { return sorted ? count > 0 : count < k; }
};

// How many of some ascending thresholds are below y, for positive and for negative targets, and
// maybe for each class: bin = (class 2 + (t != 0)) levels + level.
template <typename T> struct Levels : Bins {
    enum { THRESHOLD_COUNT, TOP_K, ONLY_CLASS, BY_OUTPUT, FROM_LOGITS, LARGEST, ASCENDING };
    const double* thresholds;
    int64 count;    // of thresholds; of levels, one more
    int64 top;      // what is not among so many of its row is below all, unless 0
    int64 class_;   // the only one that counts, or -1
    bool by_class;  // whether each class has bins of its own
    bool logits;    // whether thresholds are compared with sigmoid(y)
    bool largest;   // level 1 is the largest of the row, in place of what a threshold says
    HD explicit Levels(const double* parameters)
        : thresholds(parameters + ASCENDING), count(int64(parameters[THRESHOLD_COUNT])),
          top(int64(parameters[TOP_K])), class_(int64(parameters[ONLY_CLASS])),
          by_class(parameters[BY_OUTPUT] != 0), logits(parameters[FROM_LOGITS] != 0),
          largest(parameters[LARGEST] != 0) {}
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
    HD bool in_top(const T* row, int64 classes, int64 place) const {
        int64 before = 0;
        for (int64 c = 0; c < classes; ++c)
            before += row[c] > row[place] || (row[c] == row[place] && c < place);
        return before < top;
    }
    HD int64 bin(const T* row, int64 classes, T maximum, int64 column, const T* targets,
                 int64 label) const {
        const int64 place = class_ < 0 ? column : class_;
        const T y = row[place];
        int64 found;
        if (largest) {
            found = y == maximum && math::abs(y) > T(1e-9);
        } else if (top && !in_top(row, classes, place)) {
            found = 0;
        } else {
            found = level(logits ? math::sigmoid(y) : y);
        }
        const bool truth = targets ? targets[place] != T(0) : place == label;
        return ((by_class ? column : 0) * 2 + truth) * (count + 1) + found;
    }
};

// The place of a confusion matrix: truth classes + answer; of one output, the sides of a threshold.
template <typename T> struct Confusion : Bins {
    enum { THRESHOLD };
    T threshold;
    HD explicit Confusion(const double* parameters) : threshold(T(parameters[THRESHOLD])) {}
    HD int64 largest(const T* row, int64 classes) const {
        int64 place = 0;
        for (int64 c = 1; c < classes; ++c)
            if (row[c] > row[place]) place = c;
        return place;
    }
    HD int64 bin(const T* row, int64 classes, T, int64, const T* targets, int64 label) const {
        if (classes == 1) return 2 * (targets ? targets[0] != T(0) : label) + (row[0] > threshold);
        return (targets ? largest(targets, classes) : label) * classes + largest(row, classes);
    }
};
