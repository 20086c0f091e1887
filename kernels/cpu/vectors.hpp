// Vectors of the width of the instruction set, for the matrix products.
#pragma once
#include "../formulas/types.cuh"

#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

// Placed before a short loop that must be unrolled: arrays of vectors are kept in registers only if
// every index is a constant.
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define UNROLLED _Pragma("GCC unroll 16")
#else
#define UNROLLED
#endif

#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address)
#endif

// Clang computes the addresses of all pointers that grow together from one counter, which takes more
// instructions than growing each. An empty assembler text that may change one keeps them apart.
#if defined(__clang__)
#define UNRELATED(pointer) __asm__("" : "+r"(pointer))
#else
#define UNRELATED(pointer)
#endif

namespace {

// `lanes` elements; `Part` describes a load or store of only the first few of them. nonzeros() has a
// bit for each element, the lowest for the first one.
template <typename T> struct Vector;

#if defined(__AVX2__) && defined(__FMA__)

// AMD's processors store with a mask element by element: the parts of a vector are stored instead.
struct FirstLanes {
    __m256i mask;
    int count;
};

struct EightFloats {
    typedef __m256 type;
    typedef FirstLanes Part;
    static constexpr int lanes = 8;
    static constexpr bool masks = true;
    static Part part(int64 count) {
        return {_mm256_cmpgt_epi32(_mm256_set1_epi32(int(count)),
                                   _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
                int(count)};
    }
    static type zero() { return _mm256_setzero_ps(); }
    static type all(float x) { return _mm256_set1_ps(x); }
    static type load(const float* p) { return _mm256_loadu_ps(p); }
    static type load(const float* p, Part part) { return _mm256_maskload_ps(p, part.mask); }
    static void store(float* p, type x) { _mm256_storeu_ps(p, x); }
    static void store(float* p, type x, Part part) {
        if (part.count >= lanes) return store(p, x);
        __m128 next = _mm256_castps256_ps128(x);
        if (part.count & 4) {
            _mm_storeu_ps(p, next);
            p += 4;
            next = _mm256_extractf128_ps(x, 1);
        }
        if (part.count & 2) {
            _mm_storel_pi(reinterpret_cast<__m64*>(p), next);
            p += 2;
            next = _mm_movehl_ps(next, next);
        }
        if (part.count & 1) _mm_store_ss(p, next);
    }
    static type fma(type a, type b, type c) { return _mm256_fmadd_ps(a, b, c); }
    static unsigned nonzeros(type x) {
        return unsigned(_mm256_movemask_ps(_mm256_cmp_ps(x, zero(), _CMP_NEQ_UQ)));
    }
};

#endif

#if defined(__AVX512F__)

template <> struct Vector<float> {
    typedef __m512 type;
    typedef __mmask16 Part;
    static constexpr int lanes = 16;
    static constexpr bool masks = true;
    static Part part(int64 count) { return Part((1u << count) - 1); }
    static type zero() { return _mm512_setzero_ps(); }
    static type all(float x) { return _mm512_set1_ps(x); }
    static type load(const float* p) { return _mm512_loadu_ps(p); }
    static type load(const float* p, Part part) { return _mm512_maskz_loadu_ps(part, p); }
    static void store(float* p, type x) { _mm512_storeu_ps(p, x); }
    static void store(float* p, type x, Part part) { _mm512_mask_storeu_ps(p, part, x); }
    static type fma(type a, type b, type c) { return _mm512_fmadd_ps(a, b, c); }
    static unsigned nonzeros(type x) { return _mm512_cmp_ps_mask(x, zero(), _CMP_NEQ_UQ); }
};
template <> struct Vector<double> {
    typedef __m512d type;
    typedef __mmask8 Part;
    static constexpr int lanes = 8;
    static constexpr bool masks = true;
    static Part part(int64 count) { return Part((1u << count) - 1); }
    static type zero() { return _mm512_setzero_pd(); }
    static type all(double x) { return _mm512_set1_pd(x); }
    static type load(const double* p) { return _mm512_loadu_pd(p); }
    static type load(const double* p, Part part) { return _mm512_maskz_loadu_pd(part, p); }
    static void store(double* p, type x) { _mm512_storeu_pd(p, x); }
    static void store(double* p, type x, Part part) { _mm512_mask_storeu_pd(p, part, x); }
    static type fma(type a, type b, type c) { return _mm512_fmadd_pd(a, b, c); }
    static unsigned nonzeros(type x) { return _mm512_cmp_pd_mask(x, zero(), _CMP_NEQ_UQ); }
};

#elif defined(__AVX2__) && defined(__FMA__)

template <> struct Vector<float> : EightFloats {};
template <> struct Vector<double> {
    typedef __m256d type;
    typedef FirstLanes Part;
    static constexpr int lanes = 4;
    static constexpr bool masks = true;
    static Part part(int64 count) {
        return {_mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3)),
                int(count)};
    }
    static type zero() { return _mm256_setzero_pd(); }
    static type all(double x) { return _mm256_set1_pd(x); }
    static type load(const double* p) { return _mm256_loadu_pd(p); }
    static type load(const double* p, Part part) { return _mm256_maskload_pd(p, part.mask); }
    static void store(double* p, type x) { _mm256_storeu_pd(p, x); }
    static void store(double* p, type x, Part part) {
        if (part.count >= lanes) return store(p, x);
        __m128d next = _mm256_castpd256_pd128(x);
        if (part.count & 2) {
            _mm_storeu_pd(p, next);
            p += 2;
            next = _mm256_extractf128_pd(x, 1);
        }
        if (part.count & 1) _mm_store_sd(p, next);
    }
    static type fma(type a, type b, type c) { return _mm256_fmadd_pd(a, b, c); }
    static unsigned nonzeros(type x) {
        return unsigned(_mm256_movemask_pd(_mm256_cmp_pd(x, zero(), _CMP_NEQ_UQ)));
    }
};

#else

// 16 bytes if the compiler has vector types (every x86-64 and ARMv8), else one element.
template <typename T> struct Vector {
#if defined(__GNUC__)
    typedef T type __attribute__((vector_size(16)));
#else
    typedef T type;
#endif
    typedef int64 Part;
    static constexpr bool masks = false;
    static constexpr int lanes = int(sizeof(type) / sizeof(T));
    static Part part(int64 count) { return count; }
    static type zero() { return type{}; }
    static type all(T x) { return x - type{}; }
    static type load(const T* p) {
        type x;
        std::memcpy(&x, p, sizeof x);
        return x;
    }
    static type load(const T* p, Part part) {
        T x[lanes];
        for (int lane = 0; lane < lanes; ++lane) x[lane] = lane < part ? p[lane] : T(0);
        return load(x);
    }
    static void store(T* p, type x) { std::memcpy(p, &x, sizeof x); }
    static void store(T* p, type x, Part part) {
        T all[lanes];
        store(all, x);
        for (int64 lane = 0; lane < part; ++lane) p[lane] = all[lane];
    }
    static type fma(type a, type b, type c) { return a * b + c; }
    static unsigned nonzeros(type x) {
        T all[lanes];
        store(all, x);
        unsigned bits = 0;
        for (int lane = 0; lane < lanes; ++lane) bits |= unsigned(all[lane] != T(0)) << lane;
        return bits;
    }
};

#endif

// The shortest vectors of the instruction set: for few floats, they take less time.
#if defined(__AVX512F__)
template <typename T>
using ShortVector = std::conditional_t<std::is_same_v<T, float>, EightFloats, Vector<T>>;
#else
template <typename T> using ShortVector = Vector<T>;
#endif

// Calls f with a load and a store for each vector of a row of channels. The last may be partial.
template <typename T, typename F> void each_vector(int64 channels, F f) {
    typedef Vector<T> V;
    int64 c = 0;
    for (; c + V::lanes <= channels; c += V::lanes)
        f(c, [](const T* p) { return V::load(p); },
          [](T* p, const typename V::type& v) { V::store(p, v); });
    if (c == channels) return;
    const typename V::Part part = V::part(channels - c);
    f(c, [=](const T* p) { return V::load(p, part); },
      [=](T* p, const typename V::type& v) { V::store(p, v, part); });
}

// a b + c for one element, rounded as `Vector<T>::fma` rounds it.
template <typename T> inline T multiply_add(T a, T b, T c) {
#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
    return std::fma(a, b, c);
#else
    return a * b + c;
#endif
}

template <int width> struct Swap {
    // Lane l of the upper result: a[l] or, in the upper half of 2*width lanes, b[l - width].
    static constexpr int upper(int lane, int lanes) {
        return lane & width ? lanes + lane - width : lane;
    }
    static constexpr int lower(int lane, int lanes) {
        return lane & width ? lanes + lane : lane + width;
    }
    template <typename V, std::size_t... lane>
    static void apply(V& a, V& b, std::index_sequence<lane...>) {
        constexpr int lanes = int(sizeof...(lane));
#if defined(__clang__)
        const V up = __builtin_shufflevector(a, b, upper(lane, lanes)...);
        b = __builtin_shufflevector(a, b, lower(lane, lanes)...);
#else
        typedef decltype(a < b) Mask;
        const V up = __builtin_shuffle(a, b, Mask{upper(lane, lanes)...});
        b = __builtin_shuffle(a, b, Mask{lower(lane, lanes)...});
#endif
        a = up;
    }
};

// Transposes the square x: off-diagonal blocks are swapped, for each block size in turn.
template <typename T, int width = Vector<T>::lanes / 2>
inline void transpose(typename Vector<T>::type (&x)[Vector<T>::lanes]) {
    constexpr int lanes = Vector<T>::lanes;
    if constexpr (width > 0) {
        UNROLLED
        for (int i = 0; i < lanes; ++i)
            if (!(i & width))
                Swap<width>::apply(x[i], x[i + width], std::make_index_sequence<lanes>{});
        transpose<T, width / 2>(x);
    }
}

}  // namespace
