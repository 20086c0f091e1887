// The matrix product that other operations call, compiled once, in products.cpp.
#pragma once
#include "../formulas/types.cuh"

// out (m, n) (+)= a' (m, k) @ b' (k, n): a' and b' are a and b, or their transposes. Rows are lda,
// ldb and ldo elements apart.
template <typename T>
void matmul(const T* a_numbers, const T* b_numbers, T* out, int64 m, int64 n, int64 k, int64 lda,
            int64 ldb, int64 ldo, bool transpose_a, bool transpose_b, bool accumulate);
