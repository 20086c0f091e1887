// Activations of whole rows, and their gradients.
#include "../formulas/generated_activations.cuh"
#include "generated_formulas.hpp"
#include "operation.hpp"
#include "rows.hpp"

namespace {

// out = f(x + bias) for an f that depends on the whole row, x (rows, features); `kept` as in
// bias_activation.
template <typename T, template <typename> class RowActivation>
void row_activation(const T* x, const T* bias, const double* parameters, int64 rows,
                    int64 features, T* kept, T* out) {
    const RowActivation<T> f(parameters);
    if (kept) {
        for (int64 r = 0; r < rows; ++r) {
            T* row = kept + r * features;
            INDEPENDENT
            for (int64 c = 0; c < features; ++c) row[c] += bias[c];
        }
        bias = nullptr;
    }
    each_rows<T>(rows, features, [&](const auto& group, int64 r) {
        typedef std::decay_t<decltype(group)> Rows;
        typename Rows::Input given;
        group.read(x + r * features, given);
        auto input = [&](int64 k) {
            Chunk<T> z = given(k);
            if (!bias) return z;
            const Chunk<T> shift = group.of_column(bias, k);
            EACH_LANE
            for (int l = 0; l < LANES; ++l) z[l] += shift[l];
            return z;
        };
        Chunk<T> maximum = all(math::minus_infinity<T>()), sum = all(T(0));
        group.each([&](int64 k) {
            const Chunk<T> z = input(k);
            EACH_LANE
            for (int l = 0; l < LANES; ++l)
                maximum[l] = group.inside(k, l) && z[l] > maximum[l] ? z[l] : maximum[l];
        });
        maximum = Rows::largest(maximum);
        group.each([&](int64 k) {
            const Chunk<T> z = input(k);
            EACH_LANE
            for (int l = 0; l < LANES; ++l) {
                const T term = f.term(z[l], maximum[l]);
                sum[l] += group.inside(k, l) ? term : T(0);
            }
        });
        sum = Rows::sums(sum);
        typename Rows::Output output = group.output(out + r * features);
        group.each([&](int64 k) {
            const Chunk<T> z = input(k);
            Chunk<T> y;
            EACH_LANE
            for (int l = 0; l < LANES; ++l) y[l] = f.forward(z[l], maximum[l], sum[l]);
            output(k, y);
        });
        group.finish(output, out + r * features);
    });
}

// out (+)= its gradient, from what the forward pass saved
template <typename T, template <typename> class RowActivation>
void row_activation_gradient(const T* saved, const T* dy, const double* parameters, int64 rows,
                             int64 features, bool accumulate, T* out) {
    const RowActivation<T> f(parameters);
    each_rows<T>(rows, features, [&](const auto& group, int64 r) {
        typedef std::decay_t<decltype(group)> Rows;
        const int64 start = r * features;
        typename Rows::Input kept, given, before;
        group.read(saved + start, kept);
        group.read(dy + start, given);
        if (accumulate) group.read(out + start, before);
        Chunk<T> sum = all(T(0));
        group.each([&](int64 k) {
            const Chunk<T> y = kept(k), slope = given(k);
            EACH_LANE
            for (int l = 0; l < LANES; ++l) {
                const T term = f.gradient_term(y[l], slope[l]);
                sum[l] += group.inside(k, l) ? term : T(0);
            }
        });
        sum = Rows::sums(sum);
        typename Rows::Output output = group.output(out + start);
        group.each([&](int64 k) {
            const Chunk<T> y = kept(k), slope = given(k), old = accumulate ? before(k) : all(T(0));
            Chunk<T> dx;
            EACH_LANE
            for (int l = 0; l < LANES; ++l) dx[l] = f.gradient(y[l], slope[l], sum[l]) + old[l];
            output(k, dx);
        });
        group.finish(output, out + start);
    });
}

template <typename T> void add_row_activations() {
#define ADD(Formula)                                                                         \
    add<&row_activation<T, Formula>>("row_activation", {name_of<T>(), #Formula});             \
    add<&row_activation_gradient<T, Formula>>("row_activation_gradient", {name_of<T>(), #Formula});
    EACH_ROW_ACTIVATION(ADD)
#undef ADD
}

const Registration registration([] {
    EACH_FLOAT(add_row_activations)
});

}  // namespace
