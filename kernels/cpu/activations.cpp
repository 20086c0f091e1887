// Activations and their gradients.
#include "../formulas/generated_activations.cuh"
#include "generated_formulas.hpp"
#include "operation.hpp"

namespace {

// out = f(x + bias), x (rows, features). For a gradient that reads x + bias, `kept` is x, which
// becomes that.
template <typename T, template <typename> class Activation>
void bias_activation(const T* x, const T* bias, const double* parameters, int64 rows,
                     int64 features, T* kept, T* out) {
    const Activation<T> f(parameters);
    if (!bias) {
        INDEPENDENT
        for (int64 i = 0; i < rows * features; ++i) out[i] = f.forward(x[i]);
        return;
    }
    for (int64 r = 0; r < rows; ++r, x += features, out += features) {
        // Two loops: with a choice inside, compilers do not vectorise it.
        if (kept) {
            T* z = kept + r * features;
            INDEPENDENT
            for (int64 c = 0; c < features; ++c) out[c] = f.forward(z[c] = x[c] + bias[c]);
        } else {
            INDEPENDENT
            for (int64 c = 0; c < features; ++c) out[c] = f.forward(x[c] + bias[c]);
        }
    }
}

// out (+)= dy f'(.), from what the forward pass saved
template <typename T, template <typename> class Activation>
void activation_gradient(const T* saved, const T* dy, const double* parameters, int64 n,
                         bool accumulate, T* out) {
    const Activation<T> f(parameters);
    if (accumulate) {
        INDEPENDENT
        for (int64 i = 0; i < n; ++i) out[i] += f.gradient(saved[i], dy[i]);
        return;
    }
    INDEPENDENT
    for (int64 i = 0; i < n; ++i) out[i] = f.gradient(saved[i], dy[i]);
}

template <typename T> void add_activations() {
#define ADD(Formula)                                                                       \
    add<&bias_activation<T, Formula>>("bias_activation", {name_of<T>(), #Formula});         \
    add<&activation_gradient<T, Formula>>("activation_gradient", {name_of<T>(), #Formula});
    EACH_ACTIVATION(ADD)
#undef ADD
}

const Registration registration([] {
    EACH_FLOAT(add_activations)
});

}  // namespace
