// Products, batches, losses and activations of rows, of networks in lanes.
#pragma once
#include "lane_operations.hpp"
#include "rows.hpp"
#include "steps.hpp"

#include <memory>

namespace {

// -- products

// out (rows, columns) (+)= a b in each lane; steps are in elements of all lanes.
template <typename T, int rows, int columns>
inline void product_tile(const T* a, int64 a_row, int64 a_step, const T* b, int64 b_step,
                         int64 b_column, int64 k, bool accumulate, T* out, int64 out_row) {
    typedef Vector<T> V;
    for (int part = 0; part < NETWORKS; part += V::lanes) {
        typename V::type sums[rows][columns];
        UNROLLED
        for (int i = 0; i < rows; ++i)
            UNROLLED
            for (int j = 0; j < columns; ++j)
                sums[i][j] = accumulate ? V::load(out + i * out_row + j * NETWORKS) : V::zero();
        const T *left = a, *right = b;
        for (int64 p = 0; p < k; ++p, left += a_step, right += b_step) {
            typename V::type factors[columns];
            UNROLLED
            for (int j = 0; j < columns; ++j) factors[j] = V::load(right + j * b_column);
            UNROLLED
            for (int i = 0; i < rows; ++i) {
                const typename V::type x = V::load(left + i * a_row);
                UNROLLED
                for (int j = 0; j < columns; ++j) sums[i][j] = V::fma(x, factors[j], sums[i][j]);
            }
        }
        UNROLLED
        for (int i = 0; i < rows; ++i)
            UNROLLED
            for (int j = 0; j < columns; ++j)
                V::store(out + i * out_row + j * NETWORKS, sums[i][j]);
        a += V::lanes;
        b += V::lanes;
        out += V::lanes;
    }
}

template <typename T> class Product : public Work {
  public:
    Product(Shared& shared, const Calls& calls) {
        const Word* w = calls[0]->words;
        a = shared.lanes<T>(w[0].array);
        b = shared.lanes<T>(w[1].array);
        out = shared.lanes<T>(w[2].array);
        m = w[3].integer;
        n = w[4].integer;
        k = w[5].integer;
        const int64 lda = w[6].integer * NETWORKS, ldb = w[7].integer * NETWORKS, one = NETWORKS;
        const bool a_turned = w[9].integer, b_turned = w[10].integer;
        a_row = a_turned ? one : lda;
        a_step = a_turned ? lda : one;
        b_step = b_turned ? one : ldb;
        b_column = b_turned ? ldb : one;
        out_row = w[8].integer * NETWORKS;
        accumulate = w[11].integer;
    }

    void perform() override {
        int64 j = 0;
        for (; j + 4 <= n; j += 4) all_rows<4>(j);
        if (n - j >= 2) {
            all_rows<2>(j);
            j += 2;
        }
        if (j < n) all_rows<1>(j);
    }

  private:
    const T *a, *b;
    T* out;
    int64 m, n, k, a_row, a_step, b_step, b_column, out_row;
    bool accumulate;

    template <int columns> void all_rows(int64 j) const {
        int64 i = 0;
        for (; i + 3 <= m; i += 3) tile<3, columns>(i, j);
        for (; i < m; ++i) tile<1, columns>(i, j);
    }
    template <int rows, int columns> ONCE void tile(int64 i, int64 j) const {
        product_tile<T, rows, columns>(a + i * a_row, a_row, a_step, b + j * b_column, b_step,
                                       b_column, k, accumulate, out + i * out_row + j * NETWORKS,
                                       out_row);
    }
};

// -- batches

// The rows of a batch in lanes. Each network has an order of its own, and may have data of its own.
class Gather : public Work {
    static constexpr int64 AHEAD = 64;          // rows that are found at once
    static constexpr int64 MOST_BYTES = 1 << 12;  // of rows that are read at once

  public:
    Gather(Shared& shared, const Calls& calls, const Rule&)
        : shared(shared), calls(calls), operation(*calls[0]->operation),
          region(shared.region_of(calls[0]->words[10].array, 1)),
          offset(static_cast<char*>(calls[0]->words[10].array) - region->begin),
          same(static_cast<const Gather*>(shared.gather)) {
        const Word* w = calls[0]->words;
        width = w[2].integer;
        shuffled = w[4].integer;
        first = w[6].integer;
        batch = w[7].integer;
        size = size_of(operation.parameters[10].type);
        plain = operation.choices[0] == operation.choices[1] && size >= 4 && w[8].number == 1.0 &&
                w[9].number == 0.0;
        for (int l = 0; l < NETWORKS; ++l) {
            const Word* own = calls[l < shared.count ? std::size_t(l) : 0]->words;
            source[l] = static_cast<char*>(own[0].array);
            last[l] = own[1].integer - 1;
            seed[l] = uint64(own[3].integer);
            counters[l] = argument<const int64*>(own[5]);
            if (same && (last[l] != same->last[l] || seed[l] != same->seed[l] ||
                         counters[l] != same->counters[l]))
                same = nullptr;
        }
        if (same && (shuffled != same->shuffled || first != same->first || batch != same->batch))
            same = nullptr;
        if (!same) rows.resize(std::size_t(std::max(batch, AHEAD) * NETWORKS));
        bytes = batch * width * size * NETWORKS;
        most = plain && bytes ? std::min(MOST_BYTES / bytes, AHEAD) : 0;
        if (most > 1) memory = std::make_unique<Aligned>(std::size_t(most * bytes));
        shared.gather = this;
    }

    // Whether all networks are at the same place of their orders.
    void begin() override {
        const std::size_t one = shared.first;
        known = left = 0;
        together = shuffled;
        for (std::size_t l = 0; l < calls.size(); ++l)
            together = together && (!shared.active[l] ||
                                    (last[l] == last[one] &&
                                     counters[l][POSITION] == counters[one][POSITION]));
    }

    void perform() override {
        if (!same) find_rows();
        if (!plain) return convert(found());
        char* to = region->lanes + offset * NETWORKS;
        if (most <= 1) return read(found(), batch, to);
        // Several batches at once: a processor waits if it loads a vector that was just stored in
        // pieces.
        if (left == 0) {
            next = memory->as<char>();
            left = std::min(1 + found_ahead(), most);
            read(found(), left * batch, memory->as<char>());
        }
        std::memcpy(to, next, std::size_t(bytes));
        next += bytes;
        --left;
    }

  private:
    Shared& shared;
    const Calls calls;
    const Operation& operation;
    Region* region;
    const int64 offset;
    const Gather* same;  // an earlier one, of the same rows
    int64 width, first, batch, size;
    bool shuffled, plain;  // plain: without conversion
    From source;
    int64 last[NETWORKS];
    uint64 seed[NETWORKS];
    const int64* counters[NETWORKS];
    std::vector<uint32> rows;  // (batch, NETWORKS), or of several batches
    const uint32* at = nullptr;
    int64 known = 0;           // batches whose rows are known, and not yet used
    bool together = false;
    int64 bytes, most;  // of a batch in lanes; batches that are read at once
    std::unique_ptr<Aligned> memory;
    const char* next = nullptr;  // of the batches in this memory
    int64 left = 0;              // of them

    const uint32* found() const { return same ? same->found() : at; }
    int64 found_ahead() const { return same ? same->found_ahead() : known; }

    void read(const uint32* row, int64 count, char* to) const {
        const int64 bytes = width * size;
        for (int64 i = 0; i < count; ++i, row += NETWORKS, to += bytes * NETWORKS) {
            From from;
            for (int l = 0; l < NETWORKS; ++l) from[l] = source[l] + int64(row[l]) * bytes;
            if (size == 8) to_lanes(from, 0, width, reinterpret_cast<double*>(to));
            else to_lanes(from, 0, width, reinterpret_cast<float*>(to));
        }
    }

    // In the usual case, the rows of several batches are found at once.
    void find_rows() {
        if (known > 0) {
            --known;
            at += batch * NETWORKS;
            return;
        }
        const int64 size_of_one = std::max<int64>(batch, 1);
        const std::size_t one = shared.first;
        const int64 left = (last[one] + 1 - counters[one][POSITION] - first) / size_of_one;
        const int64 some = std::max<int64>(1, std::min(left, AHEAD / size_of_one));
        const int64 count = together ? some : 1;
        find_rows(batch * count);
        at = rows.data();
        known = count - 1;
    }

    // Rows beyond the last are those of a network that has stopped: any will do.
    void find_rows(int64 count) {
        for (int l = 0; l < NETWORKS; ++l) {
            const std::size_t one = shared.are_late ? shared.first : std::size_t(l);
            const int64 position = counters[one][POSITION] + first;
            uint32* row = rows.data() + l;
            const auto place_of = [&](int64 i) {
                return uint32(std::min(std::max<int64>(position + i, 0), last[l]));
            };
            if (!shuffled) {
                for (int64 i = 0; i < count; ++i, row += NETWORKS) *row = place_of(i);
                continue;
            }
            SomeOfOrder& order = shared.orders[std::size_t(l)];
            const uint64 pass = uint64(counters[l][PASS]);
            for (int64 i = 0; i < count;) {
                const uint32 place = place_of(i);
                if (!order.has(place, uint32(last[l] + 1), seed[l], pass))
                    order.compute(place, uint32(last[l] + 1), seed[l], pass);
                const uint32* known = order.row_at + (place - order.first);
                const int64 some = std::min<int64>(count - i, order.first + order.count - place);
                for (int64 k = 0; k < some; ++k, row += NETWORKS) *row = known[k];
                i += some;
            }
        }
    }

    // By the usual operation, row by row, to the networks' own arrays first.
    void convert(const uint32* row) {
        int64 place[COUNTERS] = {};
        for (int l = 0; l < shared.count; ++l) {
            if (!shared.active[l]) continue;
            const Word* own = calls[std::size_t(l)]->words;
            Word one[MOST_ARGUMENTS];
            std::copy(own, own + operation.parameters.size(), one);
            one[4].integer = one[6].integer = 0;
            one[5].array = place;
            one[7].integer = 1;
            for (int64 i = 0; i < batch; ++i) {
                place[POSITION] = row[i * NETWORKS + l];
                one[10].array = static_cast<char*>(own[10].array) + i * width * size;
                operation.perform(one);
            }
        }
        region->read(offset, batch * width * size);
    }
};

// The end of a step, for each network.
class Advance : public Work {
  public:
    Advance(Shared& shared, const Calls& calls, const Rule&)
        : shared(shared), rows(calls[0]->words[1].integer) {
        for (std::size_t l = 0; l < calls.size(); ++l) {
            counters[l] = argument<int64*>(calls[l]->words[0]);
            totals[l] = argument<const double*>(calls[l]->words[2]);
        }
    }
    void begin() override {
        for (int l = 0; l < shared.count; ++l)
            if (shared.active[l] && counters[l][POSITION] != counters[shared.first][POSITION])
                shared.are_late = false;
    }
    void perform() override {
        if (shared.are_late) {
            bool finite = true;
            for (int l = 0; l < NETWORKS; ++l)
                finite &= math::is_finite(shared.losses[l]) || !shared.active[l];
            if (finite) {
                ++late;
                move(counters[shared.first], 1);
                return;
            }
            settle();
            shared.loss->settle();
        }
        for (int l = 0; l < shared.count; ++l)
            if (shared.active[l]) advance(counters[l], rows, totals[l]);
    }
    void settle() override {
        for (int l = 0; l < shared.count; ++l)
            if (shared.active[l] && std::size_t(l) != shared.first) move(counters[l], late);
        late = 0;
    }

  private:
    Shared& shared;
    const int64 rows;
    int64* counters[NETWORKS];
    const double* totals[NETWORKS];
    int64 late = 0;  // steps

    void move(int64* counters, int64 steps) const {
        counters[UPDATES] += steps;
        counters[BATCHES] += steps;
        counters[POSITION] += steps * rows;
    }
};

// -- rows

// (rows, features, NETWORKS) as (rows * NETWORKS, features), and back.
template <typename T> void rows_from_lanes(const T* lanes, int64 rows, int64 features, T* out) {
    for (int64 r = 0; r < rows; ++r, out += features * NETWORKS)
        for (int64 f = 0; f < features; ++f, lanes += NETWORKS)
            for (int l = 0; l < NETWORKS; ++l) out[l * features + f] = lanes[l];
}
template <typename T> void lanes_from_rows(const T* in, int64 rows, int64 features, T* lanes) {
    for (int64 r = 0; r < rows; ++r, in += features * NETWORKS)
        for (int64 f = 0; f < features; ++f, lanes += NETWORKS)
            for (int l = 0; l < NETWORKS; ++l) lanes[l] = in[l * features + f];
}

// An array as rows of single networks, for the usual operations on rows.
template <typename T> class InRows {
  public:
    InRows(Shared& shared, const Word& word, int64 rows, int64 features)
        : lanes(shared.lanes<T>(word.array)), rows(rows), features(features) {
        if (lanes && features > 1) copy.resize(std::size_t(rows * features * NETWORKS));
    }
    T* array() { return copy.empty() ? lanes : copy.data(); }
    T* read() {
        if (!copy.empty()) rows_from_lanes(lanes, rows, features, copy.data());
        return array();
    }
    void write() {
        if (!copy.empty()) lanes_from_rows(copy.data(), rows, features, lanes);
    }

  private:
    T* lanes;
    int64 rows, features;
    std::vector<T> copy;
};

static_assert(NETWORKS == LANES, "a chunk has an element of each network");

template <typename T> class Loss : public Work {
  public:
    Loss(Shared& shared, const Calls& calls)
        : shared(shared), operation(*calls[0]->operation), unit(calls[0]->words[6].number),
          rows(calls[0]->words[7].integer),
          words(calls[0]->words, calls[0]->words + operation.parameters.size()) {
        const int64 classes = words[8].integer;
        if (classes > LONGEST) {  // as rows of single networks
            for (int i : {0, 1, 9}) in_rows.emplace_back(shared, words[std::size_t(i)], rows, classes);
            words[7].integer = rows * NETWORKS;
        }
        for (int i : {0, 1, 2, 3, 9, 10, 11}) {
            Word& word = words[std::size_t(i)];
            word.array = shared.lanes<void>(word.array);
        }
        values = argument<const T*>(words[10]);
        matches = argument<const bool*>(words[11]);
        words[12].array = none;
        for (int l = 0; l < shared.count; ++l)
            totals[l] = argument<double*>(calls[std::size_t(l)]->words[12]);
        shared.loss = this;
        shared.losses = losses;
    }

    void perform() override {
        if (in_rows.empty()) {
            operation.perform_in_lanes(words.data());
        } else {
            words[0].array = in_rows[0].read();
            words[1].array = in_rows[1].read();
            words[9].array = in_rows[2].array();
            operation.perform(words.data());
            in_rows[2].write();
        }
        if (!shared.are_late) begin();
        double sums[NETWORKS] = {}, right[NETWORKS] = {};
        for (int64 r = 0; r < rows; ++r)
            for (int l = 0; l < NETWORKS; ++l) sums[l] += double(values[r * NETWORKS + l]);
        for (int64 r = 0; matches && r < rows; ++r)
            for (int l = 0; l < NETWORKS; ++l) right[l] += double(matches[r * NETWORKS + l]);
        for (int l = 0; l < NETWORKS; ++l) losses[l] += unit * sums[l];
        for (int l = 0; l < NETWORKS; ++l) correct[l] += right[l];
        late += rows;
        if (!shared.are_late) settle();
    }

    void begin() override {  // others may have changed the sums
        for (int l = 0; l < shared.count; ++l) losses[l] = totals[l][0];
    }
    void settle() override {
        for (int l = 0; late && l < shared.count; ++l) {
            if (shared.active[l]) {
                totals[l][0] = losses[l];
                totals[l][1] += double(late);
                if (matches) totals[l][2] += correct[l];
            }
            correct[l] = 0;
        }
        late = 0;
    }

  private:
    static constexpr int64 LONGEST = ShortRows<T>::LONGEST;
    Shared& shared;
    const Operation& operation;
    const double unit;
    const int64 rows;
    std::vector<Word> words;
    std::vector<InRows<T>> in_rows;  // predictions, targets and gradient, where they are copied
    double* totals[NETWORKS];
    const T* values;
    const bool* matches;
    double none[4] = {};
    double losses[NETWORKS] = {}, correct[NETWORKS] = {};
    int64 late = 0;  // rows
};

// An activation of whole rows. Its bias differs between networks, and is added before.
template <typename T> class RowActivation : public Work {
  public:
    RowActivation(Shared& shared, const Calls& calls)
        : operation(calls[0]->operation), w(calls[0]->words),
          words(w, w + operation->parameters.size()), rows(w[3].integer), features(w[4].integer),
          forward(operation->name == "row_activation"),
          bias(forward ? shared.lanes<T>(w[1].array) : nullptr), x(shared, w[0], rows, features),
          dy(shared, forward ? Word{nullptr} : w[1], rows, features),
          out(shared, w[6], rows, features) {
        words[3].integer = rows * NETWORKS;
        if (bias) sums.resize(std::size_t(rows * features * NETWORKS));
    }

    void perform() override {
        T* given = x.read();
        if (bias) {
            for (int64 r = 0; r < rows; ++r)
                for (int l = 0; l < NETWORKS; ++l)
                    for (int64 f = 0; f < features; ++f) {
                        const int64 at = (r * NETWORKS + l) * features + f;
                        sums[std::size_t(at)] = given[at] + bias[f * NETWORKS + l];
                    }
            given = sums.data();
        }
        words[0].array = given;
        words[1].array = forward ? nullptr : dy.read();
        words[6].array = !forward && w[5].integer ? out.read() : out.array();
        operation->perform(words.data());
        out.write();
    }

  private:
    const Operation* operation;
    const Word* w;
    std::vector<Word> words;
    const int64 rows, features;
    const bool forward;
    const T* bias;
    InRows<T> x, dy, out;
    std::vector<T> sums;
};

}  // namespace
