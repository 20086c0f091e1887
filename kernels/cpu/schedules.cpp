// Rates that change from update to update, by a formula of the number of updates.
#include "../formulas/control.cuh"
#include "../formulas/schedules.cuh"
#include "formulas.hpp"
#include "operation.hpp"

namespace {

// rates[place] = the schedule's value for the update to come; one is done every so many steps.
template <class Schedule>
void schedule(const double* parameters, const int64* counters, int64 every, double* rates,
              int64 place) {
    rates[place] = Schedule::value(parameters, double(counters[UPDATES] / every));
}

const Registration registration([] {
#define ADD(Formula) add<&schedule<Formula>>("schedule", {#Formula});
    EACH_SCHEDULE(ADD)
#undef ADD
});

}  // namespace
