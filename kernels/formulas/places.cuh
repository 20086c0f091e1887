// Indices along an axis, and an integer encoding of values.
#pragma once
#include "elements.cuh"

// The position that an index refers to, out of n: a negative index counts from the end if `wraps`.
// It is -1 if the index is out of range.
HD int64 place_among(int64 place, int64 n, bool wraps) {
    if (wraps && place < 0) place += n;
    return place >= 0 && place < n ? place : -1;
}

// Maps each value to an integer in the same order, so that extremes can be found atomically. NaN is
// the largest.
HD int64 rank_of(double x) {
    if (x != x) return 0x7FFFFFFFFFFFFFFFll;
    union { double value; int64 bits; } number = {x};
    return number.bits < 0 ? number.bits ^ 0x7FFFFFFFFFFFFFFFll : number.bits;
}

// -- merging the value at an index with new values, one after the other

template <typename T> HD T added(T a, T b) { return a + b; }
HD int32 added(int32 a, int32 b) { return int32(uint32(a) + uint32(b)); }  // it wraps around

template <typename T> struct Sum : Merging {
    static HD T of(T before, T x) { return added(before, x); }
};

// The larger value; NaN if one is NaN
template <typename T> struct Largest : Merging {
    static HD T of(T before, T x) { return elements::maximum(before, x); }
};

// The last value: rows replace each other
template <typename T> struct Last : Merging {
    static HD T of(T, T x) { return x; }
};
