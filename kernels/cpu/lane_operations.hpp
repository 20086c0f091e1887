// The operations of networks in lanes, see lanes.hpp: how each is performed for all of them.
#pragma once
#include "../formulas/updates.cuh"
#include "lane_arrays.hpp"
#include "order.hpp"

namespace {

// An operation of all networks.
class Work {
  public:
    virtual ~Work() = default;
    virtual void begin() {}  // of a run, and of a pass
    virtual void perform() = 0;
    virtual void settle() {}  // write what is late
    virtual bool is_apart() const { return false; }  // whether it uses the networks' own arrays
};

typedef std::vector<const SizedCall*> Calls;  // the same call of each network

// What the operations of a group share.
struct Shared {
    int count = 0;
    bool active[NETWORKS] = {};
    std::vector<Region> regions;
    std::vector<SomeOfOrder> orders = std::vector<SomeOfOrder>(NETWORKS);
    std::size_t first = 0;  // a network that is active
    bool schedules = false;  // whether rates change within a run
    const Work* gather = nullptr;  // the last one that was made
    // The sums of the loss, and the counters of all networks but the first one, may be written to
    // their own arrays after the pass, if no operation reads them there.
    bool may_be_late = false, are_late = false;
    Work* loss = nullptr;            // the operation
    const double* losses = nullptr;  // its sums of the networks, if they are late

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

struct Rule;
typedef Work* Make(Shared& shared, const Calls& calls, const Rule& rule);

// How an operation is performed. Each list has the places of arguments.
struct Rule {
    const char* name;
    std::initializer_list<int> lanes;  // arrays that are in lanes
    // In these, networks may differ. Arrays among them are each network's own; all other arguments
    // are equal, with the contents of their arrays.
    std::initializer_list<int> own;
    Make* make;
    std::initializer_list<int> counts = {};  // numbers of elements of a row, or of all
    int one = -1;                            // a number that must be one
    int none = -1;                           // an array that must not be there
};

template <typename Made> Work* made(Shared& shared, const Calls& calls, const Rule& rule) {
    return new Made(shared, calls, rule);
}
template <template <typename> class Made>
Work* made_of_type(Shared& shared, const Calls& calls, const Rule&) {
    if (calls[0]->operation->choices[0] == "float32") return new Made<float>(shared, calls);
    return new Made<double>(shared, calls);
}

// -- one network after the other

class OneByOne : public Work {
  public:
    OneByOne(Shared& shared, const Calls& calls, const Rule&) : OneByOne(shared, calls) {}
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
        for (const Piece& piece : pieces)
            piece.region->write(piece.offset, piece.bytes, shared.active);
        for (std::size_t l = 0; l < calls.size(); ++l)
            if (shared.active[l]) calls[l]->operation->perform(calls[l]->words);
        for (const Piece& piece : pieces)
            if (piece.written) piece.region->read(piece.offset, piece.bytes);
    }
    bool is_apart() const override { return true; }

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
        Region* region = shared.region_of(array, bytes);
        if (region)
            pieces.push_back(
                {region, static_cast<const char*>(array) - region->begin, bytes, written});
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

    // One by one if networks have different numbers, such as the rate of a dropout.
    static Work* make(Shared& shared, const Calls& calls, const Rule& rule) {
        for (const SizedCall* call : calls)
            for (int i : rule.own)
                if (call->words[i].integer != calls[0]->words[i].integer)
                    return new OneByOne(shared, calls);
        return new MoreColumns(shared, calls, rule);
    }

  private:
    const Operation* operation;
    std::vector<Word> words;
    Word& at(int i) { return words[std::size_t(i)]; }
};

// -- the flat arrays

// An operation on the groups of parameters: on all lanes at once, if the networks have the same
// rates and have made as many updates.
template <int table> class OnGroups : public Work {
  public:
    OnGroups(Shared& shared, const Calls& calls, const Rule& rule)
        : shared(shared), calls(calls), operation(calls[0]->operation), one_by_one(shared, calls),
          rule(rule), words(calls[0]->words, calls[0]->words + operation->parameters.size()),
          scaled(std::size_t(words[table + 1].integer)) {
        for (int i : rule.lanes) at(i).array = shared.lanes<void>(at(i).array);
    }

    void begin() override {
        for (int i : rule.own) at(i) = calls[shared.first]->words[i];
        const ParameterGroup* rows = argument<const ParameterGroup*>(at(table));
        for (std::size_t k = 0; k < scaled.size(); ++k) {
            scaled[k] = rows[k];
            scaled[k].start *= NETWORKS;
            scaled[k].stop *= NETWORKS;
        }
        at(table).array = scaled.data();
        together = are_equal();
        shared.are_late = shared.are_late && together;
    }
    void perform() override {
        if (shared.schedules ? are_equal() : together) operation->perform(words.data());
        else one_by_one.perform();
    }

  private:
    Shared& shared;
    const Calls calls;
    const Operation* operation;
    OneByOne one_by_one;
    const Rule& rule;
    std::vector<Word> words;
    std::vector<ParameterGroup> scaled;
    bool together = false;

    Word& at(int i) { return words[std::size_t(i)]; }

    // Of the control block, only what an update reads: the rest differs, as the pass does.
    bool are_equal() const {
        const SizedCall& one = *calls[shared.first];
        for (std::size_t l = 0; l < calls.size(); ++l)
            for (int i : rule.own) {
                const bool counts = operation->parameters[std::size_t(i)].type == Type::int64;
                const bool whole = !counts && i != RATES;
                const int64 first = counts ? 8 * UPDATES : whole ? 0 : 8 * LEARNING_RATE;
                const std::size_t bytes = whole ? std::size_t(one.bytes[i]) : 8;
                const auto of = [&](const SizedCall& call) {
                    return static_cast<const char*>(call.words[i].array) + first;
                };
                if (shared.active[l] && std::memcmp(of(one), of(*calls[l]), bytes)) return false;
            }
        return true;
    }
    static constexpr int RATES = 10;  // the place of the rates among the arguments of an update
};

}  // namespace
