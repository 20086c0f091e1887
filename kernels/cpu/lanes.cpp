// Steps of several networks at once, see lanes.hpp. Most operations are element-wise, or sums over
// columns: performed on all lanes they are the usual operations on more columns. Products, batches
// and losses are written here. Any other operation is performed for one network after the other.
#include "lanes.hpp"

#include "../formulas/control.cuh"
#include "../formulas/updates.cuh"
#include "lane_arrays.hpp"
#include "order.hpp"
#include "steps.hpp"

namespace {

// An operation of all networks.
class Work {
  public:
    virtual ~Work() = default;
    virtual void begin() {}  // of a run, and of a pass
    virtual void perform() = 0;
};

typedef std::vector<const SizedCall*> Calls;  // the same call of each network

// What the operations of a group share.
struct Shared {
    int count = 0;
    bool active[NETWORKS] = {};
    std::vector<Region> regions;
    std::vector<SomeOfOrder> orders = std::vector<SomeOfOrder>(NETWORKS);
    bool schedules = false;  // whether rates change within a run

    Region* region_of(const void* array, int64 bytes) {
        for (Region& region : regions)
            if (array && region.overlaps(array, bytes)) return &region;
        return nullptr;
    }
    // Where an array of network 0 is in lanes.
    template <typename T> T* lanes(const void* array) {
        Region* region = region_of(array, 1);
        if (!region) return nullptr;
        const int64 offset = static_cast<const char*>(array) - region->begin;
        return reinterpret_cast<T*>(region->lanes + offset * NETWORKS);
    }
};

// For each operation with a rule: its arguments that are in lanes, and the numbers that count
// elements of a row, or of all.
struct Rule {
    const char* name;
    std::initializer_list<int> lanes, counts;
    int inner = -1;  // a number that must be one
};
const Rule RULES[] = {
    {"gather", {10}, {}},
    {"advance", {}, {}},
    {"matmul", {0, 1, 2}, {}},
    {"loss", {0, 1, 2, 3, 9, 10, 11}, {}},
    {"row_activation", {0, 1, 6}, {}},
    {"row_activation_gradient", {0, 1, 6}, {}},
    {"update", {0, 1, 2, 3, 4}, {}},
    {"accumulate_gradients", {0, 1}, {}},
    {"clip_values", {0}, {}},
    {"bias_activation", {0, 1, 5, 6}, {4}},
    {"activation_gradient", {0, 1, 5}, {3}},
    {"column_sums", {0, 4}, {2}},
    {"affine", {0, 5}, {3}},
    {"dropout_gradient", {0, 1, 5}, {3}},
    {"batch_statistics", {0, 6, 7, 8, 9, 10}, {2}, 3},
    {"normalize", {0, 1, 2, 3, 4, 10, 11}, {7, 9}, 8},
    {"normalize_gradient", {0, 1, 2, 3, 4, 14, 15, 16, 17, 18}, {7, 10}, 8},
};

const Rule* rule_of(const Operation& operation) {
    for (const Rule& rule : RULES)
        if (operation.name == rule.name) return &rule;
    return nullptr;
}

bool is_array(const Operation& operation, std::size_t i) {
    return operation.parameters[i].kind == Parameter::array;
}

// -- one network after the other

class OneByOne : public Work {
  public:
    OneByOne(Shared& shared, const Calls& calls) : shared(shared), calls(calls) {
        const Operation& operation = *calls[0]->operation;
        for (std::size_t i = 0; i < operation.parameters.size(); ++i) {
            const Parameter& parameter = operation.parameters[i];
            if (parameter.kind == Parameter::array) {
                add(calls[0]->words[i].array, calls[0]->bytes[i], !parameter.constant);
            } else if (parameter.kind == Parameter::arrays) {
                const AnyArray* listed = static_cast<AnyArray*>(calls[0]->words[i].array);
                for (int64 k = 0; k < calls[0]->bytes[i]; ++k)
                    add(listed[k].data, listed[k].size * size_of(listed[k].type),
                        !parameter.constant);
            }
        }
    }

    void perform() override {
        for (const Piece& piece : pieces) piece.region->write(piece.offset, piece.bytes, shared.active);
        for (int l = 0; l < shared.count; ++l)
            if (shared.active[l]) calls[std::size_t(l)]->operation->perform(calls[std::size_t(l)]->words);
        for (const Piece& piece : pieces)
            if (piece.written) piece.region->read(piece.offset, piece.bytes);
    }

  private:
    struct Piece {
        Region* region;
        int64 offset, bytes;
        bool written;
    };
    Shared& shared;
    const Calls calls;
    std::vector<Piece> pieces;

    void add(const void* array, int64 bytes, bool written) {
        if (Region* region = shared.region_of(array, bytes))
            pieces.push_back({region, static_cast<const char*>(array) - region->begin, bytes, written});
    }
};

// -- as an operation on more columns

class MoreColumns : public Work {
  public:
    MoreColumns(Shared& shared, const Calls& calls, const Rule& rule)
        : operation(calls[0]->operation),
          words(calls[0]->words, calls[0]->words + operation->parameters.size()) {
        for (int i : rule.lanes) at(i).array = shared.lanes<void>(at(i).array);
        for (int i : rule.counts) at(i).integer *= NETWORKS;
    }
    void perform() override { operation->perform(words.data()); }

  private:
    const Operation* operation;
    std::vector<Word> words;
    Word& at(int i) { return words[std::size_t(i)]; }
};

// -- products

// out (rows, columns) (+)= a b in each lane; steps are in elements of all lanes.
template <typename T, int rows, int columns>
inline void product_tile(const T* a, int64 a_row, int64 a_step, const T* b, int64 b_step,
                         int64 b_column, int64 k, bool accumulate, T* out, int64 out_row) {
    typedef Vector<T> V;
    for (int part = 0; part < NETWORKS; part += V::lanes, a += V::lanes, b += V::lanes, out += V::lanes) {
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
            for (int j = 0; j < columns; ++j) V::store(out + i * out_row + j * NETWORKS, sums[i][j]);
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
    static constexpr int64 AHEAD = 256;  // rows that are found at once

  public:
    Gather(Shared& shared, const Calls& calls, const Gather* before)
        : shared(shared), calls(calls), operation(*calls[0]->operation),
          region(shared.region_of(calls[0]->words[10].array, 1)),
          offset(static_cast<char*>(calls[0]->words[10].array) - region->begin), same(before) {
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
    }

    // Whether all networks are at the same place of their orders.
    void begin() override {
        known = 0;
        together = shuffled;
        for (int l = 1; l < NETWORKS; ++l)
            together = together && last[l] == last[0] && counters[l][POSITION] == counters[0][POSITION];
    }

    void perform() override {
        if (!same) find_rows();
        const uint32* row = found();
        if (!plain) return convert(row);
        const int64 bytes = width * size;
        for (int64 i = 0; i < batch; ++i, row += NETWORKS) {
            From from;
            for (int l = 0; l < NETWORKS; ++l) from[l] = source[l] + int64(row[l]) * bytes;
            char* to = region->lanes + (offset + i * bytes) * NETWORKS;
            if (size == 8) to_lanes(from, 0, width, reinterpret_cast<double*>(to));
            else to_lanes(from, 0, width, reinterpret_cast<float*>(to));
        }
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

    const uint32* found() const { return same ? same->found() : at; }

    // In the usual case, the rows of several batches are found at once.
    void find_rows() {
        if (known > 0) {
            --known;
            at += batch * NETWORKS;
            return;
        }
        const int64 left = (last[0] + 1 - counters[0][POSITION] - first) / std::max<int64>(batch, 1);
        const int64 count = together ? std::max<int64>(1, std::min(left, AHEAD / std::max<int64>(batch, 1))) : 1;
        rows.resize(std::size_t(batch * count * NETWORKS));
        find_rows(batch * count);
        at = rows.data();
        known = count - 1;
    }

    // Rows beyond the last are those of a network that has stopped: any will do.
    void find_rows(int64 count) {
        for (int l = 0; l < NETWORKS; ++l) {
            const int64 position = counters[l][POSITION] + first;
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
    Advance(Shared& shared, const Calls& calls) : shared(shared), rows(calls[0]->words[1].integer) {
        for (std::size_t l = 0; l < calls.size(); ++l) {
            counters[l] = argument<int64*>(calls[l]->words[0]);
            totals[l] = argument<const double*>(calls[l]->words[2]);
        }
    }
    void perform() override {
        for (int l = 0; l < shared.count; ++l)
            if (shared.active[l]) advance(counters[l], rows, totals[l]);
    }

  private:
    Shared& shared;
    const int64 rows;
    int64* counters[NETWORKS];
    const double* totals[NETWORKS];
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

template <typename T> class Loss : public Work {
  public:
    Loss(Shared& shared, const Calls& calls)
        : shared(shared), operation(calls[0]->operation), w(calls[0]->words),
          words(w, w + operation->parameters.size()), rows(w[7].integer),
          predictions(shared, w[0], rows, w[8].integer), targets(shared, w[1], rows, w[8].integer),
          gradient(shared, w[9], rows, w[8].integer), values(shared.lanes<T>(w[10].array)),
          matches(shared.lanes<bool>(w[11].array)) {
        words[2].array = shared.lanes<void>(w[2].array);
        words[3].array = shared.lanes<void>(w[3].array);
        words[7].integer = rows * NETWORKS;
        words[10].array = values;
        words[11].array = matches;
        words[12].array = none;
        for (int l = 0; l < shared.count; ++l)
            totals[l] = argument<double*>(calls[std::size_t(l)]->words[12]);
    }

    void perform() override {
        words[0].array = predictions.read();
        words[1].array = targets.read();
        words[9].array = gradient.array();
        operation->perform(words.data());
        gradient.write();
        double sums[NETWORKS] = {}, right[NETWORKS] = {};
        for (int64 r = 0; r < rows; ++r)
            for (int l = 0; l < NETWORKS; ++l) sums[l] += double(values[r * NETWORKS + l]);
        for (int64 r = 0; matches && r < rows; ++r)
            for (int l = 0; l < NETWORKS; ++l) right[l] += double(matches[r * NETWORKS + l]);
        for (int l = 0; l < shared.count; ++l) {
            if (!shared.active[l]) continue;
            totals[l][0] += w[6].number * sums[l];
            totals[l][1] += double(rows);
            if (matches) totals[l][2] += right[l];
        }
    }

  private:
    Shared& shared;
    const Operation* operation;
    const Word* w;
    std::vector<Word> words;
    const int64 rows;
    double* totals[NETWORKS];
    InRows<T> predictions, targets, gradient;
    T* values;
    bool* matches;
    double none[4] = {};
};

// An activation of whole rows. Its bias differs between networks, and is added before.
template <typename T> class RowActivation : public Work {
  public:
    RowActivation(Shared& shared, const Calls& calls)
        : operation(calls[0]->operation), w(calls[0]->words),
          words(w, w + operation->parameters.size()), rows(w[3].integer), features(w[4].integer),
          forward(operation->name == "row_activation"), bias(forward ? shared.lanes<T>(w[1].array) : nullptr),
          x(shared, w[0], rows, features), dy(shared, forward ? Word{nullptr} : w[1], rows, features),
          out(shared, w[6], rows, features) {
        words[3].integer = rows * NETWORKS;
    }

    void perform() override {
        T* given = x.read();
        if (bias) {
            sums.resize(std::size_t(rows * features * NETWORKS));
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

// -- the flat arrays

// An operation on the groups of parameters: on all lanes at once, if the networks have the same rates
// and have made as many updates.
class OnGroups : public Work {
  public:
    OnGroups(Shared& shared, const Calls& calls, const Rule& rule, int table, bool with_rates)
        : shared(shared), calls(calls), operation(calls[0]->operation), one_by_one(shared, calls),
          words(calls[0]->words, calls[0]->words + operation->parameters.size()), table(std::size_t(table)),
          groups(words[this->table + 1].integer) {
        for (int i : rule.lanes) words[std::size_t(i)].array = shared.lanes<void>(words[std::size_t(i)].array);
        scaled.resize(std::size_t(groups));
        words[this->table].array = scaled.data();
        if (with_rates) compared = {{this->table, -1}, {7, -1}, {9, UPDATES}, {10, LEARNING_RATE}};
        else compared = {{this->table, -1}};
        if (operation->name == "accumulate_gradients") compared.push_back({5, UPDATES});
    }

    void begin() override {
        together = are_equal();
        const ParameterGroup* rows = argument<const ParameterGroup*>(calls[0]->words[table]);
        for (int64 k = 0; k < groups; ++k) {
            scaled[std::size_t(k)] = rows[k];
            scaled[std::size_t(k)].start *= NETWORKS;
            scaled[std::size_t(k)].stop *= NETWORKS;
        }
    }
    void perform() override {
        if (shared.schedules ? are_equal() : together) operation->perform(words.data());
        else one_by_one.perform();
    }

  private:
    struct Compared {
        std::size_t argument;
        int element;  // -1: all of them
    };
    Shared& shared;
    const Calls calls;
    const Operation* operation;
    OneByOne one_by_one;
    std::vector<Word> words;
    const std::size_t table;
    const int64 groups;
    std::vector<ParameterGroup> scaled;
    std::vector<Compared> compared;
    bool together = false;

    bool are_equal() const {
        for (std::size_t l = 1; l < calls.size(); ++l)
            for (const Compared& what : compared) {
                const int64 all = calls[0]->bytes[what.argument];
                const int64 first = what.element < 0 ? 0 : 8 * what.element;
                const char* one = static_cast<char*>(calls[0]->words[what.argument].array) + first;
                const char* other = static_cast<char*>(calls[l]->words[what.argument].array) + first;
                if (shared.active[l] && std::memcmp(one, other, std::size_t(what.element < 0 ? all : 8)))
                    return false;
            }
        return true;
    }
};

// -- the group

class Group : public Lanes {
  public:
    // Returns the reason why these networks cannot be performed together, or nothing.
    std::string read(const std::vector<std::vector<SizedCall>>& networks) {
        shared.count = int(networks.size());
        std::fill(shared.active, shared.active + shared.count, true);
        const std::size_t steps = networks[0].size();
        std::vector<Calls> all(steps);
        for (const std::vector<SizedCall>& network : networks) {
            if (network.size() != steps) return "their steps have different operations";
            for (std::size_t k = 0; k < steps; ++k) {
                if (network[k].operation != networks[0][k].operation)
                    return "their steps have different operations";
                all[k].push_back(&network[k]);
            }
        }
        std::vector<const Rule*> rules;
        for (const Calls& calls : all) {
            const Operation& operation = *calls[0]->operation;
            if (operation.stops) return operation.name + " may end a step";
            shared.schedules = shared.schedules || operation.name == "schedule";
            rules.push_back(rule_of(operation));
            if (!rules.back()) continue;
            if (!is_usable(calls, *rules.back())) rules.back() = nullptr;
            else if (!are_alike(calls, *rules.back())) {
                if (operation.name != "dropout_gradient") return operation.name + " differs";
                rules.back() = nullptr;
            }
        }
        for (std::size_t k = 0; k < steps; ++k)
            for (int i : rules[k] ? rules[k]->lanes : std::initializer_list<int>{})
                add_region(*all[k][0], std::size_t(i));
        for (std::size_t before = 0; before != shared.regions.size();) {
            before = shared.regions.size();
            join_regions();
        }
        for (const Calls& calls : all)
            if (!all_agree(calls)) return "their arrays are laid out differently";
        for (Region& region : shared.regions) {
            memory.emplace_back(std::size_t((region.end - region.begin) * NETWORKS));
            region.lanes = memory.back().as<char>();
        }
        const Gather* gather = nullptr;
        for (std::size_t k = 0; k < steps; ++k) add_work(all[k], rules[k], gather);
        return "";
    }

    void begin() override {
        std::fill(shared.active, shared.active + shared.count, true);
        for (Region& region : shared.regions) region.read(0, region.end - region.begin);
        for (const auto& work : works) work->begin();
    }
    void perform() override {
        for (const auto& work : works) work->perform();
    }
    bool next_pass(const std::vector<const SizedCall*>& between) override {
        bool any = false;
        for (int l = 0; l < shared.count; ++l) {
            if (!shared.active[l]) continue;
            const SizedCall& call = *between[std::size_t(l)];
            call.operation->perform(call.words);
            if (*argument<const int64*>(call.words[call.operation->parameters.size() - 1])) {
                bool alone[NETWORKS] = {};
                alone[l] = true;
                for (const Region& region : shared.regions) region.write(0, region.end - region.begin, alone);
                shared.active[l] = false;
            }
            any = any || shared.active[l];
        }
        for (const auto& work : works) work->begin();
        return any;
    }
    void end() override {
        for (const Region& region : shared.regions)
            region.write(0, region.end - region.begin, shared.active);
    }
    int64 bytes() const override {
        int64 sum = 0;
        for (const Region& region : shared.regions) sum += (region.end - region.begin) * NETWORKS;
        return sum;
    }

  private:
    Shared shared;
    std::vector<Aligned> memory;
    std::vector<std::unique_ptr<Work>> works;

    // Whether a rule is for such arguments.
    static bool is_usable(const Calls& calls, const Rule& rule) {
        const Operation& operation = *calls[0]->operation;
        const Word* first = calls[0]->words;
        if (operation.name == "affine" && operation.choices[0] != operation.choices[1]) return false;
        if (operation.name == "row_activation" && first[5].array) return false;
        return rule.inner < 0 || first[rule.inner].integer == 1;
    }

    // Whether the networks differ in nothing but arrays in lanes, and what a rule compares itself.
    static bool are_alike(const Calls& calls, const Rule& rule) {
        const Operation& operation = *calls[0]->operation;
        const bool on_groups = rule.lanes.size() && !rule.counts.size() &&
                               (operation.name == "update" || operation.name == "clip_values" ||
                                operation.name == "accumulate_gradients");
        const bool gathers = operation.name == "gather", sums = operation.name == "loss";
        for (const SizedCall* call : calls)
            for (std::size_t i = 0; i < operation.parameters.size(); ++i) {
                const Word &one = calls[0]->words[i], &other = call->words[i];
                if (gathers && (i == 0 || i == 1 || i == 3 || i == 5)) continue;
                if (operation.name == "advance" && i != 1) continue;
                const bool array = is_array(operation, i);
                if (array && (!one.array != !other.array || call->bytes[i] != calls[0]->bytes[i]))
                    return false;
                const bool in_lanes = std::find(rule.lanes.begin(), rule.lanes.end(), int(i)) != rule.lanes.end();
                if (in_lanes || (array && (on_groups || (sums && i == 12)))) continue;
                if (array ? one.array && std::memcmp(one.array, other.array, std::size_t(call->bytes[i]))
                          : one.integer != other.integer)
                    return false;
            }
        return true;
    }

    void add_region(const SizedCall& call, std::size_t i) {
        if (!call.words[i].array || !call.bytes[i]) return;
        const char* begin = static_cast<char*>(call.words[i].array);
        shared.regions.push_back({begin, begin + call.bytes[i],
                                  size_of(call.operation->parameters[i].type)});
    }

    void join_regions() {
        std::vector<Region>& regions = shared.regions;
        std::sort(regions.begin(), regions.end(),
                  [](const Region& a, const Region& b) { return a.begin < b.begin; });
        std::vector<Region> joined;
        for (const Region& region : regions) {
            if (joined.empty() || region.begin >= joined.back().end) joined.push_back(region);
            else joined.back().end = std::max(joined.back().end, region.end);
        }
        regions = joined;
    }

    // Whether each array that overlaps a region is inside it, of its type, and at the same place for
    // all networks.
    bool all_agree(const Calls& calls) {
        const Operation& operation = *calls[0]->operation;
        const auto agrees = [&](const void* first, int64 bytes, int64 size, std::size_t l, void* own) {
            Region* region = first && bytes ? shared.region_of(first, bytes) : nullptr;
            if (!region) return true;
            const char* begin = static_cast<const char*>(first);
            if (begin < region->begin || begin + bytes > region->end || size != region->size) return false;
            char* start = static_cast<char*>(own) - (begin - region->begin);
            if (!region->own[l]) region->own[l] = start;
            return region->own[l] == start;
        };
        for (std::size_t l = 0; l < calls.size(); ++l)
            for (std::size_t i = 0; i < operation.parameters.size(); ++i) {
                const Word &one = calls[0]->words[i], &other = calls[l]->words[i];
                const Parameter& parameter = operation.parameters[i];
                if (parameter.kind == Parameter::array) {
                    if (!agrees(one.array, calls[0]->bytes[i], size_of(parameter.type), l, other.array))
                        return false;
                } else if (parameter.kind == Parameter::arrays) {
                    if (calls[0]->bytes[i] != calls[l]->bytes[i]) return false;
                    const AnyArray* listed = static_cast<AnyArray*>(one.array);
                    const AnyArray* others = static_cast<AnyArray*>(other.array);
                    for (int64 k = 0; k < calls[0]->bytes[i]; ++k) {
                        const int64 size = size_of(listed[k].type);
                        if (!agrees(listed[k].data, listed[k].size * size, size, l, others[k].data))
                            return false;
                    }
                }
            }
        return true;
    }

    template <typename T> Work* typed_work(const Calls& calls) {
        const std::string& name = calls[0]->operation->name;
        if (name == "matmul") return new Product<T>(shared, calls);
        if (name == "loss") return new Loss<T>(shared, calls);
        return new RowActivation<T>(shared, calls);
    }

    void add_work(const Calls& calls, const Rule* rule, const Gather*& gather) {
        const Operation& operation = *calls[0]->operation;
        const std::string name = rule ? rule->name : "";
        Work* work;
        if (name.empty()) {
            work = new OneByOne(shared, calls);
        } else if (name == "gather") {
            Gather* made = new Gather(shared, calls, gather);
            work = made;
            gather = made;
        } else if (name == "advance") {
            work = new Advance(shared, calls);
        } else if (name == "update") {
            work = new OnGroups(shared, calls, *rule, 5, true);
        } else if (name == "accumulate_gradients") {
            work = new OnGroups(shared, calls, *rule, 2, false);
        } else if (name == "clip_values") {
            work = new OnGroups(shared, calls, *rule, 1, false);
        } else if (rule->counts.size()) {
            work = new MoreColumns(shared, calls, *rule);
        } else {
            work = operation.choices[0] == "float32" ? typed_work<float>(calls) : typed_work<double>(calls);
        }
        works.emplace_back(work);
    }
};

}  // namespace

std::unique_ptr<Lanes> lanes_of(const std::vector<std::vector<SizedCall>>& networks,
                                std::string& reason) {
    auto group = std::make_unique<Group>();
    reason = group->read(networks);
    if (!reason.empty()) return nullptr;
    return group;
}
