// Optimizer updates, one weight at a time. prepare() computes once what all weights share; apply()
// moves weight i along its gradient g, with the slots (m, v, ...) that the optimizer keeps. The
// enumeration names the parameters, like `parameter_names` of its class in Python. This file has
// the hand-written updates: those in generated_updates.cuh are generated from Python.
#pragma once
#include "control.cuh"
#include "generated_updates.cuh"
#include "math.cuh"

// A row of the table of groups: adjacent weights that are updated alike.
struct ParameterGroup {
    double start, stop;  // positions in the flat arrays
    double multiplier;   // of the learning rate
    double decay;        // whether weight decay applies, 1 or 0
};

// Updates so far, with one every `every` steps, and whether an update is due in this step.
HD int64 updates(const int64* counters, int64 every) {
    return every == 1 ? counters[UPDATES] : counters[UPDATES] / every;
}
HD bool is_due(const int64* counters, int64 every) {
    return every == 1 || (counters[UPDATES] + 1) % every == 0;
}

// 1 - beta^t, accurate also if beta^t is so near 1 that the difference would lose its digits
template <typename T> HD T one_minus_power(T one_minus_beta, T t) {
    return -math::expm1(t * math::log1p(-one_minus_beta));
}

// Adam with Nesterov momentum (Dozat, 2016): with mu_t = b1 (1 - .96^t / 2) and p_t the product of
// mu_1 to mu_t,  w -= rate (mu_(t+1) m / (1 - p_(t+1)) + (1 - mu_t) g / (1 - p_t)) /
//                     (sqrt(v / (1 - b2^t)) + epsilon)
// Written by hand, since the products are looked up.
template <typename T> struct Nadam : Optimizer {
    // PRODUCTS of 1 - .96^i / 2 for i from 1 on, until they no longer change.
    enum { BETA_1, BETA_2, EPSILON, WEIGHT_DECAY, PRODUCT_COUNT, PRODUCTS };
    T of_mean, of_gradient, root_scale, one_minus_beta_1, one_minus_beta_2, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64 updates, bool decays) {
        const double beta_1 = parameters[BETA_1];
        const double* products = parameters + PRODUCTS;
        const int64 last = int64(parameters[PRODUCT_COUNT]) - 1;
        const int64 now = updates < last ? updates : last;
        const int64 next = updates + 1 < last ? updates + 1 : last;
        const T t = T(updates + 1);
        one_minus_beta_1 = T(1 - beta_1);
        one_minus_beta_2 = T(1 - parameters[BETA_2]);
        epsilon = T(parameters[EPSILON]);
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        const T mu = T(beta_1 * (now > 0 ? products[now] / products[now - 1] : products[0]));
        const T mu_next = T(beta_1 * products[next] / products[now]);
        const T power = T(1) - one_minus_power(one_minus_beta_1, t);
        of_mean = T(learning_rate) * mu_next / (T(1) - power * T(beta_1) * T(products[next]));
        of_gradient = T(learning_rate) * (T(1) - mu) / (T(1) - power * T(products[now]));
        root_scale = T(1) / one_minus_power(one_minus_beta_2, t);
    }

    HD void apply(int64 i, T g, T* weights, T* first, T* second, T*) const {
        T w = weights[i];
        w -= w * decay;
        const T m = first[i] + (g - first[i]) * one_minus_beta_1;
        const T v = second[i] + (g * g - second[i]) * one_minus_beta_2;
        first[i] = m;
        second[i] = v;
        weights[i] = w - (of_mean * m + of_gradient * g) / (math::sqrt(v * root_scale) + epsilon);
    }
};
