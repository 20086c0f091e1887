// Steps of several networks at once: each of their arrays is stored with one network in each lane of
// vectors, so that vector instructions serve networks of any size, however small.
#pragma once
#include "operation.hpp"

#include <memory>
#include <string>
#include <vector>

constexpr int NETWORKS = 16;  // at once, on every instruction set

// A call of one network's step, with the size in bytes of each argument that is an array.
struct SizedCall {
    const Operation* operation;
    const Word* words;
    int64 bytes[MOST_ARGUMENTS];
};

class Lanes {
  public:
    virtual ~Lanes() = default;
    // Between begin() and end(), the arrays of the networks are in memory of the group's own.
    virtual void begin() = 0;
    virtual void perform() = 0;  // one step of all networks
    // The calls between two passes, one for each network. A network that such a call stops is left as
    // it is then, while the others go on. Returns whether any do.
    virtual bool next_pass(const std::vector<const SizedCall*>& between) = 0;
    virtual void end() = 0;
    virtual int64 bytes() const = 0;  // of that memory
};

// The places of an operation's arguments that are in lanes, and of those in which networks that are
// performed together may differ.
struct LaneRule {
    const char* name;
    std::vector<int> lanes, own;
};
std::vector<LaneRule> lane_rules();

// Networks of equal steps, at most NETWORKS: for each its calls. Null, and the reason, if they cannot
// be performed together.
std::unique_ptr<Lanes> lanes_of(const std::vector<std::vector<SizedCall>>& networks,
                                std::string& reason);
