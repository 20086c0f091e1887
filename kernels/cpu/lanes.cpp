// Steps of several networks at once, see lanes.hpp. Most operations are element-wise, or sums over
// columns: performed on all lanes they are the usual operations on more columns. Products, batches
// and losses are in lane_batches.hpp. Any other operation is performed for one network after the
// other.
#include "lane_batches.hpp"

namespace {

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
                for (const Region& region : shared.regions)
                    region.write(0, region.end - region.begin, alone);
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
        const std::vector<std::string>& types = operation.choices;
        if (operation.name == "affine" && types[0] != types[1]) return false;
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
                const bool in_lanes =
                    std::find(rule.lanes.begin(), rule.lanes.end(), int(i)) != rule.lanes.end();
                if (in_lanes || (array && (on_groups || (sums && i == 12)))) continue;
                const std::size_t bytes = std::size_t(call->bytes[i]);
                if (array ? one.array && std::memcmp(one.array, other.array, bytes)
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
            const bool single = operation.choices[0] == "float32";
            work = single ? typed_work<float>(calls) : typed_work<double>(calls);
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
