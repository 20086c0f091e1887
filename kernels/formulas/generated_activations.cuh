// Activations: y = f(x), and dx from dy and what the forward pass has saved, y or x.
// Written by `make formulas` from `call` and `gradient` in gpunn/activations; do not edit.
#pragma once
#include "elements.cuh"

// f(x) = x sigmoid(x), also called swish. Saves x.
template <typename T> struct Silu : Activation {
    HD explicit Silu(const double*) {}
    HD T forward(T x) const { return elements::at_least(x, T(-10000)) * elements::sigmoid(x); }
    HD T gradient(T x, T dy) const {
        const T z = elements::clip(x, T(-10000), T(10000));
        const T g = elements::sigmoid(z);
        return dy * (g + (T(1) - g) * g * z);
    }
};

// f(x) = x min(max(x / 6 + 1/2, 0), 1): `Silu` in three straight or square pieces. Saves x.
template <typename T> struct HardSilu : Activation {
    HD explicit HardSilu(const double*) {}
    HD T forward(T x) const {
        return elements::at_least(x, T(-10000)) * elements::at_most(elements::relu(x *
            T(0.16666666666666666) + T(0.5)), T(1));
    }
    HD T gradient(T x, T dy) const {
        const T between = dy * (x * T(0.3333333333333333) + T(0.5));
        return x <= T(-3) ? T(0) : (x >= T(3) ? dy : between);
    }
};

// f(x) = x P(X <= x) with X standard normal: x (1 + erf(x / sqrt 2)) / 2. Saves x.
template <typename T> struct Gelu : Activation {
    HD explicit Gelu(const double*) {}
    HD T forward(T x) const {
        return elements::at_least(x, T(-10000)) * (T(0.5) * elements::erfc(x *
            T(-0.7071067811865476)));
    }
    HD T gradient(T x, T dy) const {
        const T z = elements::clip(x, T(-10000), T(10000));
        const T g = T(0.5) * elements::erfc(z * T(-0.7071067811865476));
        return dy * (g + elements::exp(z * z * T(-0.5)) * T(0.3989422804014327) * z);
    }
};

// f(x) = x P(X <= x) with X standard normal: x (1 + erf(x / sqrt 2)) / 2. As
// Gelu(approximate=True). Saves x.
template <typename T> struct GeluTanh : Activation {
    HD explicit GeluTanh(const double*) {}
    HD T forward(T x) const {
        return elements::at_least(x, T(-10000)) * elements::sigmoid((x * x * T(0.044715) + T(1)) * x
            * T(1.5957691216057308));
    }
    HD T gradient(T x, T dy) const {
        const T z = elements::clip(x, T(-10000), T(10000));
        const T z_times_z = z * z;
        const T g = elements::sigmoid((z_times_z * T(0.044715) + T(1)) * z * T(1.5957691216057308));
        const T slope = (z_times_z * T(0.134145) + T(1)) * T(1.5957691216057308);
        return dy * (g + slope * ((T(1) - g) * g) * z);
    }
};

// f(x) = x tanh(softplus(x)) = x n / (n + 2) with n = e (e + 2), e = exp(x). Saves x.
template <typename T> struct Mish : Activation {
    HD explicit Mish(const double*) {}
    HD T forward(T x) const {
        const T e = elements::exp(elements::at_most(x, T(sizeof(T) == 4 ? 20 : 40)));
        const T n = e * (e + T(2));
        return elements::at_least(x, T(-10000)) * (n / (n + T(2)));
    }
    HD T gradient(T x, T dy) const {
        const T z = elements::clip(x, T(-10000), T(10000));
        const T e = elements::exp(elements::at_most(z, T(sizeof(T) == 4 ? 20 : 40)));
        const T n = e * (e + T(2));
        const T m = n + T(2);
        return dy * (n / m + T(4) * e * (e + T(1)) / (m * m) * z);
    }
};

// f(x) = x. Saves y.
template <typename T> struct Linear : Activation {
    HD explicit Linear(const double*) {}
    HD T forward(T x) const { return x; }
    HD T gradient(T, T dy) const { return dy; }
};

// The threshold unit: f(x) = low for x < threshold, else high. Saves y.
template <typename T> struct Step : Activation {
    enum { LOW, HIGH, THRESHOLD };
    T threshold, high, low;
    HD explicit Step(const double* p)
        : threshold(T(p[THRESHOLD])), high(T(p[HIGH])), low(T(p[LOW]) + T(0)) {}
    HD T forward(T x) const {
        const bool above = x >= threshold;
        return above ? high : low;
    }
    HD T gradient(T, T) const { return T(0); }
};

// The threshold unit: f(x) = low for x < threshold, else high. As Step(low=2.0, high=-1.0,
// threshold=0.5, high_at_threshold=False). Saves y.
template <typename T> struct OpenStep : Activation {
    enum { LOW, HIGH, THRESHOLD };
    T threshold, high, low;
    HD explicit OpenStep(const double* p)
        : threshold(T(p[THRESHOLD])), high(T(p[HIGH])), low(T(p[LOW]) + T(0)) {}
    HD T forward(T x) const {
        const bool above = x > threshold;
        return above ? high : low;
    }
    HD T gradient(T, T) const { return T(0); }
};

// f(x) = low for x < start, high for x > end, and the straight line between. Saves y.
template <typename T> struct Ramp : Activation {
    enum { SLOPE, INTERCEPT, LEAST, MOST };
    T slope, intercept, least, most;
    HD explicit Ramp(const double* p)
        : slope(T(p[SLOPE])), intercept(T(p[INTERCEPT])), least(T(p[LEAST])),
            most(T(p[MOST])) {}
    HD T forward(T x) const { return elements::clip(x * slope + intercept, least, most); }
    HD T gradient(T y, T dy) const {
        const bool between = y > least && y < most;
        return between ? dy * slope : T(0);
    }
};

// The logistic function: f(x) = 1 / (1 + exp(-x)), f' = f (1 - f). Saves y.
template <typename T> struct Sigmoid : Activation {
    HD explicit Sigmoid(const double*) {}
    HD T forward(T x) const { return elements::sigmoid(x); }
    HD T gradient(T y, T dy) const { return dy * y * (T(1) - y); }
};

// The logistic function: f(x) = 1 / (1 + exp(-x)), f' = f (1 - f). As Sigmoid(slope=2.0, shift=0.5,
// offset=-0.25). Saves x.
template <typename T> struct ShapedSigmoid : Activation {
    enum { SLOPE, SHIFT, OFFSET };
    T slope, shift, offset;
    HD explicit ShapedSigmoid(const double* p)
        : slope(T(p[SLOPE])), shift(T(p[SHIFT])), offset(T(p[OFFSET])) {}
    HD T forward(T x) const { return elements::sigmoid(x * slope - shift) + offset; }
    HD T gradient(T x, T dy) const {
        const T e = elements::exp(-elements::abs(x * slope - shift));
        const T rest = T(1) + e;
        return dy * slope * (e / rest / rest);
    }
};

// f(x) = tanh(x) = 2 sigmoid(2 x) - 1, f' = 1 - f^2. Saves y.
template <typename T> struct Tanh : Activation {
    HD explicit Tanh(const double*) {}
    HD T forward(T x) const { return elements::tanh(x); }
    HD T gradient(T y, T dy) const { return dy * (T(1) - y * y); }
};

// f(x) = x / (1 + |x|), f' = (1 - |f|)^2: tanh with tails that fall as 1/x. Saves y.
template <typename T> struct Softsign : Activation {
    HD explicit Softsign(const double*) {}
    HD T forward(T x) const { return x / (elements::abs(x) + T(1)); }
    HD T gradient(T y, T dy) const {
        const T rest = T(1) - elements::abs(y);
        return dy * rest * rest;
    }
};

// The normal density: f(x) = exp(-((x - mu) / sigma)^2 / 2) / (sqrt(2 pi) sigma). Saves x.
template <typename T> struct Gaussian : Activation {
    enum { MU, SIGMA, HEIGHT };
    T mu, sigma, height;
    HD explicit Gaussian(const double* p)
        : mu(T(p[MU])), sigma(T(p[SIGMA])), height(T(p[HEIGHT])) {}
    HD T forward(T x) const {
        const T z = elements::clip((x - mu) / sigma, T(-40), T(40));
        return elements::exp(z * z * T(-0.5)) * height;
    }
    HD T gradient(T x, T dy) const {
        const T z = elements::clip((x - mu) / sigma, T(-40), T(40));
        return -(dy * (elements::exp(z * z * T(-0.5)) * height) * z / sigma);
    }
};

// f(x) = x where |x| > threshold, else 0, for each element. Saves x.
template <typename T> struct HardShrink : Activation {
    enum { THRESHOLD };
    T threshold;
    HD explicit HardShrink(const double* p)
        : threshold(T(p[THRESHOLD])) {}
    HD T forward(T x) const { return elements::abs(x) <= threshold ? T(0) : x; }
    HD T gradient(T x, T dy) const { return elements::abs(x) <= threshold ? T(0) : dy; }
};

// f(x) = sign(x) max(|x| - threshold, 0): each element moves towards 0. Saves x.
template <typename T> struct SoftShrink : Activation {
    enum { THRESHOLD };
    T threshold;
    HD explicit SoftShrink(const double* p)
        : threshold(T(p[THRESHOLD])) {}
    HD T forward(T x) const {
        return elements::abs(x) <= threshold ? T(0) : x - threshold * elements::sign(x);
    }
    HD T gradient(T x, T dy) const { return elements::abs(x) <= threshold ? T(0) : dy; }
};

// f(x) = x - tanh(x), for each element. Saves x.
template <typename T> struct TanhShrink : Activation {
    HD explicit TanhShrink(const double*) {}
    HD T forward(T x) const { return x - elements::tanh(x); }
    HD T gradient(T x, T dy) const { return dy * elements::square(elements::tanh(x)); }
};

// f(x) = x where x > threshold, else ``default_value``, for each element. Saves x.
template <typename T> struct Threshold : Activation {
    enum { THRESHOLD, DEFAULT_VALUE };
    T threshold, default_value;
    HD explicit Threshold(const double* p)
        : threshold(T(p[THRESHOLD])), default_value(T(p[DEFAULT_VALUE])) {}
    HD T forward(T x) const { return x <= threshold ? default_value : x; }
    HD T gradient(T x, T dy) const { return x <= threshold ? T(0) : dy; }
};

// f(x) = -log(1 + exp(-x)): the logarithm of `Sigmoid`, without overflow. Saves x.
template <typename T> struct LogSigmoid : Activation {
    HD explicit LogSigmoid(const double*) {}
    HD T forward(T x) const { return -elements::logaddexp(-x, T(0)); }
    HD T gradient(T x, T dy) const { return dy * elements::sigmoid(-x); }
};

// f(x) = (x + 1)^2 / 4 between -1 and 1, 0 below and x above: a `Softplus` that ends. Saves x.
template <typename T> struct SparsePlus : Activation {
    HD explicit SparsePlus(const double*) {}
    HD T forward(T x) const {
        return x <= T(-1) ? T(0) : (x < T(1) ? T(0.25) * elements::square(x + T(1)) : x);
    }
    HD T gradient(T x, T dy) const {
        return x <= T(-1) ? T(0) : dy * elements::at_most((x + T(1)) * T(0.5), T(1));
    }
};

// f(x) = (x + sqrt(x^2 + b)) / 2: a smooth `Relu` without exponentials. Saves x.
template <typename T> struct Squareplus : Activation {
    enum { B };
    T b;
    HD explicit Squareplus(const double* p)
        : b(T(p[B])) {}
    HD T forward(T x) const {
        const T z = elements::clip(x, T(-1e+18), T(1e+18));
        const T size = z >= T(0) ? z : -z;
        const T above = b / elements::at_least(T(2) * (elements::sqrt(elements::square(z) + b) +
            size), T(1e-30));
        return x >= T(0) ? x + above : (x <= T(-1e+18) ? T(0) : above);
    }
    HD T gradient(T x, T dy) const {
        const T z = elements::clip(x, T(-1e+18), T(1e+18));
        const T root = elements::sqrt(elements::square(z) + b);
        const T below = b / (T(2) * (root + elements::abs(z)) * root);
        return dy * (x >= T(0) ? T(1) - below : below);
    }
};

// f(x) = max(x, 0); its derivative at 0 is taken as 0. Saves y.
template <typename T> struct Relu : Activation {
    HD explicit Relu(const double*) {}
    HD T forward(T x) const { return elements::relu(x); }
    HD T gradient(T y, T dy) const { return y <= T(0) ? T(0) : dy; }
};

// f(x) = max(x, 0); its derivative at 0 is taken as 0. As Relu(negative_slope=0.25, max_value=None,
// threshold=0.0). Saves y.
template <typename T> struct LeakyRelu : Activation {
    enum { NEGATIVE_SLOPE };
    T negative_slope;
    HD explicit LeakyRelu(const double* p)
        : negative_slope(T(p[NEGATIVE_SLOPE])) {}
    HD T forward(T x) const { return x > T(0) ? x : x * negative_slope; }
    HD T gradient(T y, T dy) const {
        const bool above = y > T(0);
        return above ? dy : dy * negative_slope;
    }
};

// f(x) = max(x, 0); its derivative at 0 is taken as 0. As Relu(negative_slope=0.0, max_value=1.0,
// threshold=0.0). Saves x.
template <typename T> struct BoundedRelu : Activation {
    enum { NEGATIVE_SLOPE, MOST, THRESHOLD };
    T threshold, negative_slope, most;
    HD explicit BoundedRelu(const double* p)
        : threshold(T(p[THRESHOLD])), negative_slope(T(p[NEGATIVE_SLOPE])), most(T(p[MOST]))
            {}
    HD T forward(T x) const {
        const T distance = x - threshold;
        const T y = x <= threshold ? (negative_slope == T(0) ? T(0) : distance * negative_slope) +
            T(0) : x;
        return y > most ? most : y;
    }
    HD T gradient(T x, T dy) const {
        const bool above = x > threshold;
        const T below = negative_slope == T(0) ? T(0) : dy * negative_slope;
        return above ? (x >= most ? T(0) : dy) : below;
    }
};

// f(x) = x for x > 0, alpha (exp(x) - 1) below. Saves y.
template <typename T> struct Elu : Activation {
    HD explicit Elu(const double*) {}
    HD T forward(T x) const {
        return elements::expm1(elements::at_most(x, T(0))) + elements::relu(x);
    }
    HD T gradient(T y, T dy) const { return dy * (elements::at_most(y, T(0)) + T(1)); }
};

// f(x) = x for x > 0, alpha (exp(x) - 1) below. As Elu(alpha=0.5). Saves y.
template <typename T> struct EluOf : Activation {
    enum { ALPHA };
    T alpha;
    HD explicit EluOf(const double* p)
        : alpha(T(p[ALPHA])) {}
    HD T forward(T x) const {
        return alpha * elements::expm1(elements::at_most(x, T(0))) + elements::relu(x);
    }
    HD T gradient(T y, T dy) const { return dy * (y > T(0) ? T(1) : y + alpha); }
};

// f(x) = x for x > 0, alpha (exp(x / alpha) - 1) below: smooth for every alpha. Saves y.
template <typename T> struct Celu : Activation {
    enum { ALPHA };
    T one_over_alpha, alpha;
    HD explicit Celu(const double* p)
        : one_over_alpha(T(1) / T(p[ALPHA])), alpha(T(p[ALPHA])) {}
    HD T forward(T x) const {
        return x > T(0) ? x : alpha * elements::expm1(x * one_over_alpha) + T(0);
    }
    HD T gradient(T y, T dy) const { return dy * (y > T(0) ? T(1) : (y + alpha) * one_over_alpha); }
};

// f(x) = s x for x > 0, s alpha (exp(x) - 1) below, alpha = 1.6733, s = 1.0507. Saves y.
template <typename T> struct Selu : Activation {
    HD explicit Selu(const double*) {}
    HD T forward(T x) const {
        return T(1.7580993408473766) * elements::expm1(elements::at_most(x, T(0))) +
            T(1.0507009873554805) * elements::relu(x);
    }
    HD T gradient(T y, T dy) const {
        return dy * (y > T(0) ? T(1.0507009873554805) : y + T(1.7580993408473766));
    }
};

// f(x) = exp(x) = f'(x). Infinite from 88.8 on in float32, from 709.8 on in float64. Saves y.
template <typename T> struct Exponential : Activation {
    HD explicit Exponential(const double*) {}
    HD T forward(T x) const { return elements::exp(x); }
    HD T gradient(T y, T dy) const { return dy * y; }
};

// f(x) = log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), f' = 1 - exp(-f). Saves y.
template <typename T> struct Softplus : Activation {
    HD explicit Softplus(const double*) {}
    HD T forward(T x) const {
        return elements::relu(x) + elements::log1p(elements::exp(-elements::abs(x)));
    }
    HD T gradient(T y, T dy) const { return dy * -elements::expm1(-y); }
};

// f(x)_i = exp(x_i) / sum_j exp(x_j), along the last axis. Saves y.
template <typename T> struct Softmax : RowActivation {
    HD explicit Softmax(const double*) {}
    HD T term(T x, T maximum) const { return elements::exp(x - maximum); }
    HD T forward(T x, T maximum, T sum) const { return elements::exp(x - maximum) / sum; }
    HD T gradient_term(T y, T dy) const { return y * dy; }
    HD T gradient(T y, T dy, T sum) const { return y * (dy - sum); }
};

// f(x)_i = x_i - log(sum_j exp(x_j)), along the last axis: the logarithm of softmax. Saves y.
template <typename T> struct LogSoftmax : RowActivation {
    HD explicit LogSoftmax(const double*) {}
    HD T term(T x, T maximum) const { return elements::exp(x - maximum); }
    HD T forward(T x, T maximum, T sum) const { return x - maximum - elements::log(sum); }
    HD T gradient_term(T, T dy) const { return dy; }
    HD T gradient(T y, T dy, T sum) const { return dy - elements::exp(y) * sum; }
};
