// Optimizer updates, one weight at a time. prepare() computes once what all weights share;
// apply() moves weight i along its gradient g, with the slots (m, v, ...) the optimizer keeps.
// The enumeration names the parameters, as `parameter_names` of its class in Python does.
#pragma once
#include "control.cuh"
#include "math.cuh"

// A row of the table of groups: weights that lie side by side and are updated alike.
struct ParameterGroup {
    double start, stop;  // positions in the flat arrays
    double multiplier;   // of the learning rate
    double decay;        // whether weight decay applies, 1 or 0
};

// Updates so far, if there is one every so many steps, and whether this step brings one.
HD int64 updates(const int64* counters, int64 every) {
    return every == 1 ? counters[UPDATES] : counters[UPDATES] / every;
}
HD bool is_due(const int64* counters, int64 every) {
    return every == 1 || (counters[UPDATES] + 1) % every == 0;
}

// w += m - rate g, with m the momentum:  m = momentum m - rate g  (Keras's form)
template <typename T> struct SGD : Optimizer {
    enum { NEXT_MOMENTUM, NESTEROV, WEIGHT_DECAY };
    T rate, momentum, decay;
    bool nesterov;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        rate = T(learning_rate);
        momentum = T(parameters[NEXT_MOMENTUM]);
        nesterov = parameters[NESTEROV] != 0;
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
    }

    HD void apply(int64 i, T g, T* weights, T* velocity, T*, T*) const {
        T w = weights[i];
        w -= w * decay;
        const T step = rate * g;
        if (!velocity) {
            weights[i] = w - step;
            return;
        }
        const T m = momentum * velocity[i] - step;
        velocity[i] = m;
        weights[i] = nesterov ? w - step + momentum * m : w + m;
    }
};

// 1 - beta^t, also where beta^t is so near 1 that the difference would lose its digits
template <typename T> HD T one_minus_power(T one_minus_beta, T t) {
    return -math::expm1(t * math::log1p(-one_minus_beta));
}

// Kingma and Ba, "Adam", 2015, in the form before section 2.1:
// m += (1 - b1) (g - m),  v += (1 - b2) (g^2 - v),  w -= alpha m / (sqrt(v) + epsilon)
// with alpha = rate sqrt(1 - b2^t) / (1 - b1^t); amsgrad divides by the largest v so far.
template <typename T> struct Adam : Optimizer {
    enum { BETA_1, BETA_2, EPSILON, AMSGRAD, WEIGHT_DECAY };
    T alpha, one_minus_beta_1, one_minus_beta_2, epsilon, decay;
    bool amsgrad;

    HD void prepare(const double* parameters, double learning_rate, int64 updates, bool decays) {
        const T t = T(updates + 1);
        one_minus_beta_1 = T(1 - parameters[BETA_1]);
        one_minus_beta_2 = T(1 - parameters[BETA_2]);
        epsilon = T(parameters[EPSILON]);
        amsgrad = parameters[AMSGRAD] != 0;
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        alpha = T(learning_rate) * math::sqrt(one_minus_power(one_minus_beta_2, t)) /
                one_minus_power(one_minus_beta_1, t);
    }

    HD void apply(int64 i, T g, T* weights, T* first, T* second, T* largest) const {
        T w = weights[i];
        w -= w * decay;
        T m = first[i];
        T v = second[i];
        m += (g - m) * one_minus_beta_1;
        v += (g * g - v) * one_minus_beta_2;
        first[i] = m;
        second[i] = v;
        if (amsgrad) {
            v = v > largest[i] ? v : largest[i];
            largest[i] = v;
        }
        weights[i] = w - alpha * m / (math::sqrt(v) + epsilon);
    }
};

// Adam with the largest gradient in place of the mean square (Kingma and Ba, 2015, section 7.1):
// m += (1 - b1) (g - m),  u = max(b2 u, |g|),  w -= rate / (1 - b1^t) m / (u + epsilon)
template <typename T> struct Adamax : Optimizer {
    enum { BETA_1, BETA_2, EPSILON, WEIGHT_DECAY };
    T alpha, one_minus_beta_1, beta_2, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64 updates, bool decays) {
        one_minus_beta_1 = T(1 - parameters[BETA_1]);
        beta_2 = T(parameters[BETA_2]);
        epsilon = T(parameters[EPSILON]);
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        alpha = T(learning_rate) / one_minus_power(one_minus_beta_1, T(updates + 1));
    }

    HD void apply(int64 i, T g, T* weights, T* first, T* norm, T*) const {
        T w = weights[i];
        w -= w * decay;
        const T m = first[i] + (g - first[i]) * one_minus_beta_1;
        const T size = math::abs(g), before = beta_2 * norm[i];
        const T u = before >= size ? before : size;  // NaN stays NaN
        first[i] = m;
        norm[i] = u;
        weights[i] = w - alpha * m / (u + epsilon);
    }
};

// Adam with Nesterov momentum (Dozat, 2016): with mu_t = b1 (1 - .96^t / 2) and p_t the product of
// mu_1 to mu_t,  w -= rate (mu_(t+1) m / (1 - p_(t+1)) + (1 - mu_t) g / (1 - p_t)) /
//                     (sqrt(v / (1 - b2^t)) + epsilon)
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

// Adam with steps as long as the weights are large (You et al., "LAMB", 2020): where to, as a
// direction; what follows scales it by the norms.
template <typename T> struct Lamb : Optimizer {
    enum { BETA_1, BETA_2, EPSILON, WEIGHT_DECAY };
    T scale, root_scale, one_minus_beta_1, one_minus_beta_2, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64 updates, bool decays) {
        const T t = T(updates + 1);
        one_minus_beta_1 = T(1 - parameters[BETA_1]);
        one_minus_beta_2 = T(1 - parameters[BETA_2]);
        epsilon = T(parameters[EPSILON]);
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
        scale = T(1) / one_minus_power(one_minus_beta_1, t);
        root_scale = T(1) / one_minus_power(one_minus_beta_2, t);
    }

    HD void apply(int64 i, T g, T* weights, T* first, T* second, T* direction) const {
        if (decay != T(0)) weights[i] -= weights[i] * decay;
        const T m = first[i] + (g - first[i]) * one_minus_beta_1;
        const T v = second[i] + (g * g - second[i]) * one_minus_beta_2;
        first[i] = m;
        second[i] = v;
        direction[i] = scale * m / (math::sqrt(v * root_scale) + epsilon);
    }
};

// Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011:
// s += g^2,  w -= rate g / sqrt(s + epsilon)
template <typename T> struct Adagrad : Optimizer {
    enum { EPSILON, WEIGHT_DECAY };
    T rate, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        rate = T(learning_rate);
        epsilon = T(parameters[EPSILON]);
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
    }

    HD void apply(int64 i, T g, T* weights, T* squares, T*, T*) const {
        T w = weights[i];
        w -= w * decay;
        const T s = squares[i] + g * g;
        squares[i] = s;
        weights[i] = w - rate * g / math::sqrt(s + epsilon);
    }
};

// Zeiler, "ADADELTA", 2012: the step is the gradient times the root of (mean square of the steps
// + epsilon) / (mean square of the gradients + epsilon).
template <typename T> struct Adadelta : Optimizer {
    enum { RHO, EPSILON, WEIGHT_DECAY };
    T rate, rho, one_minus_rho, epsilon, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        rate = T(learning_rate);
        rho = T(parameters[RHO]);
        one_minus_rho = T(1 - parameters[RHO]);
        epsilon = T(parameters[EPSILON]);
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
    }

    HD void apply(int64 i, T g, T* weights, T* gradients, T* steps, T*) const {
        T w = weights[i];
        w -= w * decay;
        const T s = rho * gradients[i] + one_minus_rho * (g * g);
        const T step = math::sqrt(steps[i] + epsilon) * g / math::sqrt(s + epsilon);
        gradients[i] = s;
        steps[i] = rho * steps[i] + one_minus_rho * (step * step);
        weights[i] = w - rate * step;
    }
};

// Tieleman and Hinton, lecture 6.5, 2012: v = rho v + (1 - rho) g^2, step = rate g / sqrt(v + epsilon);
// centered takes the square of the mean gradient from v (Graves, 2013); with momentum
// m = momentum m + step, w -= m.
template <typename T> struct RMSprop : Optimizer {
    enum { RHO, MOMENTUM, EPSILON, CENTERED, WEIGHT_DECAY };
    T rate, rho, one_minus_rho, momentum, epsilon, decay;
    bool centered, has_momentum;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        rate = T(learning_rate);
        rho = T(parameters[RHO]);
        one_minus_rho = T(1 - parameters[RHO]);
        momentum = T(parameters[MOMENTUM]);
        epsilon = T(parameters[EPSILON]);
        centered = parameters[CENTERED] != 0;
        has_momentum = parameters[MOMENTUM] != 0;
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
    }

    // slots: mean square, then the mean gradient if centered, then the momentum if there is one
    HD void apply(int64 i, T g, T* weights, T* squares, T* second, T* third) const {
        T w = weights[i];
        w -= w * decay;
        T v = rho * squares[i] + one_minus_rho * (g * g);
        squares[i] = v;
        if (centered) {
            const T mean = rho * second[i] + one_minus_rho * g;
            second[i] = mean;
            v -= mean * mean;
        }
        T step = rate * g / math::sqrt(v + epsilon);
        if (has_momentum) {
            T* velocity = centered ? third : second;
            step += momentum * velocity[i];
            velocity[i] = step;
        }
        weights[i] = w - step;
    }
};

// Chen et al., "Symbolic discovery of optimization algorithms", 2023:
// w -= rate sign(b1 m + (1 - b1) g),  m = b2 m + (1 - b2) g
template <typename T> struct Lion : Optimizer {
    enum { BETA_1, BETA_2, WEIGHT_DECAY };
    T rate, beta_1, one_minus_beta_1, beta_2, one_minus_beta_2, decay;

    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        rate = T(learning_rate);
        beta_1 = T(parameters[BETA_1]);
        one_minus_beta_1 = T(1 - parameters[BETA_1]);
        beta_2 = T(parameters[BETA_2]);
        one_minus_beta_2 = T(1 - parameters[BETA_2]);
        decay = decays ? T(parameters[WEIGHT_DECAY] * learning_rate) : T(0);
    }

    HD void apply(int64 i, T g, T* weights, T* mean, T*, T*) const {
        T w = weights[i];
        w -= w * decay;
        const T m = mean[i], c = beta_1 * m + one_minus_beta_1 * g;
        mean[i] = beta_2 * m + one_minus_beta_2 * g;
        weights[i] = c == T(0) ? w : w - (c > T(0) ? rate : c < T(0) ? -rate : c);  // NaN: NaN
    }
};
