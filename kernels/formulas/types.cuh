// Names of numeric types as in NumPy, and the mark of a function that CUDA compiles for the GPU.
// The headers with formulas are plain C++: without CUDA the mark is empty.
#pragma once
#ifdef __CUDACC__
#define HD __host__ __device__ inline
#else
#define HD inline
#endif

typedef signed char int8;
typedef unsigned char uint8;
typedef short int16;
typedef unsigned short uint16;
typedef int int32;
typedef unsigned int uint32;
typedef long long int64;
typedef unsigned long long uint64;

// Half-precision numbers are only read here, from data of that type.
struct float16 {
    uint16 bits;

    HD operator float() const {
        const uint32 sign = uint32(bits & 0x8000u) << 16;
        const uint32 exponent = (bits >> 10) & 0x1Fu;
        const uint32 fraction = bits & 0x3FFu;
        union { uint32 word; float value; } result;
        if (exponent == 31) {  // infinity or NaN
            result.word = sign | 0x7F800000u | (fraction << 13);
        } else if (exponent == 0) {  // zero or subnormal: fraction * 2^-24
            result.value = float(fraction) * 5.9604644775390625e-8f;
            result.word |= sign;
        } else {
            result.word = sign | ((exponent + 112) << 23) | (fraction << 13);
        }
        return result.value;
    }
};

// Converts a number to another type, in the same way on CPUs and GPUs, which differ in how they
// convert floats that an integer cannot hold: from a float, int32 takes the integer part, saturates
// at its least or largest value, and is 0 for NaN. A truth value is whether the number is not 0.
template <typename Out> struct Converted {
    template <typename T> static HD Out of(T x) { return Out(x); }
};
template <> struct Converted<int32> {
    template <typename T> static HD int32 of(T x) { return int32(x); }
    static HD int32 of(float x) { return of(double(x)); }
    static HD int32 of(float16 x) { return of(double(float(x))); }
    static HD int32 of(double x) {
        if (x >= 2147483647.0) return 2147483647;
        if (x <= -2147483648.0) return -2147483647 - 1;
        return x != x ? 0 : int32(x);
    }
};

template <> struct Converted<bool> {
    template <typename T> static HD bool of(T x) { return x != T(0); }
};

// An element of an array, and its index.
template <typename T> struct Placed {
    T value;
    int64 place;
};

// Whether x comes before y where the largest is sought: NaN exceeds all numbers, as in NumPy.
template <typename T> HD bool exceeds(T x, T y) { return !(x <= y) & (y == y); }

// Whether an element comes before another one: it exceeds that, or is equal and has a lower index.
template <typename T> HD bool precedes(Placed<T> x, Placed<T> y) {
    return exceeds(x.value, y.value) || (!exceeds(y.value, x.value) && x.place < y.place);
}

// Statistics of a row that a loss may need.
template <typename T> struct Row {
    T classes, share;  // share: 1 / classes
    T maximum;  // largest prediction; where a loss compares, largest score()
    T sum;      // of term(), with the first sums
    T weight;   // of weight(), with the first sums
    T mass;     // of mass(), which can use the other statistics
};

// Kinds of formulas. A struct `Name : Kind` in a header here is available in Python under the
// functor name "Name", and as an argument of kernels with a template parameter `Kind`.
struct Activation {};     // one element at a time
struct RowActivation {};  // needs the whole row: softmax
struct Loss {
    static constexpr bool whole_row = false;  // uses the row's largest prediction
    static constexpr bool compares = false;   // or its largest score()
    static constexpr int sums = 0;            // how many of term() and weight() it sums
    static constexpr bool has_mass = false;
    static constexpr bool of_row = false;     // its value is whole(), not a sum of value()
    template <typename T> HD T target(T t, T) const { return t; }  // may be smoothed
};
struct Merging {};     // of the value at an index with a new value
struct Metric {
    static constexpr bool by_place = false;  // compares the indices of the largest
    static constexpr bool by_rank = false;   // counts predictions larger than that at the label
};
struct Bins {
    static constexpr bool by_place = false;  // uses the index of the largest target
    int64 top = 0;  // the last of this many largest predictions of a row is needed; 0: none
};
struct Optimizer {};
struct Schedule {};    // of the number of updates
struct Penalty {};     // of each weight
struct Constraint {};  // of the norm of a line of weights
