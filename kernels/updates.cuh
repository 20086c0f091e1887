// Optimizer updates, one weight at a time. prepare() computes once what all weights share;
// apply() moves weight i along its gradient g, with the slots (m, v, ...) the optimizer keeps.
#include "math.cuh"

// w += m - rate g, with m the momentum:  m = momentum m - rate g  (Keras's form)
template <typename T> struct SGD : Optimizer {
    T rate, momentum, decay;
    bool nesterov;

    // parameters: momentum, nesterov, weight_decay
    HD void prepare(const double* parameters, double learning_rate, int64, bool decays) {
        rate = T(learning_rate);
        momentum = T(parameters[0]);
        nesterov = parameters[1] != 0;
        decay = decays ? T(parameters[2] * learning_rate) : T(0);
    }

    HD void apply(int64 i, T g, T* weights, T* velocity, T*, T*) const {
        T w = weights[i];
        w -= w * decay;
        T step = -rate * g;
        if (momentum != T(0)) {
            const T m = momentum * velocity[i] - rate * g;
            velocity[i] = m;
            step = nesterov ? momentum * m - rate * g : m;
        }
        weights[i] = w + step;
    }
};

// Kingma and Ba, "Adam", 2015, in the form before section 2.1:
// m += (1 - b1) (g - m),  v += (1 - b2) (g^2 - v),  w -= alpha m / (sqrt(v) + epsilon)
// with alpha = rate sqrt(1 - b2^t) / (1 - b1^t); amsgrad divides by the largest v so far.
template <typename T> struct Adam : Optimizer {
    T alpha, one_minus_beta_1, one_minus_beta_2, epsilon, decay;
    bool amsgrad;

    // 1 - beta^t, also where beta^t is so near 1 that the difference would lose its digits
    HD static T one_minus_power(T one_minus_beta, T t) {
        return -math::expm1(t * math::log1p(-one_minus_beta));
    }

    // parameters: beta_1, beta_2, epsilon, amsgrad, weight_decay
    HD void prepare(const double* parameters, double learning_rate, int64 updates, bool decays) {
        const T t = T(updates + 1);
        one_minus_beta_1 = T(1 - parameters[0]);
        one_minus_beta_2 = T(1 - parameters[1]);
        epsilon = T(parameters[2]);
        amsgrad = parameters[3] != 0;
        decay = decays ? T(parameters[4] * learning_rate) : T(0);
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
