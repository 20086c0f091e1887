// Schedules that use a table, or restart repeatedly: a rate from the number of batches trained on
// so far, in double precision. Those with a single formula are in generated_schedules.cuh.
#pragma once
#include "generated_schedules.cuh"

HD double half_cosine(double done) {
    return 0.5 * (1.0 + math::cos(3.14159265358979323846 * done));
}

struct PiecewiseConstantDecay : Schedule {
    enum { BOUNDARY_COUNT, BOUNDARIES, VALUES };
    HD static double value(const double* p, double step) {
        const double* boundaries = p + BOUNDARIES;
        const int64 n = int64(p[BOUNDARY_COUNT]);
        const double* values = boundaries + n;
        int64 passed = 0;
        while (passed < n && step > boundaries[passed]) ++passed;
        return values[passed];
    }
};

struct CosineDecayRestarts : Schedule {
    enum { INITIAL_LEARNING_RATE, FIRST_DECAY_STEPS, T_MUL, M_MUL, ALPHA };
    HD static double value(const double* p, double step) {
        double left = step, steps = p[FIRST_DECAY_STEPS], restarts = 0;
        if (p[T_MUL] == 1.0) {
            restarts = math::floor(left / steps);
            left -= restarts * steps;
        }
        while (p[T_MUL] != 1.0 && left >= steps) {
            left -= steps;
            steps *= p[T_MUL];
            restarts += 1;
        }
        const double top = math::pow(p[M_MUL], restarts) * half_cosine(left / steps);
        return p[INITIAL_LEARNING_RATE] * ((1.0 - p[ALPHA]) * top + p[ALPHA]);
    }
};

struct OneCycle : Schedule {
    enum { FOLLOWS_COSINE, STEPS, RATES = STEPS + 4 };
    HD static double value(const double* p, double step) {
        const double* steps = p + STEPS;
        const double* rates = p + RATES;
        if (step > steps[3]) step = steps[3];
        const int corner = step <= steps[1] ? 1 : step <= steps[2] ? 2 : 3;
        const double start = steps[corner - 1], stop = steps[corner];
        const double done = stop > start ? (step - start) / (stop - start) : 1.0;
        const double left = p[FOLLOWS_COSINE] != 0 ? half_cosine(done) : 1.0 - done;
        return rates[corner] + (rates[corner - 1] - rates[corner]) * left;
    }
};
