// Activations: y = f(x), and dL/dx from dL/dy = dy and what the forward pass saved (y or x,
// as the activation's class in Python says).
#pragma once
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
    HD T forward(T x) const { return x <= T(0) ? T(0) : x; }  // of -0 it is 0; NaN stays NaN
    HD T gradient(T y, T dy) const { return y <= T(0) ? T(0) : dy; }
};

// y = sigmoid(slope x - shift) + offset; saves x
template <typename T> struct ShapedSigmoid : Activation {
    enum { SLOPE, SHIFT, OFFSET };
    T slope, shift, offset;
    HD explicit ShapedSigmoid(const double* p)
        : slope(T(p[SLOPE])), shift(T(p[SHIFT])), offset(T(p[OFFSET])) {}
    HD T forward(T x) const { return math::sigmoid(x * slope - shift) + offset; }
    HD T gradient(T x, T dy) const {
        const T e = math::exp(-math::abs(x * slope - shift)), rest = T(1) + e;
        return dy * slope * (e / rest / rest);
    }
};

// y = low where x < threshold, else high; at the threshold itself as `high_at` says. y' = 0
template <typename T> struct Step : Activation {
    enum { LOW, HIGH, THRESHOLD, HIGH_AT_THRESHOLD };
    T low, high, threshold;
    bool high_at;
    HD explicit Step(const double* p)
        // The 0 keeps the compiler from choosing a double for each element and converting that.
        : low(T(p[LOW]) + T(0)), high(T(p[HIGH])), threshold(T(p[THRESHOLD])),
          high_at(p[HIGH_AT_THRESHOLD] != 0) {}
    HD T forward(T x) const {
        return x > threshold || (high_at && x == threshold) ? high : low;
    }
    HD T gradient(T, T) const { return T(0); }
};

// y = x slope + intercept within [least, most],  y' = slope inside; saves y
template <typename T> struct Ramp : Activation {
    enum { SLOPE, INTERCEPT, LEAST, MOST };
    T slope, intercept, least, most;
    HD explicit Ramp(const double* p)
        : slope(T(p[SLOPE])), intercept(T(p[INTERCEPT])), least(T(p[LEAST])), most(T(p[MOST])) {}
    HD T forward(T x) const { return math::clip(x * slope + intercept, least, most); }
    HD T gradient(T y, T dy) const { return y > least && y < most ? dy * slope : T(0); }
};

// y = height exp(-z^2 / 2), z = (x - mu) / sigma,  y' = -y z / sigma; saves x. z is no larger
// than where y is 0: further out infinities would meet.
template <typename T> struct Gaussian : Activation {
    enum { MU, SIGMA, HEIGHT };
    T mu, sigma, height;
    HD explicit Gaussian(const double* p)
        : mu(T(p[MU])), sigma(T(p[SIGMA])), height(T(p[HEIGHT])) {}
    HD T standardised(T x) const { return math::clip((x - mu) / sigma, T(-40), T(40)); }
    HD T bell(T z) const { return math::exp(z * z * T(-0.5)) * height; }
    HD T forward(T x) const { return bell(standardised(x)); }
    HD T gradient(T x, T dy) const {
        const T z = standardised(x);
        return dy * bell(z) * z / -sigma;
    }
};

// y = x / (1 + |x|),  y' = (1 - |y|)^2; saves y
template <typename T> struct Softsign : Activation {
    HD explicit Softsign(const double*) {}
    HD T forward(T x) const { return x / (T(1) + math::abs(x)); }
    HD T gradient(T y, T dy) const {
        const T rest = T(1) - math::abs(y);
        return dy * rest * rest;
    }
};

// y = x where x > 0, else slope x; saves y, whose sign is that of x
template <typename T> struct LeakyRelu : Activation {
    enum { NEGATIVE_SLOPE };
    T slope;
    HD explicit LeakyRelu(const double* p) : slope(T(p[NEGATIVE_SLOPE])) {}
    HD T forward(T x) const { return x > T(0) ? x : x * slope; }
    HD T gradient(T y, T dy) const { return y > T(0) ? dy : dy * slope; }
};

// y = x where x > threshold, else slope (x - threshold); at most `most`, unless that is NaN.
// Saves x
template <typename T> struct BoundedRelu : Activation {
    enum { NEGATIVE_SLOPE, MOST, THRESHOLD };
    T slope, most, threshold;
    HD explicit BoundedRelu(const double* p)
        : slope(T(p[NEGATIVE_SLOPE])), most(T(p[MOST])), threshold(T(p[THRESHOLD])) {}
    HD T forward(T x) const {
        // A slope of 0 makes minus infinity 0 too; NaN stays NaN.
        const T below = slope == T(0) ? T(0) : (x - threshold) * slope + T(0);
        const T y = x <= threshold ? below : x;
        return y > most ? most : y;
    }
    HD T gradient(T x, T dy) const {
        const T below = slope == T(0) ? T(0) : dy * slope;  // 0, too, where dy is infinite
        if (!(x > threshold)) return below;
        return x >= most ? T(0) : dy;
    }
};

// y = scale x where x > 0, else depth (exp(rate x) - 1),  y' = scale, else rate (y + depth);
// saves y
template <typename T> struct Elu : Activation {
    enum { SCALE, DEPTH, RATE };
    T scale, depth, rate;
    HD explicit Elu(const double* p)
        : scale(T(p[SCALE])), depth(T(p[DEPTH])), rate(T(p[RATE])) {}
    HD T forward(T x) const {
        return x > T(0) ? x * scale : math::expm1(x * rate) * depth + T(0);  // of -0 it is 0
    }
    HD T gradient(T y, T dy) const { return dy * (y > T(0) ? scale : (y + depth) * rate); }
};

// y = exp(x) = y'; saves y
template <typename T> struct Exponential : Activation {
    HD explicit Exponential(const double*) {}
    HD T forward(T x) const { return math::exp(x); }
    HD T gradient(T y, T dy) const { return dy * y; }
};

// y = log(1 + exp(x)) without overflow,  y' = 1 - exp(-y); saves y
template <typename T> struct Softplus : Activation {
    HD explicit Softplus(const double*) {}
    HD T forward(T x) const {
        return (x < T(0) ? T(0) : x) + math::log1p(math::exp(-math::abs(x)));
    }
    HD T gradient(T y, T dy) const { return dy * -math::expm1(-y); }
};

// Gates: y = x g(x),  y' = g + x g'; they save x. Where |x| > 1e4, g is 0 or 1: there infinity
// would meet 0.
namespace gates {
template <typename T> HD T above_far(T x) { return x < T(-1e4) ? T(-1e4) : x; }
template <typename T> HD T near(T x) { return math::clip(x, T(-1e4), T(1e4)); }
}  // namespace gates

// g = sigmoid(x)
template <typename T> struct Silu : Activation {
    HD explicit Silu(const double*) {}
    HD T forward(T x) const { return gates::above_far(x) * math::sigmoid(x); }
    HD T gradient(T x, T dy) const {
        const T z = gates::near(x), g = math::sigmoid(z);
        return dy * (g + (T(1) - g) * g * z);
    }
};

// g = x / 6 + 1/2 within [0, 1]
template <typename T> struct HardSilu : Activation {
    HD explicit HardSilu(const double*) {}
    HD T gate(T x) const { return math::clip(x * T(1.0 / 6) + T(0.5), T(0), T(1)); }
    HD T forward(T x) const { return gates::above_far(x) * gate(x); }
    HD T gradient(T x, T dy) const {
        const T slope = gate(x) + (math::abs(x) < T(3) ? x : T(0)) * T(1.0 / 6);
        return x <= T(-3) ? T(0) : dy * slope;
    }
};

// g = P(X <= x) = erfc(-x / sqrt 2) / 2, X standard normal
template <typename T> struct Gelu : Activation {
    HD explicit Gelu(const double*) {}
    HD T gate(T x) const { return T(0.5) * math::erfc(x * T(-0.70710678118654752440)); }
    HD T forward(T x) const { return gates::above_far(x) * gate(x); }
    HD T gradient(T x, T dy) const {
        const T z = gates::near(x);
        return dy * (gate(z) + math::exp(z * z * T(-0.5)) * T(0.39894228040143267794) * z);
    }
};

// g = (1 + tanh u) / 2 = sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
template <typename T> struct GeluTanh : Activation {
    HD explicit GeluTanh(const double*) {}
    HD T gate(T x) const {
        return math::sigmoid((x * x * T(0.044715) + T(1)) * x * T(1.5957691216057307117));
    }
    HD T forward(T x) const { return gates::above_far(x) * gate(x); }
    HD T gradient(T x, T dy) const {
        const T z = gates::near(x), g = gate(z);
        const T slope = (z * z * T(3 * 0.044715) + T(1)) * T(1.5957691216057307117);
        return dy * (g + slope * ((T(1) - g) * g) * z);
    }
};

// g = tanh(log(1 + e)) = n / (n + 2), n = e (e + 2), e = exp(x); e is no larger than where g is 1
template <typename T> struct Mish : Activation {
    HD explicit Mish(const double*) {}
    HD T power(T x) const {
        const T largest = sizeof(T) == 4 ? T(20) : T(40);
        return math::exp(x > largest ? largest : x);
    }
    HD T forward(T x) const {
        const T e = power(x), n = e * (e + T(2));
        return gates::above_far(x) * (n / (n + T(2)));
    }
    HD T gradient(T x, T dy) const {
        const T z = gates::near(x), e = power(z), n = e * (e + T(2)), m = n + T(2);
        return dy * (n / m + T(4) * e * (e + T(1)) / (m * m) * z);
    }
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

// y_i = x_i - m - log(sum_j exp(x_j - m)).  dL/dx_i = dy_i - exp(y_i) sum_j dy_j; saves y
template <typename T> struct LogSoftmax : RowActivation {
    HD explicit LogSoftmax(const double*) {}
    HD T term(T x, T maximum) const { return math::exp(x - maximum); }
    HD T forward(T x, T maximum, T sum) const { return x - maximum - math::log(sum); }
    HD T gradient_term(T, T dy) const { return dy; }
    HD T gradient(T y, T dy, T sum) const { return dy - math::exp(y) * sum; }
};
