// Learning rates that change from step to step, by a formula of the number of steps.
#include "../formulas/control.cuh"
#include "../formulas/schedules.cuh"
#include "threads.cuh"

// rate = the schedule's value for the next step.
template <class Schedule>
LAST_PART void schedule(ThreadGroup threads, const double* parameters,
                        BLOCK_COPY const int64* counters, double* rate) {
    if (threads.rank == 0) *rate = Schedule::value(parameters, double(counters[UPDATES]));
}
