// What the steps of an expression do: EACH_STEP(X) is X(name) for each, by its number.
// Written by `make formulas` from gpunn/backends/compiled/steps.py; do not edit.
#pragma once

#define EACH_STEP(X) \
    X(constant) X(column_index) X(copy) X(negative) X(abs) X(sign) X(square) X(reciprocal) \
    X(sqrt) X(relu) X(sigmoid) X(exp) X(expm1) X(log) X(log1p) X(sin) X(cos) X(tan) X(arcsin) \
    X(arccos) X(arctan) X(sinh) X(cosh) X(tanh) X(arcsinh) X(arccosh) X(arctanh) X(erfc) \
    X(floor) X(ceil) X(round) X(isnan) X(isinf) X(isfinite) X(logical_not) X(add) X(subtract) \
    X(multiply) X(divide) X(maximum) X(minimum) X(power) X(floor_divide) X(mod) X(arctan2) \
    X(logaddexp) X(equal) X(not_equal) X(less) X(less_equal) X(greater) X(greater_equal) \
    X(logical_and) X(logical_or) X(logical_xor) X(where) X(row_sum) X(row_max) X(row_min) \
    X(column_sum) X(load) X(store) X(place) X(repeat) X(spread) X(begin_sum) X(end_sum) X(run) \
    X(end_run) X(multiply_add) X(multiply_subtract) X(multiply_subtract_from) \
    X(multiply_multiply) X(add_multiply) X(subtract_multiply)

#define EACH_ELEMENTWISE(X) \
    X(copy) X(negative) X(abs) X(sign) X(square) X(reciprocal) X(sqrt) X(relu) X(sigmoid) X(exp) \
    X(expm1) X(log) X(log1p) X(sin) X(cos) X(tan) X(arcsin) X(arccos) X(arctan) X(sinh) X(cosh) \
    X(tanh) X(arcsinh) X(arccosh) X(arctanh) X(erfc) X(floor) X(ceil) X(round) X(isnan) X(isinf) \
    X(isfinite) X(logical_not) X(add) X(subtract) X(multiply) X(divide) X(maximum) X(minimum) \
    X(power) X(floor_divide) X(mod) X(arctan2) X(logaddexp) X(equal) X(not_equal) X(less) \
    X(less_equal) X(greater) X(greater_equal) X(logical_and) X(logical_or) X(logical_xor) \
    X(where)

#define EACH_CALL_OF_ONE(X) \
    X(arcsin) X(arccos) X(arctan) X(arcsinh) X(arccosh) X(arctanh)

#define EACH_CALL_OF_TWO(X) \
    X(floor_divide) X(mod) X(arctan2)

#define EACH_PAIR(X) \
    X(multiply, add) X(multiply, subtract) X(multiply, subtract_from) X(multiply, multiply) \
    X(add, multiply) X(subtract, multiply)
