// Activations of whole rows; those of single numbers are in generated_activations.cuh.
#pragma once
#include "generated_activations.cuh"

// y_i = exp(x_i - m) / sum_j exp(x_j - m) with m the largest x: no exponent is above 0.
// dL/dx_i = y_i (dy_i - sum_j y_j dy_j); saves y
template <typename T> struct Softmax : RowActivation {
    HD explicit Softmax(const double*) {}
    HD T term(T x, T maximum) const { return math::exp(x - maximum); }
    HD T forward(T x, T maximum, T sum) const { return math::exp(x - maximum) / sum; }
    HD T gradient_term(T y, T dy) const { return y * dy; }
    HD T gradient(T y, T dy, T sum) const { return y * (dy - sum); }
};

// y_i = x_i - m - log(sum_j exp(x_j - m)).  dL/dx_i = dy_i - exp(y_i) sum_j dy_j; saves y
template <typename T> struct LogSoftmax : RowActivation {
    HD explicit LogSoftmax(const double*) {}
    HD T term(T x, T maximum) const { return math::exp(x - maximum); }
    HD T forward(T x, T maximum, T sum) const { return x - maximum - math::log(sum); }
    HD T gradient_term(T, T dy) const { return dy; }
    HD T gradient(T y, T dy, T sum) const { return dy - math::exp(y) * sum; }
};
