// Updates of one weight, in each form that the options of an optimizer give them.
// Written by `make formulas` from `rule` in gpunn/optimizers; do not edit.
#pragma once
#include "control.cuh"
#include "elements.cuh"

// s = rho s + (1 - rho) g^2, d = g sqrt(e + eps) / sqrt(s + eps), w -= a d, e = rho e + (1 - rho)
// d^2 (Zeiler, "ADADELTA", 2012).
template <typename T> struct Adadelta : Optimizer {
    enum { RHO, EPSILON, WEIGHT_DECAY };
    T epsilon, rho, one_minus_rho, rate, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        epsilon = T(parameters[EPSILON]);
        rho = T(parameters[RHO]);
        one_minus_rho = T(1 - parameters[RHO]);
        rate = T(learning_rate);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T* slot_1, T*) const {
        const T w = weights[i] - weights[i] * decay;
        const T accumulated_delta_var_before = slot_1[i];
        const T accumulated_grad_before = slot_0[i];
        const T s = rho * accumulated_grad_before + one_minus_rho * (g * g);
        slot_0[i] = s;
        const T d = elements::sqrt(accumulated_delta_var_before + epsilon) * g /
            elements::sqrt(s + epsilon);
        const T e = rho * accumulated_delta_var_before + one_minus_rho * (d * d);
        slot_1[i] = e;
        weights[i] = w - rate * d;
    }
};

// s += g^2, w -= a g / sqrt(s + eps) (Duchi, Hazan and Singer, "Adaptive subgradient methods",
// 2011): a weight that has moved much moves less.
template <typename T> struct Adagrad : Optimizer {
    enum { EPSILON, WEIGHT_DECAY };
    T rate, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        rate = T(learning_rate);
        epsilon = T(parameters[EPSILON]);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T*, T*) const {
        const T w = weights[i] - weights[i] * decay;
        const T accumulator_before = slot_0[i];
        const T s = accumulator_before + g * g;
        slot_0[i] = s;
        weights[i] = w - rate * g / elements::sqrt(s + epsilon);
    }
};

// m += (g - m)(1 - b1), v += (g^2 - v)(1 - b2), w -= a_t m / (sqrt(v) + eps), a_t = a sqrt(1 -
// b2^t) / (1 - b1^t) (Kingma and Ba, 2015, end of section 2).
template <typename T> struct Adam : Optimizer {
    enum { BETA_1, BETA_2, EPSILON, WEIGHT_DECAY };
    T one_minus_beta_1, a, one_minus_beta_2, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64 updates, bool decays) {
        const T t = T(updates + 1);
        const T of_v = -elements::expm1(t * elements::log1p(T(-(1 - parameters[BETA_2]))));
        const T of_m = -elements::expm1(t * elements::log1p(T(-(1 - parameters[BETA_1]))));
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        one_minus_beta_1 = T(1 - parameters[BETA_1]);
        a = T(learning_rate) * elements::sqrt(of_v) / of_m;
        one_minus_beta_2 = T(1 - parameters[BETA_2]);
        epsilon = T(parameters[EPSILON]);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T* slot_1, T*) const {
        const T w = weights[i] - weights[i] * decay;
        const T m_before = slot_0[i];
        const T v_before = slot_1[i];
        const T m = m_before + (g - m_before) * one_minus_beta_1;
        slot_0[i] = m;
        const T v = v_before + (g * g - v_before) * one_minus_beta_2;
        slot_1[i] = v;
        weights[i] = w - a * m / (elements::sqrt(v) + epsilon);
    }
};

// m += (g - m)(1 - b1), v += (g^2 - v)(1 - b2), w -= a_t m / (sqrt(v) + eps), a_t = a sqrt(1 -
// b2^t) / (1 - b1^t) (Kingma and Ba, 2015, end of section 2). With amsgrad.
template <typename T> struct AdamAmsgrad : Optimizer {
    enum { BETA_1, BETA_2, EPSILON, WEIGHT_DECAY };
    T one_minus_beta_1, a, one_minus_beta_2, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64 updates, bool decays) {
        const T t = T(updates + 1);
        const T of_v = -elements::expm1(t * elements::log1p(T(-(1 - parameters[BETA_2]))));
        const T of_m = -elements::expm1(t * elements::log1p(T(-(1 - parameters[BETA_1]))));
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        one_minus_beta_1 = T(1 - parameters[BETA_1]);
        a = T(learning_rate) * elements::sqrt(of_v) / of_m;
        one_minus_beta_2 = T(1 - parameters[BETA_2]);
        epsilon = T(parameters[EPSILON]);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T* slot_1, T* slot_2) const {
        const T w = weights[i] - weights[i] * decay;
        const T m_before = slot_0[i];
        const T v_max_before = slot_2[i];
        const T v_before = slot_1[i];
        const T m = m_before + (g - m_before) * one_minus_beta_1;
        slot_0[i] = m;
        const T v = v_before + (g * g - v_before) * one_minus_beta_2;
        slot_1[i] = v;
        const T largest = elements::maximum(v_max_before, v);
        slot_2[i] = largest;
        weights[i] = w - a * m / (elements::sqrt(largest) + epsilon);
    }
};

// m += (g - m)(1 - b1), u = max(b2 u, |g|), w -= a / (1 - b1^t) m / (u + eps) (Kingma and Ba, 2015,
// section 7.1).
template <typename T> struct Adamax : Optimizer {
    enum { BETA_1, BETA_2, EPSILON, WEIGHT_DECAY };
    T one_minus_beta_1, a, beta_2, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64 updates, bool decays) {
        const T t = T(updates + 1);
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        one_minus_beta_1 = T(1 - parameters[BETA_1]);
        a = T(learning_rate) / -elements::expm1(t * elements::log1p(T(-(1 - parameters[BETA_1]))));
        beta_2 = T(parameters[BETA_2]);
        epsilon = T(parameters[EPSILON]);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T* slot_1, T*) const {
        const T w = weights[i] - weights[i] * decay;
        const T m_before = slot_0[i];
        const T u_before = slot_1[i];
        const T m = m_before + (g - m_before) * one_minus_beta_1;
        slot_0[i] = m;
        const T u = elements::maximum(beta_2 * u_before, elements::abs(g));
        slot_1[i] = u;
        weights[i] = w - a * m / (u + epsilon);
    }
};

// n' = n + g^2, z += g + 2 s w - (n'^p - n^p) / a w, and then w = (clip(z, -l1, l1) - z) / (n'^p /
// a + beta / a + 2 l2) (McMahan et al., "Ad click prediction: a view from the trenches", 2013).
template <typename T> struct Ftrl : Optimizer {
    enum { LEARNING_RATE_POWER, L1_REGULARIZATION_STRENGTH, L2_REGULARIZATION_STRENGTH, L2_SHRINKAGE_REGULARIZATION_STRENGTH, BETA, WEIGHT_DECAY };
    T number_0, power, rate, number_3, l1_regularization_strength, beta, number_6, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        number_0 = T(2 * parameters[L2_SHRINKAGE_REGULARIZATION_STRENGTH]);
        power = T(-parameters[LEARNING_RATE_POWER]);
        rate = T(learning_rate);
        number_3 = T(-parameters[L1_REGULARIZATION_STRENGTH]);
        l1_regularization_strength = T(parameters[L1_REGULARIZATION_STRENGTH]);
        beta = T(parameters[BETA]);
        number_6 = T(2 * parameters[L2_REGULARIZATION_STRENGTH]);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T* slot_1, T*) const {
        const T w = weights[i] - weights[i] * decay;
        const T linear_before = slot_1[i];
        const T accumulator_before = slot_0[i];
        const T n = accumulator_before + g * g;
        slot_0[i] = n;
        const T now = elements::power(n, power);
        const T before = elements::power(accumulator_before, power);
        const T z = linear_before + g + number_0 * w - (now - before) / rate * w;
        slot_1[i] = z;
        const T curvature = (now + beta) / rate + number_6;
        weights[i] = (elements::clip(z, number_3, l1_regularization_strength) - z) / curvature;
    }
};

// m += (g - m)(1 - b1), v += (g^2 - v)(1 - b2), r = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps),
// and for each parameter by itself w -= a |w| / |r| r (You et al., "Large batch optimization for
// deep learning", 2020).
template <typename T> struct Lamb : Optimizer {
    enum { BETA_1, BETA_2, EPSILON, WEIGHT_DECAY };
    T one_minus_beta_1, one_minus_beta_2, scale, root_scale, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64 updates, bool decays) {
        const T t = T(updates + 1);
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        one_minus_beta_1 = T(1 - parameters[BETA_1]);
        one_minus_beta_2 = T(1 - parameters[BETA_2]);
        scale = 1 / -elements::expm1(t * elements::log1p(T(-(1 - parameters[BETA_1]))));
        root_scale = 1 / -elements::expm1(t * elements::log1p(T(-(1 - parameters[BETA_2]))));
        epsilon = T(parameters[EPSILON]);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T* slot_1, T* slot_2) const {
        if (decay != T(0)) weights[i] -= weights[i] * decay;
        const T m_before = slot_0[i];
        const T v_before = slot_1[i];
        const T m = m_before + (g - m_before) * one_minus_beta_1;
        slot_0[i] = m;
        const T v = v_before + (g * g - v_before) * one_minus_beta_2;
        slot_1[i] = v;
        const T direction = scale * m / (elements::sqrt(v * root_scale) + epsilon);
        slot_2[i] = direction;
    }
};

// w -= a sign(b1 m + (1 - b1) g), m = b2 m + (1 - b2) g (Chen et al., "Symbolic discovery of
// optimization algorithms", 2023).
template <typename T> struct Lion : Optimizer {
    enum { BETA_1, BETA_2, WEIGHT_DECAY };
    T beta_1, one_minus_beta_1, rate, beta_2, one_minus_beta_2, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        beta_1 = T(parameters[BETA_1]);
        one_minus_beta_1 = T(1 - parameters[BETA_1]);
        rate = T(learning_rate);
        beta_2 = T(parameters[BETA_2]);
        one_minus_beta_2 = T(1 - parameters[BETA_2]);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T*, T*) const {
        const T w = weights[i] - weights[i] * decay;
        const T m_before = slot_0[i];
        const T c = beta_1 * m_before + one_minus_beta_1 * g;
        const T m = beta_2 * m_before + one_minus_beta_2 * g;
        slot_0[i] = m;
        weights[i] = w - rate * elements::sign(c);
    }
};

// v = rho v + (1 - rho) g^2, w -= a g / sqrt(v + eps) (Tieleman and Hinton, "Neural networks for
// machine learning", lecture 6.5, 2012).
template <typename T> struct RMSprop : Optimizer {
    enum { RHO, MOMENTUM, EPSILON, WEIGHT_DECAY };
    T rate, rho, one_minus_rho, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        rate = T(learning_rate);
        rho = T(parameters[RHO]);
        one_minus_rho = T(1 - parameters[RHO]);
        epsilon = T(parameters[EPSILON]);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T*, T*) const {
        const T w = weights[i] - weights[i] * decay;
        const T velocity_before = slot_0[i];
        const T v = rho * velocity_before + one_minus_rho * (g * g);
        slot_0[i] = v;
        const T step = rate * g / elements::sqrt(v + epsilon);
        weights[i] = w - step;
    }
};

// v = rho v + (1 - rho) g^2, w -= a g / sqrt(v + eps) (Tieleman and Hinton, "Neural networks for
// machine learning", lecture 6.5, 2012). With momentum.
template <typename T> struct RMSpropMomentum : Optimizer {
    enum { RHO, MOMENTUM, EPSILON, WEIGHT_DECAY };
    T momentum, rate, rho, one_minus_rho, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        momentum = T(parameters[MOMENTUM]);
        rate = T(learning_rate);
        rho = T(parameters[RHO]);
        one_minus_rho = T(1 - parameters[RHO]);
        epsilon = T(parameters[EPSILON]);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T* slot_1, T*) const {
        const T w = weights[i] - weights[i] * decay;
        const T momentum_before = slot_1[i];
        const T velocity_before = slot_0[i];
        const T v = rho * velocity_before + one_minus_rho * (g * g);
        slot_0[i] = v;
        const T step = momentum * momentum_before + rate * g / elements::sqrt(v + epsilon);
        slot_1[i] = step;
        weights[i] = w - step;
    }
};

// v = rho v + (1 - rho) g^2, w -= a g / sqrt(v + eps) (Tieleman and Hinton, "Neural networks for
// machine learning", lecture 6.5, 2012). With centered.
template <typename T> struct RMSpropCentered : Optimizer {
    enum { RHO, MOMENTUM, EPSILON, WEIGHT_DECAY };
    T rate, rho, one_minus_rho, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        rate = T(learning_rate);
        rho = T(parameters[RHO]);
        one_minus_rho = T(1 - parameters[RHO]);
        epsilon = T(parameters[EPSILON]);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T* slot_1, T*) const {
        const T w = weights[i] - weights[i] * decay;
        const T velocity_before = slot_0[i];
        const T average_gradient_before = slot_1[i];
        const T v = rho * velocity_before + one_minus_rho * (g * g);
        slot_0[i] = v;
        const T mean = rho * average_gradient_before + one_minus_rho * g;
        slot_1[i] = mean;
        const T spread = v - mean * mean;
        const T step = rate * g / elements::sqrt(spread + epsilon);
        weights[i] = w - step;
    }
};

// v = rho v + (1 - rho) g^2, w -= a g / sqrt(v + eps) (Tieleman and Hinton, "Neural networks for
// machine learning", lecture 6.5, 2012). With centered and momentum.
template <typename T> struct RMSpropCenteredMomentum : Optimizer {
    enum { RHO, MOMENTUM, EPSILON, WEIGHT_DECAY };
    T momentum, rate, rho, one_minus_rho, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        momentum = T(parameters[MOMENTUM]);
        rate = T(learning_rate);
        rho = T(parameters[RHO]);
        one_minus_rho = T(1 - parameters[RHO]);
        epsilon = T(parameters[EPSILON]);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T* slot_1, T* slot_2) const {
        const T w = weights[i] - weights[i] * decay;
        const T momentum_before = slot_2[i];
        const T velocity_before = slot_0[i];
        const T average_gradient_before = slot_1[i];
        const T v = rho * velocity_before + one_minus_rho * (g * g);
        slot_0[i] = v;
        const T mean = rho * average_gradient_before + one_minus_rho * g;
        slot_1[i] = mean;
        const T spread = v - mean * mean;
        const T step = momentum * momentum_before + rate * g / elements::sqrt(spread + epsilon);
        slot_2[i] = step;
        weights[i] = w - step;
    }
};

// w -= a g; with momentum mu (Polyak, 1964): m = mu m - a g, w += m.
template <typename T> struct SGD : Optimizer {
    enum { MOMENTUM, WEIGHT_DECAY };
    T rate, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        rate = T(learning_rate);
    }

    HD void apply(int64 i, T g, T* weights, T*, T*, T*) const {
        const T w = weights[i] - weights[i] * decay;
        const T step = rate * g;
        weights[i] = w - step;
    }
};

// w -= a g; with momentum mu (Polyak, 1964): m = mu m - a g, w += m. With momentum.
template <typename T> struct SGDMomentum : Optimizer {
    enum { MOMENTUM, WEIGHT_DECAY };
    T momentum, rate, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        momentum = T(parameters[MOMENTUM]);
        rate = T(learning_rate);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T*, T*) const {
        const T w = weights[i] - weights[i] * decay;
        const T momentum_before = slot_0[i];
        const T step = rate * g;
        const T m = momentum * momentum_before - step;
        slot_0[i] = m;
        weights[i] = w + m;
    }
};

// w -= a g; with momentum mu (Polyak, 1964): m = mu m - a g, w += m. With momentum and nesterov.
template <typename T> struct SGDMomentumNesterov : Optimizer {
    enum { MOMENTUM, WEIGHT_DECAY };
    T rate, momentum, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        rate = T(learning_rate);
        momentum = T(parameters[MOMENTUM]);
    }

    HD void apply(int64 i, T g, T* weights, T* slot_0, T*, T*) const {
        const T w = weights[i] - weights[i] * decay;
        const T momentum_before = slot_0[i];
        const T step = rate * g;
        const T m = momentum * momentum_before - step;
        slot_0[i] = m;
        weights[i] = w - step + momentum * m;
    }
};
