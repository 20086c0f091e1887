// Activations: y = f(x), and dL/dx from dL/dy = dy and what the forward pass saved (y or x,
// as the activation's class in Python says).
#include "math.cuh"

template <typename T> struct Linear : Activation {
    HD explicit Linear(const double*) {}
    HD T forward(T x) const { return x; }
    HD T gradient(T, T dy) const { return dy; }
};

// y = 1 / (1 + exp(-x)),  y' = y (1 - y); saves y
template <typename T> struct Sigmoid : Activation {
    HD explicit Sigmoid(const double*) {}
    HD T forward(T x) const { return math::sigmoid(x); }
    HD T gradient(T y, T dy) const { return dy * y * (T(1) - y); }
};

// y = tanh(x),  y' = 1 - y^2; saves y
template <typename T> struct Tanh : Activation {
    HD explicit Tanh(const double*) {}
    HD T forward(T x) const { return math::tanh(x); }
    HD T gradient(T y, T dy) const { return dy * (T(1) - y * y); }
};

// y = max(x, 0),  y' = 1 where y > 0, else 0; saves y
template <typename T> struct Relu : Activation {
    HD explicit Relu(const double*) {}
    HD T forward(T x) const { return x < T(0) ? T(0) : x; }  // NaN stays NaN
    HD T gradient(T y, T dy) const { return y > T(0) ? dy : T(0); }
};

// y_i = exp(x_i - m) / sum_j exp(x_j - m) with m the largest x: no exponent is above 0.
// dL/dx_i = y_i (dy_i - sum_j y_j dy_j); saves y
template <typename T> struct Softmax : RowActivation {
    HD explicit Softmax(const double*) {}
    HD T term(T x, T maximum) const { return math::exp(x - maximum); }
    HD T forward(T x, T maximum, T sum) const { return math::exp(x - maximum) / sum; }
    HD T gradient_term(T y, T dy) const { return y * dy; }
    HD T gradient(T y, T dy, T sum) const { return y * (dy - sum); }
};
