// Learning rates that change from step to step, by a formula of the number of steps.
#include "../formulas/control.cuh"
#include "../formulas/schedules.cuh"
#include "generated_formulas.hpp"
#include "operation.hpp"

namespace {

// rates[place] = the schedule's value for the next step.
template <class Schedule>
void schedule(const double* parameters, const int64* counters, double* rates, int64 place) {
    rates[place] = Schedule::value(parameters, double(counters[UPDATES]));
}

const Registration registration([] {
#define ADD(Formula) add<&schedule<Formula>>("schedule", {#Formula});
    EACH_SCHEDULE(ADD)
#undef ADD
});

}  // namespace
