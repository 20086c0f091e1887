// Convolution of images, (samples, height, width, channels): products of the patches of x under the
// windows. The patches are read in place. Channels and filters may be divided into groups; with one
// channel and one filter each, a vector of channels at a time is multiplied instead.
#include "../formulas/generated_activations.cuh"
#include "generated_formulas.hpp"
#include "gathered.hpp"
#include "operation.hpp"
#include "windows.hpp"

#include <cstring>

namespace {

constexpr int64 BLOCK = 144;  // windows at a time: their inputs and outputs stay in the cache

// The sizes of a convolution, and the memory layout of a group of images. These are the images of x
// or, if windows extend beyond the edges, copies in a zero-padded array.
struct Layout {
    Windows w;
    int64 padded_height, padded_width;  // of such a copy
    int64 samples, channels, filters;
    int64 group, pieces;  // samples in a group; a piece is several groups
    int64 groups;         // of channels and filters; a patch has the channels of one
    const int64* at;      // where each window of a group of images begins
    const int64* cells;   // offset of each element of a patch from there

    int64 deep() const { return channels / groups; }
    int64 wide() const { return filters / groups; }
#ifdef FOR_BROWSERS  // pages are to stay small: the products compute these as well
    static constexpr bool depthwise() { return false; }
#else
    bool depthwise() const { return groups > 1 && deep() == 1 && wide() == 1; }
#endif
    int64 depth() const { return w.cell_rows * w.cell_columns * deep(); }
    int64 image() const { return w.pixels() * channels; }
    int64 padded() const { return padded_height * padded_width * channels; }
    int64 inside() const { return (w.top * padded_width + w.left) * channels; }
    // Number of contiguous elements in a patch.
    int64 run() const {
        return w.dilation_x == 1 && groups == 1 ? w.cell_columns * channels : deep();
    }

    // work(first sample, samples) for the groups of a piece
    template <typename Work> void each_group(int64 piece, Work work) const {
        const int64 groups = (samples + group - 1) / group;
        const int64 stop = groups * (piece + 1) / pieces;
        for (int64 g = groups * piece / pieces; g < stop; ++g) {
            const int64 first = g * group;
            work(first, samples - first < group ? samples - first : group);
        }
    }
    // line(index of the first pixel of an image row, the same in the padded copy) for all rows
    template <typename Line> void each_line(int64 count, Line line) const {
        for (int64 n = 0; n < count; ++n)
            for (int64 y = 0; y < w.height; ++y)
                line(n * image() + y * w.width * channels,
                     n * padded() + inside() + y * padded_width * channels);
    }
};

Layout layout_of(const int64* n, const int64* at, const int64* cells) {
    return {windows_of(n), n[12], n[13], n[14], n[15], n[16], n[17], n[18], n[19], at, cells};
}

// The images of a group: x itself, or copied into the zero-padded array `room`.
template <typename T>
const T* padded_images(const Layout& l, const T* x, int64 count, T* room) {
    if (!room) return x;
    l.each_line(count, [&](int64 from, int64 to) {
        std::memcpy(room + to, x + from, std::size_t(l.w.width * l.channels) * sizeof(T));
    });
    return room;
}

// work(first column, columns) for each panel
template <typename T, typename Work> void each_panel(int64 columns, Work work) {
    constexpr int64 width = PANEL_WIDTH<T>;
    for (int64 first = 0; first < columns; first += width)
        work(first, columns - first < width ? columns - first : width);
}

// A pass of an activation over n elements: out = f(z), or dy f'(saved), which overwrites dy.
template <typename T>
using Forward = void (*)(const double* parameters, const T* z, int64 n, T* out);
template <typename T>
using Backward = void (*)(const double* parameters, const T* saved, int64 n, T* dy);

// -- one filter for each channel: kernel (cells, channels)

// work(cell, first pixel, first window, windows) for the cells of a row of windows: those of its
// windows whose cell lies on a pixel
template <typename Work> void each_cell(const Windows& w, int64 row, Work work) {
    const Windows::Span y = w.down(row);
    for (int64 r = 0; r < y.cells; ++r)
        for (int64 s = 0; s < w.cell_columns; ++s) {
            const auto [first, stop, offset] = w.reach(s);
            const int64 line = (y.pixel + r * w.dilation_y) * w.width + offset;
            if (first < stop)
                work((y.first + r) * w.cell_columns + s, line + first * w.stride_x,
                     row * w.columns + first, stop - first);
        }
}

// `many` neighbouring windows, of which each cell counts that is in the spans, for a vector of
// channels from c on: out = start + the pixels under each window times the kernel. With `turned`,
// the kernel's cells are in reverse order.
template <int many, typename T, typename V, typename Load, typename Store>
void filter_windows(const Windows& w, const Windows::Span& down, const Windows::Span& across,
                    int64 channels, const T* x, const T* kernel, bool turned, V start, bool add,
                    T* out, Load load, Store store) {
    const int64 step = w.stride_x * channels, last = turned ? w.cell_rows * w.cell_columns - 1 : 0;
    V sum[many];
    UNROLLED
    for (int i = 0; i < many; ++i) sum[i] = add ? load(out + i * channels) : start;
    for (int64 r = 0; r < down.cells; ++r)
        for (int64 s = 0; s < across.cells; ++s) {
            const int64 cell = (down.first + r) * w.cell_columns + across.first + s;
            const V factor = load(kernel + (turned ? last - cell : cell) * channels);
            const int64 y = down.pixel + r * w.dilation_y;
            const T* from = x + (y * w.width + across.pixel + s * w.dilation_x) * channels;
            UNROLLED
            for (int i = 0; i < many; ++i)
                sum[i] = Vector<T>::fma(load(from + i * step), factor, sum[i]);
        }
    UNROLLED
    for (int i = 0; i < many; ++i) store(out + i * channels, sum[i]);
}

// out (windows, channels) of an image (+)= bias + the pixels under each window times the kernel
template <typename T>
void filter_channels(const Windows& w, int64 channels, const T* x, const T* kernel, bool turned,
                     const T* bias, bool add, T* out) {
    typedef Vector<T> V;
    constexpr int many = 4;
    const int64 inside = w.reach(0).first, end = w.reach(w.cell_columns - 1).stop;
    for (int64 row = 0; row < w.rows; ++row) {
        const Windows::Span down = w.down(row);
        for (int64 column = 0; column < w.columns;) {
            const bool whole = column >= inside && column + many <= end;
            const Windows::Span across = w.across(column);
            T* to = out + (row * w.columns + column) * channels;
            each_vector<T>(channels, [&](int64 c, auto load, auto store) {
                const typename V::type start = bias ? load(bias + c) : V::zero();
                (whole ? filter_windows<many, T, typename V::type, decltype(load), decltype(store)>
                       : filter_windows<1, T, typename V::type, decltype(load), decltype(store)>)(
                    w, down, across, channels, x + c, kernel + c, turned, start, add, to + c, load,
                    store
                );
            });
            column += whole ? many : 1;
        }
    }
}

// dx of an image (+)= dz times the kernel, for each window: without strides, the filtered dz
template <typename T>
void spread_channels(const Layout& l, const T* dz, const T* kernel, bool add, T* dx) {
    typedef Vector<T> V;
    const Windows& w = l.w;
    const int64 above = w.dilation_y * (w.cell_rows - 1) - w.top;
    const int64 before = w.dilation_x * (w.cell_columns - 1) - w.left;
    if (w.stride_y == 1 && w.stride_x == 1 && above >= 0 && before >= 0) {
        const Windows turned = {w.rows, w.columns, w.height, w.width, w.cell_rows, w.cell_columns,
                                1, 1, above, before, w.dilation_y, w.dilation_x};
        filter_channels<T>(turned, l.channels, dz, kernel, true, nullptr, add, dx);
        return;
    }
    if (!add) std::memset(dx, 0, std::size_t(l.image()) * sizeof(T));
    const int64 channels = l.channels, step = l.w.stride_x * channels;
    for (int64 row = 0; row < l.w.rows; ++row)
        each_vector<T>(channels, [&](int64 c, auto load, auto store) {
            each_cell(l.w, row, [&](int64 cell, int64 pixel, int64 window, int64 count) {
                const typename V::type factor = load(kernel + cell * channels + c);
                const T* from = dz + window * channels + c;
                T* to = dx + pixel * channels + c;
                for (; count > 0; --count, from += channels, to += step)
                    store(to, V::fma(load(from), factor, load(to)));
            });
        });
}

// sums (cells, channels) += the pixels under each window of an image times dz
template <typename T>
void sum_channels(const Layout& l, const T* x, const T* dz, T* sums) {
    typedef Vector<T> V;
    constexpr int most = 4;
    const int64 channels = l.channels, step = l.w.stride_x * channels;
    for (int64 row = 0; row < l.w.rows; ++row)
        each_cell(l.w, row, [&](int64 cell, int64 pixel, int64 window, int64 count) {
            each_vector<T>(channels, [&](int64 c, auto load, auto store) {
                typename V::type sum[most] = {V::zero(), V::zero(), V::zero(), V::zero()};
                const T* from = x + pixel * channels + c;
                const T* by = dz + window * channels + c;
                int64 left = count;
                for (; left >= most; left -= most, from += most * step, by += most * channels)
                    UNROLLED
                    for (int i = 0; i < most; ++i)
                        sum[i] = V::fma(load(from + i * step), load(by + i * channels), sum[i]);
                for (; left > 0; --left, from += step, by += channels)
                    sum[0] = V::fma(load(from), load(by), sum[0]);
                T* to = sums + cell * channels + c;
                store(to, load(to) + ((sum[0] + sum[1]) + (sum[2] + sum[3])));
            });
        });
}

// -- products

template <typename T> using Windowed = Panel<T, Table, Table, Steps, true>;
template <typename T> using Turned = Panel<T, Table, Table, Steps, false>;
template <typename T> using Scattered = Panel<T, Steps, Steps, Table, true>;

// out = f(z + bias), z = patches of x @ kernel. z itself becomes z + bias.
template <typename T>
void convolve(const T* x, const T* kernel, const T* bias, const double* parameters,
              const int64* numbers, const int64* at, const int64* cells, T* padded, T* packed,
              T* z, T* out, Forward<T> activate) {
    const Layout l = layout_of(numbers, at, cells);
    const int64 depth = l.depth(), filters = l.filters, wide = l.wide();
    if (l.depthwise()) {
        parallel(l.pieces, [&](int64 piece) {
            l.each_group(piece, [&](int64 n, int64) {
                const int64 size = l.w.count() * filters;
                filter_channels(l.w, filters, x + n * l.image(), kernel, false, bias, false,
                                z + n * size);
                activate(parameters, z + n * size, size, out + n * size);
            });
        });
        return;
    }
    const int64 panels = (wide + PANEL_WIDTH<T> - 1) / PANEL_WIDTH<T> * PANEL_WIDTH<T> * depth;
    for (int64 g = 0; g < l.groups; ++g)
        lay_out_panels(kernel + g * wide, filters, false, depth, wide, packed + g * panels);
    parallel(l.pieces, [&](int64 piece) {
        T* room = padded ? padded + piece * l.group * l.padded() : nullptr;
        l.each_group(piece, [&](int64 first, int64 count) {
            const T* images = padded_images(l, x + first * l.image(), count, room);
            const int64 windows = count * l.w.count(), base = first * l.w.count();
            for (int64 block = 0; block < windows; block += BLOCK) {
                const int64 in_block = windows - block < BLOCK ? windows - block : BLOCK;
                T* rows = z + (base + block) * filters;
                for (int64 g = 0; g < l.groups; ++g)
                    each_panel<T>(wide, [&](int64 column, int64 columns) {
                        const int64 filter = g * wide + column;
                        gathered_panel<T>(
                            Windowed<T>{images + g * l.deep(), {at + block}, {cells}, depth,
                                       packed + g * panels + column * depth, PANEL_WIDTH<T>,
                                       columns, bias ? bias + filter : nullptr, false,
                                       rows + filter, {filters}},
                            in_block
                        );
                    });
                activate(parameters, rows, in_block * filters, out + (base + block) * filters);
            }
        });
    });
}

// sums (columns) (+)= the sum over the rows of x (rows, columns)
template <typename T>
void add_rows(const T* x, int64 rows, int64 columns, bool add, T* sums) {
    typedef Vector<T> V;
    constexpr int most = 4;
    for (int64 c = 0; c < columns; c += V::lanes) {
        const typename V::Part part = V::part(columns - c < V::lanes ? columns - c : V::lanes);
        typename V::type sum[most] = {V::zero(), V::zero(), V::zero(), V::zero()};
        const T* from = x + c;
        int64 r = 0;
        for (; r + most <= rows; r += most)
            UNROLLED
            for (int i = 0; i < most; ++i)
                sum[i] = sum[i] + V::load(from + (r + i) * columns, part);
        for (; r < rows; ++r) sum[0] = sum[0] + V::load(from + r * columns, part);
        const typename V::type all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        V::store(sums + c, add ? V::load(sums + c, part) + all : all, part);
    }
}

// out (+)= the sum of `parts` contiguous arrays of n elements
template <typename T> void add_parts(const T* sums, int64 parts, int64 n, bool accumulate, T* out) {
    in_pieces(0, n, [&](int64 first, int64 stop) {
        for (int64 part = 0; part < parts; ++part) {
            const T* from = sums + part * n;
            const bool set = part == 0 && !accumulate;
            INDEPENDENT
            for (int64 i = first; i < stop; ++i) out[i] = set ? from[i] : out[i] + from[i];
        }
    });
}

// Adds the gradients of the windows' patches, dz kernel^T, to the pixels under them. `turned` has
// the panels of kernel^T, one run of a patch after the other.
template <typename T>
void scatter(const Layout& l, const T* dz, const T* turned, int64 windows, bool add, T* images) {
    const int64 run = l.run(), filters = l.filters, wide = l.wide();
    const int64 panels = (run + PANEL_WIDTH<T> - 1) / PANEL_WIDTH<T>;
    for (int64 block = 0; block < windows; block += BLOCK) {
        const int64 in_block = windows - block < BLOCK ? windows - block : BLOCK;
        const T* panel = turned;
        for (int64 g = 0; g < l.groups; ++g)
            for (int64 cell = 0; cell < l.depth(); cell += run) {
                T* to = images + l.cells[cell] + g * l.deep();
                each_panel<T>(run, [&](int64 column, int64 columns) {
                    gathered_panel<T>(
                        Scattered<T>{dz + block * filters + g * wide, {filters}, {1}, wide,
                                     panel + column * wide, PANEL_WIDTH<T>, columns, nullptr, add,
                                     to + column, {l.at + block}},
                        in_block
                    );
                });
                panel += panels * PANEL_WIDTH<T> * wide;
            }
    }
}

// Computes the requested gradients; dy becomes dz = dy f'(.). Each piece has its own sums, which
// are added up at the end.
template <typename T>
void differentiate(const T* x, const T* kernel, const double* parameters, const int64* numbers,
                   const int64* at, const int64* cells, T* padded, T* pixels, T* turned, T* sums,
                   T* bias_sums, const T* saved, T* dy, T* dkernel, T* dbias, T* dx,
                   bool accumulate_gradients, bool accumulate_dx, Backward<T> activate) {
    const Layout l = layout_of(numbers, at, cells);
    const int64 depth = l.depth(), filters = l.filters, run = l.run(), wide = l.wide();
    const int64 turned_run = (run + PANEL_WIDTH<T> - 1) / PANEL_WIDTH<T> * PANEL_WIDTH<T> * wide;
    const bool depthwise = l.depthwise();
    if (dx && !depthwise)
        for (int64 g = 0, part = 0; g < l.groups; ++g)
            for (int64 cell = 0; cell < depth; cell += run, ++part)
                lay_out_panels(kernel + cell * filters + g * wide, filters, true, wide, run,
                               turned + part * turned_run);
    const bool overlaps = !l.w.tiles();
    parallel(l.pieces, [&](int64 piece) {
        T* room = padded ? padded + piece * l.group * l.padded() : nullptr;
        T* broad = pixels ? pixels + piece * l.group * l.padded() : nullptr;
        bool begun = false;
        if (dkernel && depthwise)
            std::memset(sums + piece * depth * filters, 0,
                        std::size_t(depth * filters) * sizeof(T));
        l.each_group(piece, [&](int64 first, int64 count) {
            const int64 windows = count * l.w.count(), base = first * l.w.count() * filters;
            T* dz = dy + base;
            activate(parameters, saved + base, windows * filters, dz);
            if (dbias) add_rows(dz, windows, filters, begun, bias_sums + piece * filters);
            if (depthwise) {
                const int64 image = first * l.image();
                if (dkernel) sum_channels(l, x + image, dz, sums + piece * depth * filters);
                if (dx) spread_channels(l, dz, kernel, accumulate_dx, dx + image);
                begun = true;
                return;
            }
            if (dkernel) {
                const T* images = padded_images(l, x + first * l.image(), count, room);
                T* sum = sums + piece * depth * filters;
                for (int64 block = 0; block < windows; block += BLOCK) {
                    const int64 in_block = windows - block < BLOCK ? windows - block : BLOCK;
                    for (int64 g = 0; g < l.groups; ++g)
                        each_panel<T>(wide, [&](int64 column, int64 columns) {
                            const int64 filter = g * wide + column;
                            gathered_panel<T>(
                                Turned<T>{images + g * l.deep(), {cells}, {at + block}, in_block,
                                           dz + block * filters + filter, filters, columns,
                                           nullptr, begun || block > 0, sum + filter, {filters}},
                                depth
                            );
                        });
                }
            }
            begun = true;
            if (!dx) return;
            T* into = dx + first * l.image();
            T* images = broad ? broad : into;
            const bool add = broad ? overlaps : accumulate_dx || overlaps;
            if (broad) std::memset(broad, 0, std::size_t(count * l.padded()) * sizeof(T));
            else if (!accumulate_dx && overlaps)
                std::memset(into, 0, std::size_t(count * l.image()) * sizeof(T));
            scatter(l, dz, turned, windows, add, images);
            if (!broad) return;
            const int64 line = l.w.width * l.channels;
            l.each_line(count, [&](int64 to, int64 at) {
                INDEPENDENT
                for (int64 i = 0; i < line; ++i)
                    into[to + i] = accumulate_dx ? into[to + i] + broad[at + i] : broad[at + i];
            });
        });
    });
    if (dkernel) add_parts(sums, l.pieces, depth * filters, accumulate_gradients, dkernel);
    if (dbias) add_parts(bias_sums, l.pieces, filters, accumulate_gradients, dbias);
}

template <typename T, template <typename> class Activation>
void forward(const double* parameters, const T* z, int64 n, T* out) {
    const Activation<T> f(parameters);
    INDEPENDENT
    for (int64 i = 0; i < n; ++i) out[i] = f.forward(z[i]);
}

template <typename T, template <typename> class Activation>
void backward(const double* parameters, const T* saved, int64 n, T* dy) {
    const Activation<T> f(parameters);
    INDEPENDENT
    for (int64 i = 0; i < n; ++i) dy[i] = f.gradient(saved[i], dy[i]);
}

template <typename T, template <typename> class Activation>
void convolution(const T* x, const T* kernel, const T* bias, const double* parameters,
                 const int64* numbers, const int64* at, const int64* cells, T* padded, T* packed,
                 T* z, T* out) {
    convolve(x, kernel, bias, parameters, numbers, at, cells, padded, packed, z, out,
             forward<T, Activation>);
}

template <typename T, template <typename> class Activation>
void convolution_gradient(const T* x, const T* kernel, const double* parameters,
                          const int64* numbers, const int64* at, const int64* cells, T* padded,
                          T* pixels, T* turned, T* sums, T* bias_sums, const T* saved, T* dy,
                          T* dkernel, T* dbias, T* dx, bool accumulate_gradients,
                          bool accumulate_dx) {
    differentiate(x, kernel, parameters, numbers, at, cells, padded, pixels, turned, sums,
                  bias_sums, saved, dy, dkernel, dbias, dx, accumulate_gradients, accumulate_dx,
                  backward<T, Activation>);
}

template <typename T> void add_all() {
#define ADD(Formula)                                                                        \
    add<&convolution<T, Formula>>("convolution", {name_of<T>(), #Formula});                  \
    add<&convolution_gradient<T, Formula>>("convolution_gradient", {name_of<T>(), #Formula});
    EACH_ACTIVATION(ADD)
#undef ADD
}

const Registration registration([] {
    EACH_FLOAT(add_all)
});

}  // namespace
