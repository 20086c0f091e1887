// Training steps of narrow networks, see narrow.hpp. The loss, the update and the rest are the usual
// operations. Weights, gradients and slots are laid out for them in rows of whole vectors, padded
// with zeros.
#include "narrow.hpp"

#include "../formulas/control.cuh"
#include "../formulas/generated_activations.cuh"
#include "generated_formulas.hpp"
#include "order.hpp"
#include "pieces.hpp"
#include "rows.hpp"

#include <algorithm>
#include <cstring>

namespace {

// The rows of the next batch: one of each array, all at the same place of the order.
class Gathers {
  public:
    void take(const Call& call) {
        const Word* words = call.words;
        const std::vector<std::string>& types = call.operation->choices;
        const bool plain = types[0] == types[1] && (types[0] == "float32" || types[0] == "int32") &&
                           words[8].number == 1.0 && words[9].number == 0.0;
        if (calls.empty()) first = words;
        for (int i : {1, 3, 4, 5, 6, 7}) copies = copies && words[i].integer == first[i].integer;
        copies = copies && plain && words[7].integer == 1;
        calls.push_back(call);
    }

    void perform() const {
        if (!copies || calls.empty()) {
            for (const Call& call : calls) call.operation->perform(call.words);
            return;
        }
        const int64* counters = argument<const int64*>(first[5]);
        const int64 place = counters[POSITION] + first[6].integer, rows = first[1].integer;
        if (place < 0 || place >= rows) return;
        const int64 row = !first[4].integer ? place
                        : row_in_order(uint32(place), uint32(rows), uint64(first[3].integer),
                                       uint64(counters[PASS]));
        for (const Call& call : calls) {
            int64 left = call.words[2].integer;  // elements of a row, of 4 bytes each
            const float* from = argument<const float*>(call.words[0]) + row * left;
            float* to = argument<float*>(call.words[10]);
            for (; left > 1; left -= 2, from += 2, to += 2) std::memcpy(to, from, 2 * sizeof *to);
            if (left) std::memcpy(to, from, sizeof *to);
        }
    }

  private:
    std::vector<Call> calls;
    const Word* first = nullptr;  // arguments of the first one
    bool copies = true;           // without conversion
};

// Reads the calls one after the other.
class Reader {
  public:
    explicit Reader(const std::vector<Call>& calls) : calls(calls) {}

    // The next call, if it is of this operation, on float32.
    bool takes(const char* name) {
        if (at == calls.size() || calls[at].operation->name != name) return false;
        call = calls[at++];
        return true;
    }
    bool ends() const { return at == calls.size(); }
    template <typename A> A get(int i) const { return argument<A>(call.words[i]); }
    bool is(int i, const void* array) const { return call.words[i].array == array; }
    bool are(int first, std::initializer_list<int64> numbers) const {
        for (int64 number : numbers)
            if (call.words[first++].integer != number) return false;
        return true;
    }
    // The choice of a type, and of a formula.
    const std::string& choice(std::size_t i) const { return call.operation->choices[i]; }
    bool floats() const { return choice(0) == "float32"; }

    Call call;

  private:
    const std::vector<Call>& calls;
    std::size_t at = 0;
};

// A call with other arguments.
struct Changed {
    const Operation* operation;
    std::vector<Word> words;

    void take(const Call& call) {
        operation = call.operation;
        words.assign(call.words, call.words + operation->parameters.size());
    }
    void perform() const { operation->perform(words.data()); }
};

// Such a network, whose rows fit in vectors of this type.
template <typename V> class Network : public NarrowStep {
  public:
    bool read(Reader calls) {
        for (; calls.takes("gather");) gathers.take(calls.call);
        for (; calls.takes("matmul");)
            if (!read_layer(calls)) return false;
        if (layers.empty() || !calls.takes("loss") || !calls.floats()) return false;
        Layer& last = layers.back();
        if (!calls.is(0, last.y) || !calls.are(7, {1, last.units})) return false;
        const float* slope = calls.get<float*>(9);
        loss.take(calls.call);
        if (slope == nullptr) return false;
        std::vector<float*> gradients;
        for (std::size_t k = layers.size(); k-- > 0;)
            if (!read_gradient(calls, layers[k], k > 0, slope, gradients)) return false;
        if (!calls.takes("update") || !calls.floats() || !calls.are(6, {1})) return false;
        update.take(calls.call);
        return lay_out(gradients) && calls.takes("advance") && (advance.take(calls.call), calls.ends());
    }

    void begin() override {
        for (const Copy& copy : copies)
            std::copy(copy.array, copy.array + copy.count, copy.line->at);
        for (std::size_t k = 1; k < layers.size(); ++k) turn(layers[k]);
    }

    void end() override {
        for (const Copy& copy : copies)
            std::copy(copy.line->at, copy.line->at + copy.count, copy.array);
        for (const Layer& layer : layers) {
            std::copy(layer.output.at, layer.output.at + layer.units, layer.y);
            if (layer.z) std::copy(layer.input.at, layer.input.at + layer.units, layer.z);
        }
    }

    void perform() override {
        gathers.perform();
        for (Layer& layer : layers) {
            const Line* row = &weights[layer.first];
            Values z = V::zero();
            for (int64 p = 0; p < layer.inputs; ++p)
                z = V::fma(V::all(layer.x[p]), load(*row++), z);
            z = z + load(*row);
            if (layer.z) store(layer.input, z);
            store(layer.output, layer.f.forward(z, layer.parameters));
        }
        loss.perform();
        Values slope = load(layers.back().slope);
        for (std::size_t k = layers.size(); k-- > 0;) {
            Layer& layer = layers[k];
            if (layer.has_gradient)
                slope = layer.f.gradient(load(layer.z ? layer.input : layer.output), slope,
                                         layer.parameters);
            store(layer.slope, slope);
            Line* row = &gradients[layer.first];
            for (int64 p = 0; p < layer.inputs; ++p)
                store(*row++, V::fma(V::all(layer.x[p]), slope, V::zero()));
            store(*row++, slope);
            if (k == 0) break;
            const Line* turned = &weights[layer.first + layer.rows(false)];
            const Values x = V::load(layer.x, V::part(layer.inputs));
            Values before = V::zero();
            for (int64 j = 0; j < layer.units; ++j) {
                const Values one = V::all(layer.slope.at[j]);
                before = V::fma(one, load(*turned++), before);
                store(*row++, V::fma(one, x, V::zero()));
            }
            slope = before;
        }
        update.perform();
        advance.perform();
    }

  private:
    typedef typename V::type Values;

    struct alignas(sizeof(Values)) Line {
        float at[V::lanes] = {};
    };

    static Values load(const Line& line) { return V::load(line.at); }
    static void store(Line& line, Values x) { V::store(line.at, x); }

    // Compilers see that the arrays are one vector each, and optimise them away.
    template <template <typename> class Activation>
    static Values forward(Values x, const double* parameters) {
        const Activation<float> f(parameters);
        Line in, out;
        store(in, x);
        EACH_LANE
        for (int l = 0; l < V::lanes; ++l) out.at[l] = f.forward(in.at[l]);
        return load(out);
    }

    template <template <typename> class Activation>
    static Values gradient(Values saved, Values dy, const double* parameters) {
        const Activation<float> f(parameters);
        Line from, in, out;
        store(from, saved);
        store(in, dy);
        EACH_LANE
        for (int l = 0; l < V::lanes; ++l) out.at[l] = f.gradient(from.at[l], in.at[l]);
        return load(out);
    }

    struct Functions {
        const char* name;
        Values (*forward)(Values x, const double* parameters);
        Values (*gradient)(Values saved, Values dy, const double* parameters);
    };

#define FUNCTIONS(Formula) {#Formula, forward<Formula>, gradient<Formula>},
    static constexpr Functions ACTIVATIONS[] = {EACH_ACTIVATION(FUNCTIONS)};
#undef FUNCTIONS

    // One layer: y = f(x W + b), x (inputs,), W (inputs, units).
    struct Layer {
        int64 inputs, units;
        const float* x;                     // of the layer before, or the batch
        float *weights, *bias, *z, *y;      // arrays of the program; z is null unless it is kept
        Functions f;
        const double* parameters;
        bool has_gradient;                  // of f; otherwise the loss has it
        int64 first;                        // its first row: W, b, and W^T unless it is the first layer
        Line input, output, slope;          // z, y and the gradient at z

        int64 rows(bool turned) const { return inputs + 1 + (turned ? units : 0); }
    };

    // A row of an array of the program, and where it is in ours.
    struct Copy {
        float* array;
        int64 count;
        Line* line;
    };

    Gathers gathers;
    std::vector<Layer> layers;
    Changed loss, update, advance;
    std::vector<Line> weights, gradients, slots[3];
    std::vector<Copy> copies;
    double group[4];

    bool read_layer(Reader& calls) {
        Layer layer{};
        const int64 k = layer.inputs = calls.get<int64>(5), n = layer.units = calls.get<int64>(4);
        layer.x = calls.get<float*>(0);
        layer.weights = calls.get<float*>(1);
        float* sum = calls.get<float*>(2);
        const bool fits = n <= V::lanes && k <= (layers.empty() ? DEPTH : V::lanes);
        if (!calls.floats() || !fits || !calls.are(3, {1, n, k, k, n, n, 0, 0, 0})) return false;
        if (!layers.empty() && layer.x != layers.back().y) return false;
        if (!calls.takes("bias_activation") || !calls.is(0, sum)) return false;
        if (calls.is(1, nullptr) || !calls.are(3, {1, n})) return false;
        layer.bias = calls.get<float*>(1);
        layer.parameters = calls.get<double*>(2);
        layer.z = calls.get<float*>(5);
        layer.y = calls.get<float*>(6);
        for (const Functions& f : ACTIVATIONS)
            if (calls.choice(1) == f.name) layer.f = f;
        layers.push_back(layer);
        return layer.f.forward != nullptr;
    }

    // The gradients of a layer whose output has the gradient `slope`, which becomes that of its
    // input. Theirs are added to the list.
    static bool read_gradient(Reader& calls, Layer& layer, bool goes_on, const float*& slope,
                              std::vector<float*>& gradients) {
        const int64 k = layer.inputs, n = layer.units;
        layer.has_gradient = calls.takes("activation_gradient");
        if (layer.has_gradient) {
            const void* saved = layer.z ? layer.z : layer.y;
            if (calls.choice(1) != layer.f.name || !calls.is(0, saved) || !calls.is(1, slope))
                return false;
            if (!calls.are(3, {n, 0})) return false;
            slope = calls.get<float*>(5);
        }
        if (!calls.takes("matmul") || !calls.is(0, layer.x) || !calls.is(1, slope)) return false;
        if (!calls.are(3, {k, n, 1, k, n, n, 1, 0, 0})) return false;
        gradients.push_back(calls.get<float*>(2));
        if (!calls.takes("column_sums") || !calls.is(0, slope) || !calls.are(1, {1, n, 0}))
            return false;
        gradients.push_back(calls.get<float*>(4));
        if (!goes_on) return true;
        if (!calls.takes("matmul") || !calls.is(0, slope) || !calls.is(1, layer.weights))
            return false;
        slope = calls.get<float*>(2);
        return calls.are(3, {1, k, n, n, n, k, 0, 1, 0});
    }

    // Makes the rows of all arrays; `given` are the gradients' arrays, of the last layer first.
    bool lay_out(const std::vector<float*>& given) {
        int64 rows = 0;
        for (Layer& layer : layers) {
            layer.first = rows;
            rows += layer.rows(rows > 0);
        }
        weights.resize(std::size_t(rows));
        gradients.resize(std::size_t(rows));
        std::vector<Line>* ours[] = {&weights, &gradients, slots, slots + 1, slots + 2};
        const double* table = argument<const double*>(update.words[5]);
        std::copy(table, table + 4, group);
        const float* base = argument<const float*>(update.words[0]);
        float* of_gradients = argument<float*>(update.words[1]);
        auto gradient = given.rbegin();
        for (const Layer& layer : layers) {
            if (*gradient++ - of_gradients != layer.bias - base) return false;
            if (*gradient++ - of_gradients != layer.weights - base) return false;
            if (layer.weights - base < group[0] || layer.bias + layer.units - base > group[1])
                return false;
        }
        for (int i = 0; i < 5; ++i) {
            float* array = argument<float*>(update.words[std::size_t(i)]);
            if (array == nullptr) continue;
            ours[i]->resize(std::size_t(rows));
            for (const Layer& layer : layers) {
                Line* line = ours[i]->data() + layer.first;
                for (int64 p = 0; p < layer.inputs; ++p)
                    copies.push_back({array + (layer.weights - base) + p * layer.units,
                                      layer.units, line++});
                copies.push_back({array + (layer.bias - base), layer.units, line});
            }
            update.words[std::size_t(i)].array = ours[i]->data();
        }
        group[0] = 0;
        group[1] = double(rows * V::lanes);
        update.words[5].array = group;
        for (std::size_t k = 1; k < layers.size(); ++k) layers[k].x = layers[k - 1].output.at;
        loss.words[0].array = layers.back().output.at;
        loss.words[9].array = layers.back().slope.at;
        return true;
    }

    // Sets W^T, and the like of the slots, from W.
    void turn(const Layer& layer) {
        for (std::vector<Line>* rows : {&weights, slots, slots + 1, slots + 2})
            for (int64 i = 0; i < layer.inputs && !rows->empty(); ++i)
                for (int64 j = 0; j < layer.units; ++j) {
                    Line* line = rows->data() + layer.first;
                    line[layer.rows(false) + j].at[i] = line[i].at[j];
                }
    }
};

template <typename V> std::unique_ptr<NarrowStep> network(const std::vector<Call>& calls) {
    auto network = std::make_unique<Network<V>>();
    if (!network->read(Reader(calls))) return nullptr;
    return network;
}

}  // namespace

std::unique_ptr<NarrowStep> narrow_step(const std::vector<Call>& calls) {
    if (auto step = network<ShortVector<float>>(calls)) return step;
    return network<Vector<float>>(calls);
}
