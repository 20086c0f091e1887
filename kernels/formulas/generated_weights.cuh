// Of weights: what each costs, and what a line of them is multiplied by.
// Written by `make formulas` from gpunn/regularizers.py and gpunn/constraints.py; do not edit.
#pragma once
#include "elements.cuh"

// l2 * sum(w^2): keeps weights small. As L2(l2=0.1).
template <typename T> struct SquarePenalty : Penalty {
    enum { L2 };
    T l2, twice_l2;
    HD explicit SquarePenalty(const double* p)
        : l2(T(p[L2])), twice_l2(T(2 * p[L2])) {}
    HD T term(T w) const { return l2 * elements::square(w); }
    HD T slope(T w) const { return twice_l2 * w; }
};

// l1 * sum(|w|) + l2 * sum(w^2). By name (``"l1l2"``) both are 0.01, as in Keras. As L1L2(l1=0.1,
// l2=0.2).
template <typename T> struct BothPenalties : Penalty {
    enum { L1, L2 };
    T l1, l2, twice_l2;
    HD explicit BothPenalties(const double* p)
        : l1(T(p[L1])), l2(T(p[L2])), twice_l2(T(2 * p[L2])) {}
    HD T term(T w) const { return l1 * elements::abs(w) + l2 * elements::square(w); }
    HD T slope(T w) const { return l1 * elements::sign(w) + twice_l2 * w; }
};

// Norms from ``min_value`` to ``max_value``.
struct NormLimits : Constraint {
    enum { LOW, HIGH, RATE, EPSILON };
    HD static double value(const double* p, double norm) {
        const double wanted = p[RATE] * elements::clip(norm, p[LOW], p[HIGH]) + (1.0 - p[RATE]) *
            norm;
        return wanted / (norm + p[EPSILON]);
    }
};
