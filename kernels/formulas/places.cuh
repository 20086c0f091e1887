// Places along an axis, and what a number is that is looked at.
#pragma once
#include "elements.cuh"

// Which of n places a number names: below 0 it counts from the end where `wraps` says so. -1 if
// there is no such place.
HD int64 place_among(int64 place, int64 n, bool wraps) {
    if (wraps && place < 0) place += n;
    return place >= 0 && place < n ? place : -1;
}

// A whole number for each number, in the same order, so that extremes can be found atomically. NaN
// is the largest.
HD int64 rank_of(double x) {
    if (x != x) return 0x7FFFFFFFFFFFFFFFll;
    union { double value; int64 bits; } number = {x};
    return number.bits < 0 ? number.bits ^ 0x7FFFFFFFFFFFFFFFll : number.bits;
}

// -- of what is at a place with what comes there, one after the other

template <typename T> HD T added(T a, T b) { return a + b; }
HD int32 added(int32 a, int32 b) { return int32(uint32(a) + uint32(b)); }  // it wraps around

template <typename T> struct Sum : Merging {
    static HD T of(T before, T x) { return added(before, x); }
};

// The larger one; NaN if one is
template <typename T> struct Largest : Merging {
    static HD T of(T before, T x) { return elements::maximum(before, x); }
};
