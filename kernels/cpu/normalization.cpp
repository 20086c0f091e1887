// Normalization: over the batch, for each feature, and over the features, for each row. Arrays are
// (outer, features, inner), whichever axis of the data the feature axis is.
//
// Sums are computed in T over chunks of rows (or of `outer`), whose size depends on the shape
// alone. The chunks are then added up in double precision. Per-feature values are stored in a
// `table`, repeated if there are few features, so that a vector covers several rows.
#include "../formulas/math.cuh"
#include "operation.hpp"
#include "pieces.hpp"

namespace {

constexpr int64 SIDE_BY_SIDE = 64;  // features whose chunks are added up at the same time
constexpr int LANES = 16;           // parallel sums of one row, on each instruction set

// work(k) for each of the chunks, which have `numbers` elements in total.
template <typename Work> void each_chunk(int64 chunks, int64 numbers, Work work) {
    if (numbers >= WORTH_THREADS) {
        parallel(chunks, work);
    } else {
        for (int64 k = 0; k < chunks; ++k) work(k);
    }
}

// The sum of term(0) to term(n - 1) in T, as LANES parallel sums if there are enough terms.
template <typename T, typename Term> inline T lanes_sum(int64 n, Term term) {
    if (n < LANES) {
        T sum = 0;
        for (int64 i = 0; i < n; ++i) sum += term(i);
        return sum;
    }
    alignas(64) T sums[LANES] = {};
    int64 i = 0;
    for (; i + LANES <= n; i += LANES) {
        INDEPENDENT
        for (int lane = 0; lane < LANES; ++lane) sums[lane] += term(i + lane);
    }
    for (int lane = 0; i + lane < n; ++lane) sums[lane] += term(i + lane);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
    return sums[0];
}

// Two sums for each feature over `outer` from first to stop: of a(place, f) into first_sums and of
// b(place, f) into second_sums, both (features,).
template <typename T, typename A, typename B>
void chunk_sums(int64 first, int64 stop, int64 features, int64 inner, T* first_sums,
                T* second_sums, A a, B b) {
    if (inner > 1) {
        for (int64 f = 0; f < features; ++f) {
            T one = 0, two = 0;
            for (int64 o = first; o < stop; ++o) {
                const int64 start = (o * features + f) * inner;
                one += lanes_sum<T>(inner, [=](int64 i) { return a(start + i, f); });
                two += lanes_sum<T>(inner, [=](int64 i) { return b(start + i, f); });
            }
            first_sums[f] = one;
            second_sums[f] = two;
        }
        return;
    }
    for (int64 f = 0; f < features; ++f) first_sums[f] = second_sums[f] = T(0);
    int64 o = first;
    for (; o + 4 <= stop; o += 4) {  // fewer loads and stores of the sums
        const int64 p = o * features;
        INDEPENDENT
        for (int64 f = 0; f < features; ++f) {
            const int64 q = p + f, r = q + features, s = r + features, t = s + features;
            first_sums[f] += (a(q, f) + a(r, f)) + (a(s, f) + a(t, f));
            second_sums[f] += (b(q, f) + b(r, f)) + (b(s, f) + b(t, f));
        }
    }
    for (; o < stop; ++o) {
        const int64 p = o * features;
        INDEPENDENT
        for (int64 f = 0; f < features; ++f) {
            first_sums[f] += a(p + f, f);
            second_sums[f] += b(p + f, f);
        }
    }
}

// mean, variance (features,) of x, and the moving ones updated; partial (chunks, 2, features).
// For each chunk, sums of differences from its first element and of their squares: nothing cancels
// if the mean is far larger than the deviation. The means and squares of chunks are then combined
// (Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983).
template <typename T>
void batch_statistics(const T* x, int64 outer, int64 features, int64 inner, int64 rows,
                      double momentum, T* partial, T* mean, T* variance, T* moving_mean,
                      T* moving_variance) {
    const int64 chunks = (outer + rows - 1) / rows;
    each_chunk(chunks, outer * features * inner, [=](int64 k) {
        const int64 first = k * rows, stop = first + rows < outer ? first + rows : outer;
        const T* origin = x + first * features * inner;
        T* sums = partial + 2 * k * features;
        const auto difference = [=](int64 place, int64 f) { return x[place] - origin[f * inner]; };
        const auto square = [=](int64 place, int64 f) {
            const T d = x[place] - origin[f * inner];
            return d * d;
        };
        chunk_sums(first, stop, features, inner, sums, sums + features, difference, square);
    });
    const T keep = T(momentum), rest = T(1.0 - momentum);
    for (int64 start = 0; start < features; start += SIDE_BY_SIDE) {
        const int64 in_group = features - start < SIDE_BY_SIDE ? features - start : SIDE_BY_SIDE;
        double middle[SIDE_BY_SIDE] = {}, squares[SIDE_BY_SIDE] = {}, seen = 0;
        for (int64 k = 0; k < chunks; ++k) {
            const int64 first = k * rows, stop = first + rows < outer ? first + rows : outer;
            const double count = double(stop - first) * double(inner);
            const double weight = count / (seen + count);
            const T* origin = x + (first * features + start) * inner;
            const T* sums = partial + 2 * k * features + start;
            for (int64 f = 0; f < in_group; ++f) {
                const double sum = sums[f];
                const double away = double(origin[f * inner]) + sum / count - middle[f];
                middle[f] += away * weight;
                squares[f] += sums[features + f] - sum * sum / count + away * away * seen * weight;
            }
            seen += count;
        }
        for (int64 f = 0; f < in_group; ++f) {
            const int64 g = start + f;
            mean[g] = T(middle[f]);
            variance[g] = squares[f] < 0 ? T(0) : T(squares[f] / seen);
            moving_mean[g] = moving_mean[g] * keep + mean[g] * rest;
            moving_variance[g] = moving_variance[g] * keep + variance[g] * rest;
        }
    }
}

// work(start, stop, f) for pieces of (outer, features, inner): the elements from start to stop.
// They belong to feature f if inner > 1; otherwise f is -1, and each has a table entry.
template <typename Work>
void each_run(int64 outer, int64 features, int64 inner, int64 width, Work work) {
    const int64 n = outer * features * inner;
    if (inner > 1) {
        each_chunk(outer * features, n, [=](int64 k) {
            work(k * inner, (k + 1) * inner, k % features);
        });
        return;
    }
    const int64 piece = (PIECE + width - 1) / width * width;
    each_chunk((n + piece - 1) / piece, n, [=](int64 k) {
        const int64 end = (k + 1) * piece < n ? (k + 1) * piece : n;
        for (int64 start = k * piece; start < end; start += width)
            work(start, start + width < end ? start + width : end, -1);
    });
}

// Repeats the first `features` values of a row of the table up to `width`.
template <typename T> void repeat(T* row, int64 features, int64 width) {
    for (int64 i = features; i < width; ++i) row[i] = row[i - features];
}

// out = (x - mean) gamma / sqrt(variance + epsilon) + beta; table (3, width), width a multiple of
// the number of features.
template <typename T>
void normalize(const T* x, const T* mean, const T* variance, const T* gamma, const T* beta,
               double epsilon, int64 outer, int64 features, int64 inner, int64 width, T* table,
               T* out) {
    const T small = T(epsilon);
    T *middle = table, *scale = table + width, *shift = table + 2 * width;
    for (int64 f = 0; f < features; ++f) {
        middle[f] = mean[f];
        scale[f] = T(1) / math::sqrt(variance[f] + small) * (gamma ? gamma[f] : T(1));
        shift[f] = beta ? beta[f] : T(0);
    }
    for (int row = 0; row < 3; ++row) repeat(table + row * width, features, width);
    each_run(outer, features, inner, width, [=](int64 start, int64 stop, int64 f) {
        const T* from = x + start;
        T* to = out + start;
        const int64 n = stop - start;
        if (f >= 0) {
            const T m = middle[f], s = scale[f], b = shift[f];
            INDEPENDENT
            for (int64 i = 0; i < n; ++i) to[i] = (from[i] - m) * s + b;
            return;
        }
        INDEPENDENT
        for (int64 i = 0; i < n; ++i) to[i] = (from[i] - middle[i]) * scale[i] + shift[i];
    });
}

// Adds up the chunks of partial (chunks, 2, features), and multiplies the second sums by `factor`
// (unless null). Writes each into its gradient, if there is one, and into totals (2, features).
template <typename T>
void add_chunks(const T* partial, int64 chunks, int64 features, const T* factor, bool accumulate,
                T* first_gradient, T* second_gradient, T* totals) {
    for (int64 start = 0; start < features; start += SIDE_BY_SIDE) {
        const int64 in_group = features - start < SIDE_BY_SIDE ? features - start : SIDE_BY_SIDE;
        double first[SIDE_BY_SIDE] = {}, second[SIDE_BY_SIDE] = {};
        for (int64 k = 0; k < chunks; ++k) {
            const T* sums = partial + 2 * k * features + start;
            for (int64 f = 0; f < in_group; ++f) {
                first[f] += sums[f];
                second[f] += sums[features + f];
            }
        }
        for (int64 f = 0; f < in_group; ++f) {
            const int64 g = start + f;
            const T one = T(first[f]), two = T(second[f]) * (factor ? factor[g] : T(1));
            if (first_gradient) first_gradient[g] = one + (accumulate ? first_gradient[g] : T(0));
            if (second_gradient)
                second_gradient[g] = two + (accumulate ? second_gradient[g] : T(0));
            if (totals) {
                totals[g] = one;
                totals[features + g] = two;
            }
        }
    }
}

// dbeta = sum of dy, dgamma = sum of dy n with n the normalized x, and dx = gamma / sqrt(variance +
// epsilon) (dy - mean of dy - n mean of dy n), without these means if the statistics are constants.
// partial (chunks, 2, features) or null, table (5, width).
template <typename T>
void normalize_gradient(const T* x, const T* dy, const T* mean, const T* variance, const T* gamma,
                        double epsilon, int64 outer, int64 features, int64 inner, int64 rows,
                        int64 width, bool constant, bool accumulate_gradients, bool accumulate_dx,
                        T* partial, T* table, T* dgamma, T* dbeta, T* dx) {
    const T small = T(epsilon);
    T *middle = table, *scale = table + width, *level = table + 2 * width;
    T *slope = table + 3 * width, *inverse = table + 4 * width;
    for (int64 f = 0; f < features; ++f) {
        middle[f] = mean[f];
        inverse[f] = T(1) / math::sqrt(variance[f] + small);
        scale[f] = inverse[f] * (gamma ? gamma[f] : T(1));
    }
    if (partial) {
        const int64 chunks = (outer + rows - 1) / rows;
        each_chunk(chunks, outer * features * inner, [=](int64 k) {
            const int64 first = k * rows, stop = first + rows < outer ? first + rows : outer;
            T* sums = partial + 2 * k * features;
            const auto gradient = [=](int64 place, int64) { return dy[place]; };
            const auto product = [=](int64 place, int64 f) {
                return dy[place] * (x[place] - mean[f]);
            };
            chunk_sums(first, stop, features, inner, sums, sums + features, gradient, product);
        });
        // The totals overwrite the first chunk, which has been read by then.
        add_chunks(partial, chunks, features, inverse, accumulate_gradients, dbeta, dgamma,
                   partial);
    }
    if (!dx) return;
    const T n = T(outer * inner);
    for (int64 f = 0; f < features; ++f) {
        level[f] = constant ? T(0) : partial[f] * scale[f] / n;
        slope[f] = constant ? T(0) : partial[features + f] * inverse[f] * scale[f] / n;
    }
    for (int row = 0; row < 4; ++row) repeat(table + row * width, features, width);
    each_run(outer, features, inner, width, [=](int64 start, int64 stop, int64 f) {
        const T *from = x + start, *gradient = dy + start;
        T* to = dx + start;
        const int64 numbers = stop - start;
        if (f >= 0) {
            const T m = middle[f], s = scale[f], l = level[f], d = slope[f];
            INDEPENDENT
            for (int64 i = 0; i < numbers; ++i) {
                const T term = gradient[i] * s - ((from[i] - m) * d + l);
                to[i] = accumulate_dx ? to[i] + term : term;
            }
            return;
        }
        INDEPENDENT
        for (int64 i = 0; i < numbers; ++i) {
            const T term = gradient[i] * scale[i] - ((from[i] - middle[i]) * slope[i] + level[i]);
            to[i] = accumulate_dx ? to[i] + term : term;
        }
    });
}

// work(c -> gamma[c], or 1 if there is no gamma): a loop that checks each time is not vectorised.
template <typename T, typename Work> void with_factors(const T* gamma, Work work) {
    if (gamma) work([=](int64 c) { return gamma[c]; });
    else work([](int64) { return T(1); });
}

// out = (x - mean) gamma / sqrt(variance + epsilon) + beta with the mean and variance of the row.
// If `mean` is null, 0 is used.
template <typename T>
void layer_norm(const T* x, const T* gamma, const T* beta, double epsilon, int64 rows,
                int64 features, int64 piece, T* mean, T* variance, T* out) {
    const T small = T(epsilon);
    each_chunk((rows + piece - 1) / piece, rows * features, [=](int64 k) {
        const int64 end = (k + 1) * piece < rows ? (k + 1) * piece : rows;
        for (int64 r = k * piece; r < end; ++r) {
            const T* row = x + r * features;
            T* result = out + r * features;
            T middle = T(0);
            if (mean) {  // from differences, so that a large mean is accurate
                const T origin = row[0];
                const T sum = lanes_sum<T>(features, [=](int64 c) { return row[c] - origin; });
                middle = mean[r] = origin + sum / T(features);
            }
            const T spread = lanes_sum<T>(features, [=](int64 c) {
                const T d = row[c] - middle;
                return d * d;
            }) / T(features);
            const T inverse = T(1) / math::sqrt(spread + small);
            variance[r] = spread;
            with_factors(gamma, [=](auto factor) {
                if (beta) {
                    INDEPENDENT
                    for (int64 c = 0; c < features; ++c)
                        result[c] = (row[c] - middle) * inverse * factor(c) + beta[c];
                } else {
                    INDEPENDENT
                    for (int64 c = 0; c < features; ++c)
                        result[c] = (row[c] - middle) * inverse * factor(c);
                }
            });
        }
    });
}

// Its gradient: with g = dy gamma and n the normalized row, dx (+)= (g - mean(g) - n mean(g n)) /
// sqrt(variance + epsilon), without mean(g) if `mean` is null; dgamma and dbeta are the column sums
// of dy n and of dy. partial (chunks, 2, features).
template <typename T>
void layer_norm_gradient(const T* x, const T* dy, const T* gamma, double epsilon, int64 rows,
                         int64 features, int64 piece, const T* mean, const T* variance,
                         bool accumulate_gradients, bool accumulate_dx, T* partial, T* dgamma,
                         T* dbeta, T* dx) {
    const T small = T(epsilon);
    const int64 chunks = (rows + piece - 1) / piece;
    const bool sums = dgamma || dbeta;
    each_chunk(chunks, rows * features, [=](int64 k) {
        T *of_dy = partial + 2 * k * features, *of_products = of_dy + features;
        if (sums)
            for (int64 c = 0; c < 2 * features; ++c) of_dy[c] = T(0);
        const int64 end = (k + 1) * piece < rows ? (k + 1) * piece : rows;
        for (int64 r = k * piece; r < end; ++r) {
            const T *row = x + r * features, *gradient = dy + r * features;
            const T middle = mean ? mean[r] : T(0);
            const T inverse = T(1) / math::sqrt(variance[r] + small);
            if (sums) {
                INDEPENDENT
                for (int64 c = 0; c < features; ++c) {
                    of_dy[c] += gradient[c];
                    of_products[c] += gradient[c] * ((row[c] - middle) * inverse);
                }
            }
            if (!dx) continue;
            T* out = dx + r * features;
            with_factors(gamma, [=](auto factor) {
                const auto scaled = [=](int64 c) { return gradient[c] * factor(c); };
                const auto normal = [=](int64 c) { return (row[c] - middle) * inverse; };
                const T level = mean ? lanes_sum<T>(features, scaled) / T(features) : T(0);
                const T along = lanes_sum<T>(features, [=](int64 c) {
                    return scaled(c) * normal(c);
                }) / T(features);
                const auto slope = [=](int64 c) {
                    return (scaled(c) - level - normal(c) * along) * inverse;
                };
                if (accumulate_dx) {
                    INDEPENDENT
                    for (int64 c = 0; c < features; ++c) out[c] += slope(c);
                } else {
                    INDEPENDENT
                    for (int64 c = 0; c < features; ++c) out[c] = slope(c);
                }
            });
        }
    });
    if (sums) {
        const T* none = nullptr;
        add_chunks(partial, chunks, features, none, accumulate_gradients, dbeta, dgamma,
                   static_cast<T*>(nullptr));
    }
}

template <typename T> void add_all() {
    add<&batch_statistics<T>>("batch_statistics", {name_of<T>()});
    add<&normalize<T>>("normalize", {name_of<T>()});
    add<&normalize_gradient<T>>("normalize_gradient", {name_of<T>()});
    add<&layer_norm<T>>("layer_norm", {name_of<T>()});
    add<&layer_norm_gradient<T>>("layer_norm_gradient", {name_of<T>()});
}

const Registration registration([] {
    EACH_FLOAT(add_all)
});

}  // namespace
