// Schedules: a rate from the number of batches trained on so far.
// Written by `make formulas` from `rate` in gpunn/optimizers/schedules; do not edit.
#pragma once
#include "elements.cuh"

// rate * ((1 - alpha) (1 + cos(pi step / decay_steps)) / 2 + alpha), after a warm-up.
struct CosineDecay : Schedule {
    enum { INITIAL_LEARNING_RATE, TOP_RATE, RISE_STEPS, DECAY_STEPS, ALPHA };
    HD static double value(const double* p, double step) {
        const double rise_steps = p[RISE_STEPS];
        const double top_rate = p[TOP_RATE];
        if (step < rise_steps) {
            return p[INITIAL_LEARNING_RATE] + (top_rate - p[INITIAL_LEARNING_RATE]) *
                (step / rise_steps);
        }
        const double done = elements::at_most(step - rise_steps, p[DECAY_STEPS]) / p[DECAY_STEPS];
        const double half_cosine = 0.5 * (1.0 + elements::cos(3.141592653589793 * done));
        return top_rate * ((1.0 - p[ALPHA]) * half_cosine + p[ALPHA]);
    }
};

// Always ``value``.
struct ConstantValue : Schedule {
    enum { VALUE };
    HD static double value(const double* p, double step) {
        return p[VALUE];
    }
};

// initial_learning_rate * decay_rate ** (step / decay_steps).
struct ExponentialDecay : Schedule {
    enum { INITIAL_LEARNING_RATE, DECAY_STEPS, DECAY_RATE, STAIRCASE };
    HD static double value(const double* p, double step) {
        const double passed = step / p[DECAY_STEPS];
        const double periods = p[STAIRCASE] > 0.0 ? elements::floor(passed) : passed;
        return p[INITIAL_LEARNING_RATE] * elements::power(p[DECAY_RATE], periods);
    }
};

// initial_learning_rate / (1 + decay_rate * step / decay_steps).
struct InverseTimeDecay : Schedule {
    enum { INITIAL_LEARNING_RATE, DECAY_STEPS, DECAY_RATE, STAIRCASE };
    HD static double value(const double* p, double step) {
        const double passed = step / p[DECAY_STEPS];
        const double periods = p[STAIRCASE] > 0.0 ? elements::floor(passed) : passed;
        return p[INITIAL_LEARNING_RATE] / (1.0 + p[DECAY_RATE] * periods);
    }
};

// (initial - end) * (1 - step / decay_steps) ** power + end; then ``end`` for good.
struct PolynomialDecay : Schedule {
    enum { INITIAL_LEARNING_RATE, END_LEARNING_RATE, DECAY_STEPS, POWER, CYCLE };
    HD static double value(const double* p, double step) {
        const double falls = p[INITIAL_LEARNING_RATE] - p[END_LEARNING_RATE];
        const double begun = elements::at_least(elements::ceil(step / p[DECAY_STEPS]), 1.0);
        const double steps = p[DECAY_STEPS] * (p[CYCLE] > 0.0 ? begun : 1.0);
        const double left = 1.0 - elements::at_most(step, steps) / steps;
        return falls * elements::power(left, p[POWER]) + p[END_LEARNING_RATE];
    }
};
