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

// The first one where the second is not 0, else 0: where it is infinite, too
template <typename T> struct Kept : Combination {
    static HD T of(T a, T b) { return b == T(0) ? T(0) : a; }
};

// 1 where they are the same, else 0
template <typename T> struct Same : Combination {
    static HD T of(T a, T b) { return a == b ? T(1) : T(0); }
};

// -- of what is at a place with what comes there, one after the other

template <typename T> HD T added(T a, T b) { return a + b; }
HD int32 added(int32 a, int32 b) { return int32(uint32(a) + uint32(b)); }  // it wraps around

template <typename T> struct Sum : Merging {
    static HD T of(T before, T x) { return added(before, x); }
};

// The larger one; NaN if one is
template <typename T> struct Largest : Merging {
    static HD T of(T before, T x) { return Larger<T>::of(before, x); }
};
