// Schedules: a rate from the number of batches trained on so far, in double precision. The formulas are
// those of gpunn/optimizers/schedules. An enumeration names the parameters, as `parameter_names`
// does there.
#pragma once
#include "math.cuh"

HD double half_cosine(double done) {
    return 0.5 * (1.0 + math::cos(3.14159265358979323846 * done));
}

HD double periods(double step, double decay_steps, bool staircase) {
    const double p = step / decay_steps;
    return staircase ? math::floor(p) : p;
}

struct ConstantValue : Schedule {
    enum { VALUE };
    HD static double value(const double* p, double) { return p[VALUE]; }
};

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

struct ExponentialDecay : Schedule {
    enum { INITIAL_LEARNING_RATE, DECAY_STEPS, DECAY_RATE, STAIRCASE };
    HD static double value(const double* p, double step) {
        const double passed = periods(step, p[DECAY_STEPS], p[STAIRCASE] != 0);
        return p[INITIAL_LEARNING_RATE] * math::pow(p[DECAY_RATE], passed);
    }
};

struct InverseTimeDecay : Schedule {
    enum { INITIAL_LEARNING_RATE, DECAY_STEPS, DECAY_RATE, STAIRCASE };
    HD static double value(const double* p, double step) {
        const double passed = periods(step, p[DECAY_STEPS], p[STAIRCASE] != 0);
        return p[INITIAL_LEARNING_RATE] / (1.0 + p[DECAY_RATE] * passed);
    }
};

struct PolynomialDecay : Schedule {
    enum { INITIAL_LEARNING_RATE, END_LEARNING_RATE, DECAY_STEPS, POWER, CYCLE };
    HD static double value(const double* p, double step) {
        double steps = p[DECAY_STEPS];
        if (p[CYCLE] != 0) {
            const double begun = math::ceil(step / steps);
            steps *= begun > 1.0 ? begun : 1.0;
        }
        const double left = 1.0 - (step < steps ? step : steps) / steps;
        const double falls = p[INITIAL_LEARNING_RATE] - p[END_LEARNING_RATE];
        return falls * math::pow(left, p[POWER]) + p[END_LEARNING_RATE];
    }
};

struct CosineDecay : Schedule {
    enum { INITIAL_LEARNING_RATE, TOP_RATE, RISE_STEPS, DECAY_STEPS, ALPHA };
    HD static double value(const double* p, double step) {
        const double first = p[INITIAL_LEARNING_RATE], top = p[TOP_RATE];
        if (step < p[RISE_STEPS]) return first + (top - first) * (step / p[RISE_STEPS]);
        const double since = step - p[RISE_STEPS];
        const double done = (since < p[DECAY_STEPS] ? since : p[DECAY_STEPS]) / p[DECAY_STEPS];
        return top * ((1.0 - p[ALPHA]) * half_cosine(done) + p[ALPHA]);
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
