// Steps of several networks at once, see lanes.hpp. Most operations are element-wise, or sums over
// columns: performed on all lanes they are the usual operations on more columns. Products, batches
// and losses are in lane_batches.hpp. Any other operation is performed for one network after the
// other.
#include "lane_batches.hpp"

namespace {

const Rule RULES[] = {
    {"gather", {10}, {0, 1, 3, 5}, made<Gather>},
    {"advance", {}, {0, 2}, made<Advance>},
    {"matmul", {0, 1, 2}, {}, made_of_type<Product>},
    {"loss", {0, 1, 2, 3, 9, 10, 11}, {12}, made_of_type<Loss>},
    {"row_activation", {0, 1, 6}, {}, made_of_type<RowActivation>, {}, -1, 5},
    {"row_activation_gradient", {0, 1, 6}, {}, made_of_type<RowActivation>},
    {"update", {0, 1, 2, 3, 4}, {5, 7, 9, 10}, made<OnGroups<5>>},
    {"accumulate_gradients", {0, 1}, {2, 5}, made<OnGroups<2>>},
    {"clip_values", {0}, {1}, made<OnGroups<1>>},
    {"bias_activation", {0, 1, 5, 6}, {}, MoreColumns::make, {4}},
    {"activation_gradient", {0, 1, 5}, {}, MoreColumns::make, {3}},
    {"column_sums", {0, 4}, {}, MoreColumns::make, {2}},
    {"affine", {0, 5}, {}, MoreColumns::make, {3}},
    {"dropout_gradient", {0, 1, 5}, {2}, MoreColumns::make, {3}},
    {"batch_statistics", {0, 6, 7, 8, 9, 10}, {}, MoreColumns::make, {2}, 3},
    {"normalize", {0, 1, 2, 3, 4, 10, 11}, {}, MoreColumns::make, {7, 9}, 8},
    {"normalize_gradient", {0, 1, 2, 3, 4, 14, 15, 16, 17, 18}, {}, MoreColumns::make, {7, 10}, 8},
    {"dropout", {0, 8, 9}, {1, 2, 3, 4, 5}, made<OneByOne>},
    {"normal_noise", {0, 7, 8}, {1, 2, 3, 4}, made<OneByOne>},
    {"penalties", {0, 1}, {3, 5, 7}, made<OneByOne>},
    {"schedule", {}, {0, 1, 2}, made<OneByOne>},
};

const Rule* rule_of(const Operation& operation) {
    for (const Rule& rule : RULES)
        if (operation.name == rule.name) return &rule;
    return nullptr;
}

bool is_array(const Operation& operation, int i) {
    return operation.parameters[std::size_t(i)].kind == Parameter::array;
}

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
            const Rule* rule = rule_of(operation);
            rules.push_back(rule && is_usable(*calls[0], *rule) ? rule : nullptr);
            if (rules.back() && !are_alike(calls, *rule)) return operation.name + " differs";
        }
        for (std::size_t k = 0; k < steps; ++k)
            for (int i : rules[k] ? rules[k]->lanes : std::initializer_list<int>{})
                add_region(*all[k][0], std::size_t(i));
        join_regions();
        for (std::size_t k = 0; k < steps; ++k) {
            if (!rules[k] || rules[k]->make == &made<OneByOne>) continue;
            const SizedCall& call = *all[k][0];
            for (int i : rules[k]->own)
                if (is_array(*call.operation, i) &&
                    shared.region_of(call.words[i].array, call.bytes[i]))
                    return call.operation->name + " has an array of its own that is in lanes";
        }
        for (const Calls& calls : all)
            if (!all_agree(calls)) return "their arrays are laid out differently";
        for (Region& region : shared.regions) {
            memory.emplace_back(std::size_t((region.end - region.begin) * NETWORKS));
            region.lanes = memory.back().as<char>();
        }
        for (std::size_t k = 0; k < steps; ++k)
            works.emplace_back(rules[k] ? rules[k]->make(shared, all[k], *rules[k])
                                        : new OneByOne(shared, all[k]));
        shared.may_be_late = may_be_late(all);
        return "";
    }

    void begin() override {
        std::fill(shared.active, shared.active + shared.count, true);
        for (Region& region : shared.regions) region.read(0, region.end - region.begin);
        begin_pass();
    }
    void perform() override {
        for (const auto& work : works) work->perform();
    }
    bool next_pass(const std::vector<const SizedCall*>& between) override {
        settle();
        for (int l = 0; l < shared.count; ++l) {
            if (!shared.active[l]) continue;
            const SizedCall& call = *between[std::size_t(l)];
            call.operation->perform(call.words);
            const std::size_t last = call.operation->parameters.size() - 1;
            if (!*argument<const int64*>(call.words[last])) continue;
            bool alone[NETWORKS] = {};
            alone[l] = true;
            for (const Region& region : shared.regions)
                region.write(0, region.end - region.begin, alone);
            shared.active[l] = false;
        }
        return begin_pass();
    }
    void end() override {
        settle();
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

    // Returns whether any network is active.
    bool begin_pass() {
        const bool* end = shared.active + shared.count;
        const bool* first = std::find(shared.active, shared.active + shared.count, true);
        if (first == end) return false;
        shared.first = std::size_t(first - shared.active);
        shared.are_late = shared.may_be_late;
        for (const auto& work : works) work->begin();
        return true;
    }

    void settle() {
        for (const auto& work : works) work->settle();
    }

    // Whether only the loss and the end of a step use the sums, and no operation the counters of
    // each network.
    bool may_be_late(const std::vector<Calls>& all) {
        const auto is = [&](const Calls& calls, const char* name) {
            return calls[0]->operation->name == name;
        };
        if (shared.schedules || !is(all.back(), "advance")) return false;
        const Calls& last = all.back();
        int losses = 0;
        for (std::size_t k = 0; k + 1 < all.size(); ++k) {
            if (works[k]->is_apart()) return false;
            if (!is(all[k], "loss")) continue;
            ++losses;
            for (std::size_t l = 0; l < last.size(); ++l)
                if (all[k][l]->words[12].array != last[l]->words[2].array) return false;
        }
        return losses == 1;
    }

    // Whether a rule is for such arguments.
    static bool is_usable(const SizedCall& call, const Rule& rule) {
        return (rule.one < 0 || call.words[rule.one].integer == 1) &&
               (rule.none < 0 || !call.words[rule.none].array);
    }

    // Whether the networks differ in nothing else than a rule allows.
    static bool are_alike(const Calls& calls, const Rule& rule) {
        const Operation& operation = *calls[0]->operation;
        const auto is_in = [](std::initializer_list<int> places, int i) {
            return std::find(places.begin(), places.end(), i) != places.end();
        };
        for (const SizedCall* call : calls)
            for (int i = 0; i < int(operation.parameters.size()); ++i) {
                const Word &one = calls[0]->words[i], &other = call->words[i];
                if (is_in(rule.own, i)) continue;
                if (!is_array(operation, i)) {
                    if (one.integer != other.integer) return false;
                    continue;
                }
                if (!one.array != !other.array) return false;
                if (call->bytes[i] != calls[0]->bytes[i]) return false;
                if (!one.array || is_in(rule.lanes, i)) continue;
                if (std::memcmp(one.array, other.array, std::size_t(call->bytes[i]))) return false;
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
        const auto agrees = [&](void* first, int64 bytes, int64 size, std::size_t l, void* own) {
            Region* region = first && bytes ? shared.region_of(first, bytes) : nullptr;
            if (!region) return true;
            const char* begin = static_cast<char*>(first);
            const bool inside = begin >= region->begin && begin + bytes <= region->end;
            if (!inside || size != region->size) return false;
            char* start = static_cast<char*>(own) - (begin - region->begin);
            if (!region->own[l]) region->own[l] = start;
            return region->own[l] == start;
        };
        for (std::size_t l = 0; l < calls.size(); ++l)
            for (std::size_t i = 0; i < operation.parameters.size(); ++i) {
                const Word &one = calls[0]->words[i], &other = calls[l]->words[i];
                const Parameter& parameter = operation.parameters[i];
                if (parameter.kind == Parameter::array) {
                    const int64 size = size_of(parameter.type);
                    if (!agrees(one.array, calls[0]->bytes[i], size, l, other.array)) return false;
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
};

}  // namespace

std::vector<LaneRule> lane_rules() {
    std::vector<LaneRule> found;
    for (const Rule& rule : RULES) found.push_back({rule.name, rule.lanes, rule.own});
    return found;
}

std::unique_ptr<Lanes> lanes_of(const std::vector<std::vector<SizedCall>>& networks,
                                std::string& reason) {
    auto group = std::make_unique<Group>();
    reason = group->read(networks);
    if (!reason.empty()) return nullptr;
    return group;
}
