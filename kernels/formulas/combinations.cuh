// Two numbers made into one.
#pragma once
#include "types.cuh"

template <typename T> struct Product : Combination {
    static HD T of(T a, T b) { return a * b; }
};

template <typename T> struct Quotient : Combination {
    static HD T of(T a, T b) { return a / b; }
};

// The larger one; NaN if one is
template <typename T> struct Larger : Combination {
    static HD T of(T a, T b) { return a > b || a != a ? a : b; }
};

// The smaller one; NaN if one is
template <typename T> struct Smaller : Combination {
    static HD T of(T a, T b) { return a < b || a != a ? a : b; }
};

// 1 where they are the same, else 0
template <typename T> struct Same : Combination {
    static HD T of(T a, T b) { return a == b ? T(1) : T(0); }
};
