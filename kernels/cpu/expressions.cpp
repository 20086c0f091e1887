// Expressions: what a user writes, performed block by block. A block is some rows, or a piece of a
// row: what is computed of it stays in the cache next to the core, in registers of its size.
// Python encodes the expression in steps (gpunn/backends/compiled/expressions.py): each is a
// function, and the registers that it reads and writes.
#include "expressions.hpp"
#include "pieces.hpp"

namespace {

// What a step does: the functions of the contract's `OPERANDS` in their order, and some more.
namespace function {
enum Number : int64 {
    constant, column_index, copy, negative, abs, sign, square, reciprocal, sqrt, relu, sigmoid, exp,
    expm1, log, log1p, sin, cos, tan, arcsin, arccos, arctan, sinh, cosh, tanh, arcsinh, arccosh,
    arctanh, floor, ceil, round, isnan, isinf, isfinite, logical_not, add, subtract, multiply,
    divide, maximum, minimum, power, floor_divide, mod, arctan2, logaddexp, equal, not_equal, less,
    less_equal, greater, greater_equal, logical_and, logical_or, logical_xor, where, row_sum,
    row_max, row_min, column_sum, load, store, repeat, spread, begin_sum, end_sum, count
};
}  // namespace function

// Of a value: one number, one for each row, for each column, or for each element.
enum Extent : int64 { ONE, ROWS, COLUMNS, ELEMENTS };

struct Step {
    int64 function;
    int64 form;         // 1: the last operand is one number, 2: the one before it, 3: both
    int64 extent;       // of the result
    int64 out;          // the register of the result
    int64 operands[3];  // registers
    int64 array;        // an input or output; -1: none
};

// The functions as loops, by the form of their operands.
template <typename T> struct Loops {
    Compute<T> of[function::count][4] = {};

    Loops() {
#define UNARY(f) of[function::f][0] = unary<T, functions::f>;
#define CALLS(f) of[function::f][0] = unary_calls<T, functions::f>;
#define BINARY(f)                                       \
    of[function::f][0] = binary<T, functions::f>;       \
    of[function::f][1] = with_number<T, functions::f>;  \
    of[function::f][2] = of_number<T, functions::f>;
        UNARY(negative) UNARY(abs) UNARY(sign) UNARY(square) UNARY(reciprocal) UNARY(sqrt)
        UNARY(relu) UNARY(floor) UNARY(ceil) UNARY(round) UNARY(isnan) UNARY(isinf)
        UNARY(isfinite) UNARY(logical_not) UNARY(sigmoid) UNARY(exp) UNARY(expm1) UNARY(log)
        UNARY(log1p) UNARY(tanh)
        BINARY(add) BINARY(subtract) BINARY(multiply) BINARY(divide) BINARY(maximum)
        BINARY(minimum) BINARY(equal) BINARY(not_equal) BINARY(less) BINARY(less_equal)
        BINARY(greater) BINARY(greater_equal)
        CALLS(arcsin) CALLS(arccos) CALLS(arctan) CALLS(arcsinh) CALLS(arccosh) CALLS(arctanh)
        if constexpr (std::is_same_v<T, float>) {
            UNARY(sinh) UNARY(cosh)
            of[function::sin][0] = of_angles<functions::sin, polynomials::sin_near>;
            of[function::cos][0] = of_angles<functions::cos, polynomials::cos_near>;
            of[function::tan][0] = of_angles<functions::tan, polynomials::tan_near>;
            of[function::power][0] = binary<T, functions::power>;
            of[function::logaddexp][0] = binary<T, functions::logaddexp>;
        } else {
            CALLS(sin) CALLS(cos) CALLS(tan) CALLS(sinh) CALLS(cosh)
            of[function::power][0] = binary_calls<T, functions::power>;
            of[function::logaddexp][0] = binary_calls<T, functions::logaddexp>;
        }
#undef UNARY
#undef CALLS
#undef BINARY
        of[function::floor_divide][0] = binary_calls<T, functions::floor_divide>;
        of[function::mod][0] = binary_calls<T, functions::mod>;
        of[function::arctan2][0] = binary_calls<T, functions::arctan2>;
        of[function::logical_and][0] = binary<T, functions::logical_and>;
        of[function::logical_or][0] = binary<T, functions::logical_or>;
        of[function::logical_xor][0] = binary<T, functions::logical_xor>;
        of[function::where][0] = where<T, false, false>;
        of[function::where][1] = where<T, false, true>;
        of[function::where][2] = where<T, true, false>;
        of[function::where][3] = where<T, true, true>;
    }
};
template <typename T> const Loops<T> loops;

// Steps, by when they are done: once; when a column of blocks begins; for each block; when a column
// ends. They follow each other: the last ones stop before `last`.
struct Program {
    const Step *once, *column, *block, *end, *last;
    const double* numbers;
    const AnyArray *inputs, *outputs;
    int64 registers;  // as long as a block; behind them come those of one number
};

// A matrix, cut into blocks.
struct Blocks {
    int64 rows, columns, height, width;  // of the matrix, of a block
    bool by_rows;  // whether a row's blocks follow each other: of it something is summed up

    int64 high() const { return (rows + height - 1) / height; }
    int64 wide() const { return (columns + width - 1) / width; }
};

constexpr int64 MOST_REGISTERS = 256, FILE_BYTES = 1 << 18, SOME_BLOCKS = 256, FEW_BLOCKS = 16;

template <typename T> class Machine {
  public:
    Machine(const Program& program, const Blocks& blocks) : program(program), blocks(blocks) {
        const int64 numbers = (blocks.height * blocks.width + WIDE - 1) / WIDE * WIDE;
        stride = numbers + SLACK;
    }

    // The blocks from number `first` on.
    void perform(int64 first, int64 last) {
        to_store[ONE] = first == 0;
        steps(program.once, program.column);
        int64 column_of_steps = -1;
        for (int64 k = first; k < last; ++k) {
            row = blocks.by_rows ? k / blocks.wide() : k % blocks.high();
            column = blocks.by_rows ? k % blocks.wide() : k / blocks.high();
            place();
            if (column != column_of_steps) {
                to_store[COLUMNS] = row == 0;
                to_store[ONE] = row == 0 && in_last_column;
                steps(program.column, program.block);
                column_of_steps = column;
            }
            to_store[ROWS] = in_last_column;
            steps(program.block, program.end);
            if (row == blocks.high() - 1) {
                to_store[COLUMNS] = true;
                to_store[ONE] = in_last_column;
                steps(program.end, program.last);
            }
        }
    }

  private:
    const Program& program;
    const Blocks& blocks;
    int64 stride;
    int64 row, column;                   // of the block
    int64 first_row, first_column;       // of the matrix, where the block begins
    int64 counts[4] = {1, 1, 1, 1};      // numbers of a value, by its extent
    int64 block_columns = 1;
    bool in_last_column = true;
    bool to_store[4] = {true, true, true, true};  // what else would be stored again, by its extent
    const T* at[MOST_REGISTERS];                  // where the value of a register is
    alignas(64) unsigned char file[FILE_BYTES];

    T* memory(int64 number) {
        T* all = reinterpret_cast<T*>(file);
        const int64 behind = number - program.registers;
        return behind < 0 ? all + number * stride : all + program.registers * stride + behind * LANES;
    }

    void place() {
        first_row = row * blocks.height, first_column = column * blocks.width;
        in_last_column = column == blocks.wide() - 1;
        const int64 rows_left = blocks.rows - first_row;
        const int64 columns_left = blocks.columns - first_column;
        counts[ROWS] = rows_left < blocks.height ? rows_left : blocks.height;
        block_columns = columns_left < blocks.width ? columns_left : blocks.width;
        counts[COLUMNS] = blocks.height * block_columns;
        counts[ELEMENTS] = counts[ROWS] * block_columns;
    }

    // Where in an array of this extent the block's numbers begin.
    int64 start(int64 extent) const {
        switch (extent) {
            case ONE: return 0;
            case ROWS: return first_row;
            case COLUMNS: return first_column;
            default: return first_row * blocks.columns + first_column;
        }
    }

    void steps(const Step* step, const Step* stop) {
        for (; step < stop; ++step) perform(*step);
    }

    void perform(const Step& step) {
        const int64 n = counts[step.extent];
        const T *a = at[step.operands[0]], *b = at[step.operands[1]], *c = at[step.operands[2]];
        T* out = memory(step.out);
        if (const Compute<T> compute = loops<T>.of[step.function][step.form]) {
            T* to = out;
            if (step.array >= 0)
                to = static_cast<T*>(program.outputs[step.array].data) + start(step.extent);
            if (n % LANES == 0) out = to;
            compute(a, b, c, n, out);
            if (out != to) std::memcpy(to, out, std::size_t(n) * sizeof(T));
            at[step.out] = out;
            return;
        }
        if (step.function != function::store) at[step.out] = out;
        switch (step.function) {
            case function::constant: fill(T(program.numbers[step.array]), 1, out); break;
            case function::column_index:
                for (int64 r = 0; r < blocks.height; ++r, out += block_columns)
                    for (int64 c = 0; c < block_columns; ++c) out[c] = T(first_column + c);
                break;
            case function::load: at[step.out] = load(step, n, out); break;
            case function::store: store(step); break;
            case function::repeat: ::repeat(a, counts[ROWS], block_columns, out); break;
            case function::spread: fill(*a, n, out); break;
            case function::begin_sum: fill(T(0), stride - SLACK, out); break;
            case function::end_sum: end_sum(step, out); break;
            case function::column_sum:
                if (to_store[step.extent]) add_to_sum(a, n, out, memory(step.operands[1]));
                break;
            case function::row_sum:
                fold(a, T(0), out, [](auto x, auto y) { return x + y; });
                break;
            case function::row_max:
                fold(a, math::minus_infinity<T>(), out,
                     [](auto x, auto y) { return (x > y) | (x != x) ? x : y; });
                break;
            case function::row_min:
                fold(a, -math::minus_infinity<T>(), out,
                     [](auto x, auto y) { return (x < y) | (x != x) ? x : y; });
        }
    }

    // Where the numbers of an input are, in the dtype that is computed in: in it, or copied.
    const T* load(const Step& step, int64 n, T* out) {
        const AnyArray& array = program.inputs[step.array];
        const int64 from = start(step.extent);
        if (step.extent == COLUMNS) n = block_columns;
        const bool again = step.extent == COLUMNS && blocks.height > 1;
        if (array.type == type_of<T> && !again && from + n + LANES <= array.size)
            return static_cast<const T*>(array.data) + from;
        read(array, from, n, out);
        for (int64 r = 1; again && r < blocks.height; ++r)
            std::memcpy(out + r * n, out, std::size_t(n) * sizeof(T));
        return out;
    }

    void store(const Step& step) {
        if (!to_store[step.extent]) return;
        const AnyArray& array = program.outputs[step.array];
        const int64 n = step.extent == COLUMNS ? block_columns : counts[step.extent];
        write(at[step.operands[0]], n, step.form != 0, array, start(step.extent));
    }

    // The rows of the block folded. Of rows that are longer than a block, the lanes are kept, and
    // those of a few blocks put together in double precision.
    template <typename Fold> void fold(const T* x, T nothing, T* out, Fold fold) {
        if (!blocks.by_rows) {
            fold_rows(x, counts[ROWS], block_columns, nothing, out, fold);
            return;
        }
        T* some = out + LANES;
        double* total = reinterpret_cast<double*>(some + WIDE);
        if (column == 0) {
            fill(nothing, WIDE, some);
            fill(double(nothing), WIDE, total);
        }
        fold_into(x, block_columns, some, fold);
        if (!in_last_column && (column + 1) % FEW_BLOCKS != 0) return;
        for (int l = 0; l < WIDE; ++l) total[l] = fold(total[l], double(some[l]));
        fill(nothing, WIDE, some);
        if (in_last_column) *out = T(lanes_folded(total, fold));
    }

    // A number for each of the block's is added to, and what SOME_BLOCKS give to another: so that
    // in a sum over many rows small numbers are not lost beside a large one.
    void add_to_sum(const T* x, int64 n, T* some, T* total) {
        INDEPENDENT
        for (int64 i = 0; i < n; ++i) some[i] += x[i];
        if (row % SOME_BLOCKS == SOME_BLOCKS - 1) add_up(some, total);
    }
    void add_up(T* some, T* total) {
        INDEPENDENT
        for (int64 i = 0; i < stride - SLACK; ++i) {
            total[i] += some[i];
            some[i] = T(0);
        }
    }

    // The sums for each column of the block, of those for its numbers: the lower half of the rows
    // is added to the upper one, again and again.
    void end_sum(const Step& step, T* out) {
        T *some = memory(step.operands[0]), *total = memory(step.operands[1]);
        add_up(some, total);
        const int64 width = step.extent == ONE ? 1 : block_columns;
        if (width == 1) {
            *out = T(sum_of(blocks.height, [=](int64 i) { return double(total[i]); }));
            return;
        }
        for (int64 rows = blocks.height; rows > 1;) {
            const int64 half = rows / 2, kept = rows - half;
            INDEPENDENT
            for (int64 i = 0; i < half * width; ++i) total[i] += total[kept * width + i];
            rows = kept;
        }
        std::memcpy(out, total, std::size_t(width) * sizeof(T));
    }
};

// outputs = what the steps make of the inputs, see gpunn/backends/contract/expression.py
template <typename T>
void expression(const int64* code, int64 once, int64 column, int64 block, int64 end,
                const double* numbers, int64 registers, int64 rows, int64 columns, int64 height,
                int64 width, bool by_rows, int64 tasks, const AnyArray* inputs,
                AnyArray* outputs) {
    const Step* steps = reinterpret_cast<const Step*>(code);
    const Program program = {steps, steps + once, steps + column, steps + block, steps + end,
                             numbers, inputs, outputs, registers};
    const Blocks blocks = {rows, columns, height, width, by_rows};
    const int64 all = blocks.high() * blocks.wide();
    parallel(tasks, [&](int64 k) {
        Machine<T>(program, blocks).perform(all * k / tasks, all * (k + 1) / tasks);
    });
}

const Registration registration([] {
    add<&expression<float>>("expression", {"float32"});
    add<&expression<double>>("expression", {"float64"});
});

}  // namespace
