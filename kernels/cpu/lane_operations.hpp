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
        for (const Piece& piece : pieces)
            piece.region->write(piece.offset, piece.bytes, shared.active);
        for (std::size_t l = 0; l < calls.size(); ++l)
            if (shared.active[l]) calls[l]->operation->perform(calls[l]->words);
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

  private:
    const Operation* operation;
    std::vector<Word> words;
    Word& at(int i) { return words[std::size_t(i)]; }
};

// -- the flat arrays

// An operation on the groups of parameters: on all lanes at once, if the networks have the same
// rates and have made as many updates.
class OnGroups : public Work {
  public:
    OnGroups(Shared& shared, const Calls& calls, const Rule& rule, int table, bool with_rates)
        : shared(shared), calls(calls), operation(calls[0]->operation), one_by_one(shared, calls),
          words(calls[0]->words, calls[0]->words + operation->parameters.size()),
          table(std::size_t(table)), groups(words[this->table + 1].integer) {
        for (int i : rule.lanes) {
            Word& word = words[std::size_t(i)];
            word.array = shared.lanes<void>(word.array);
        }
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
                const bool whole = what.element < 0;
                const std::size_t bytes = whole ? std::size_t(calls[0]->bytes[what.argument]) : 8;
                const auto of = [&](const SizedCall* call) {
                    const char* array = static_cast<char*>(call->words[what.argument].array);
                    return whole ? array : array + 8 * what.element;
                };
                if (shared.active[l] && std::memcmp(of(calls[0]), of(calls[l]), bytes)) return false;
            }
        return true;
    }
};

}  // namespace
