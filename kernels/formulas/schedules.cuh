// Schedules: a rate from the number of updates done so far, in double precision. The formulas are
// those of gpunn/optimizers/schedules, with the parameters in the order given there.
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
    HD static double value(const double* p, double) { return p[0]; }
};

// parameters: number of boundaries, boundaries, values
struct PiecewiseConstantDecay : Schedule {
    HD static double value(const double* p, double step) {
        const int64 n = int64(p[0]);
        int64 passed = 0;
        while (passed < n && step > p[1 + passed]) ++passed;
        return p[1 + n + passed];
    }
};

// parameters: initial_learning_rate, decay_steps, decay_rate, staircase
struct ExponentialDecay : Schedule {
    HD static double value(const double* p, double step) {
        return p[0] * math::pow(p[2], periods(step, p[1], p[3] != 0));
    }
};

struct InverseTimeDecay : Schedule {
    HD static double value(const double* p, double step) {
        return p[0] / (1.0 + p[2] * periods(step, p[1], p[3] != 0));
    }
};

// parameters: initial_learning_rate, end_learning_rate, decay_steps, power, cycle
struct PolynomialDecay : Schedule {
    HD static double value(const double* p, double step) {
        double steps = p[2];
        if (p[4] != 0) {
            const double begun = math::ceil(step / steps);
            steps *= begun > 1.0 ? begun : 1.0;
        }
        const double left = 1.0 - (step < steps ? step : steps) / steps;
        return (p[0] - p[1]) * math::pow(left, p[3]) + p[1];
    }
};

// parameters: first rate, top rate, warmup_steps, decay_steps, alpha
struct CosineDecay : Schedule {
    HD static double value(const double* p, double step) {
        if (step < p[2]) return p[0] + (p[1] - p[0]) * (step / p[2]);
        const double since = step - p[2];
        const double done = (since < p[3] ? since : p[3]) / p[3];
        return p[1] * ((1.0 - p[4]) * half_cosine(done) + p[4]);
    }
};

// parameters: initial_learning_rate, first_decay_steps, t_mul, m_mul, alpha
struct CosineDecayRestarts : Schedule {
    HD static double value(const double* p, double step) {
        double left = step, steps = p[1], restarts = 0;
        if (p[2] == 1.0) {
            restarts = math::floor(left / steps);
            left -= restarts * steps;
        }
        while (p[2] != 1.0 && left >= steps) {
            left -= steps;
            steps *= p[2];
            restarts += 1;
        }
        const double top = math::pow(p[3], restarts) * half_cosine(left / steps);
        return p[0] * ((1.0 - p[4]) * top + p[4]);
    }
};

// parameters: whether it follows a cosine, the steps of four corners, the rates there
struct OneCycle : Schedule {
    HD static double value(const double* p, double step) {
        const double* steps = p + 1;
        const double* rates = p + 5;
        if (step > steps[3]) step = steps[3];
        const int corner = step <= steps[1] ? 1 : step <= steps[2] ? 2 : 3;
        const double start = steps[corner - 1], stop = steps[corner];
        const double done = stop > start ? (step - start) / (stop - start) : 1.0;
        const double left = p[0] != 0 ? half_cosine(done) : 1.0 - done;
        return rates[corner] + (rates[corner - 1] - rates[corner]) * left;
    }
};
