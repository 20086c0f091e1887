// Rates that change from update to update, by a formula of the number of updates.
#include "../formulas/control.cuh"
#include "../formulas/schedules.cuh"
#include "threads.cuh"

// rate = the schedule's value for the update to come; one is done every so many steps.
template <class Schedule>
LAST_PART void schedule(ThreadGroup threads, const double* parameters, const int64* counters,
                        int64 every, double* rate) {
    if (threads.rank == 0) *rate = Schedule::value(parameters, double(counters[UPDATES] / every));
}
