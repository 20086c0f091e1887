// User-defined expressions, computed block by block. A block is some rows or a piece of a row. Its
// intermediate values stay in the cache next to the core, in registers of the block's size. Python
// encodes the expression in steps (gpunn/backends/compiled/steps.py): each has a function, and the
// registers that it reads and writes. Element-wise steps are performed in runs (strips.hpp).
#include "expressions.hpp"
#include "pieces.hpp"

namespace {

// The extent of a value: a single value, or one for each row, each column or each element.
enum Extent : int64 { ONE, ROWS, COLUMNS, ELEMENTS };

// Steps, by when they are performed: once; when a column of blocks begins; for each block; when a
// column ends. They are consecutive: the last ones stop before `last`.
struct Program {
    const Step *once, *column, *block, *end, *last;
    const double* numbers;
    const AnyArray *inputs, *outputs;
    int64 registers;  // as long as a block; those of single values follow them
};

// A matrix, divided into blocks.
struct Blocks {
    int64 rows, columns, height, width;  // of the matrix, of a block
    bool by_rows;  // whether a row's blocks are consecutive: the row is reduced

    int64 high() const { return (rows + height - 1) / height; }
    int64 wide() const { return (columns + width - 1) / width; }
};

constexpr int64 SHORT = FEW_VECTORS * LANES;  // length of the register of a single value
constexpr int64 MOST_REGISTERS = 256, FILE_BYTES = 3 << 17, SOME_BLOCKS = 256, FEW_BLOCKS = 16;

template <typename T> class Machine {
  public:
    Machine(const Program& program, const Blocks& blocks) : program(program), blocks(blocks) {
        const int64 numbers = (blocks.height * blocks.width + WIDE - 1) / WIDE * WIDE;
        stride = numbers + SLACK;
        for (const Step* step = program.once; step < program.last; ++step)
            if (step->out() >= 0) at[step->out()] = memory(step->out());
    }

    // Performs the steps on the blocks from `first` to before `last`.
    void perform(int64 first, int64 last) {
        to_store[ONE] = first == 0;
        steps(program.once, program.column);
        int64 column_of_steps = -1;
        for (int64 k = first; k < last; ++k) {
            row = blocks.by_rows ? k / blocks.wide() : k % blocks.high();
            column = blocks.by_rows ? k % blocks.wide() : k / blocks.high();
            begin_block();
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
    typedef Strips<T, std::make_index_sequence<VECTORS>> Whole;
    typedef Strips<T, std::make_index_sequence<FEW_VECTORS>> Few;

    const Program& program;
    const Blocks& blocks;
    int64 stride;
    int64 row, column;                   // of the block
    int64 first_row, first_column;       // position of the block in the matrix
    int64 counts[4] = {1, 1, 1, 1};      // elements of a value, by its extent
    int64 block_columns = 1;
    bool in_last_column = true;
    bool to_store[4] = {true, true, true, true};  // whether to store a value, by extent: only once
    T* at[MOST_REGISTERS];                        // address of each register's value
    alignas(64) unsigned char file[FILE_BYTES];

    T* memory(int64 number) {
        T* all = reinterpret_cast<T*>(file);
        const int64 behind = number - program.registers;
        if (behind < 0) return all + number * stride;
        return all + program.registers * stride + behind * SHORT;
    }

    void begin_block() {
        first_row = row * blocks.height, first_column = column * blocks.width;
        in_last_column = column == blocks.wide() - 1;
        const int64 rows_left = blocks.rows - first_row;
        const int64 columns_left = blocks.columns - first_column;
        counts[ROWS] = rows_left < blocks.height ? rows_left : blocks.height;
        block_columns = columns_left < blocks.width ? columns_left : blocks.width;
        counts[COLUMNS] = blocks.height * block_columns;
        counts[ELEMENTS] = counts[ROWS] * block_columns;
    }

    // Where the block begins in an array of this extent.
    int64 start(int64 extent) const {
        switch (extent) {
            case ONE: return 0;
            case ROWS: return first_row;
            case COLUMNS: return first_column;
            default: return first_row * blocks.columns + first_column;
        }
    }

    void steps(const Step* step, const Step* stop) {
        for (; step < stop; ++step) {
            perform(*step);
            if (step->function() == function::run) step += step->array();
        }
    }

    // Performs the steps after this one, up to the end of the run, on one strip after the other.
    void run(const Step& step) {
        int64 start = 0, left = counts[step.extent()];
        for (int64 done; left > 0; start += done, left -= done) {
            done = left > 2 * Few::numbers ? Whole::numbers : Few::numbers;
            if (done == Whole::numbers) Whole::perform(&step + 1, at, start, left);
            else Few::perform(&step + 1, at, start, left);
        }
    }

    // How many elements beyond n the strips of a run also process.
    static int64 behind_strips(int64 n) {
        const int64 rest = n % Whole::numbers;
        if (rest > 2 * Few::numbers) return Whole::numbers - rest;
        return (Few::numbers - rest % Few::numbers) % Few::numbers;
    }

    void perform(const Step& step) {
        const int64 n = counts[step.extent()];
        const T* a = at[step.first_operand()];
        T* out = step.out() < 0 ? nullptr : memory(step.out());
        switch (step.function()) {
            case function::constant: fill(T(program.numbers[step.array()]), 1, out); break;
            case function::column_index:
                for (int64 r = 0; r < blocks.height; ++r, out += block_columns)
                    for (int64 c = 0; c < block_columns; ++c) out[c] = T(first_column + c);
                break;
            case function::run: run(step); break;
            case function::load: at[step.out()] = load(step, n, out); break;
            case function::place: at[step.out()] = place(step, n, out); break;
            case function::store: store(step); break;
            case function::repeat: ::repeat(a, counts[ROWS], block_columns, out); break;
            case function::spread: fill(*a, n, out); break;
            case function::begin_sum: fill(T(0), stride - SLACK, out); break;
            case function::end_sum: end_sum(step, out); break;
            case function::column_sum:
                if (to_store[step.extent()]) add_to_sum(a, n, out, memory(step.second_operand()));
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

    // Address of an input's values in the dtype of the computation: the input itself, or a copy.
    T* load(const Step& step, int64 n, T* out) {
        const AnyArray& array = program.inputs[step.array()];
        const int64 from = start(step.extent());
        if (step.extent() == COLUMNS) n = block_columns;
        const bool again = step.extent() == COLUMNS && blocks.height > 1;
        const bool is_folded = step.form() != 0;
        const int64 behind = is_folded ? SLACK : behind_strips(n);
        if (array.type == type_of<T> && !again && from + n + behind <= array.size)
            return static_cast<T*>(array.data) + from;
        read(array, from, n, out);
        for (int64 r = 1; again && r < blocks.height; ++r)
            std::memcpy(out + r * n, out, std::size_t(n) * sizeof(T));
        return out;
    }

    // Address for computing a value that is stored in an output of this dtype: the output itself,
    // unless the last strip would write beyond the block.
    T* place(const Step& step, int64 n, T* out) {
        if (behind_strips(n) > 0) return out;
        return static_cast<T*>(program.outputs[step.array()].data) + start(step.extent());
    }

    void store(const Step& step) {
        if (!to_store[step.extent()]) return;
        const AnyArray& array = program.outputs[step.array()];
        const int64 n = step.extent() == COLUMNS ? block_columns : counts[step.extent()];
        write(at[step.first_operand()], n, step.form() != 0, array, start(step.extent()));
    }

    // Reduces the rows of the block. For rows longer than a block, the lanes are kept, and those of
    // a few blocks are combined in double precision.
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

    // Adds each element of the block to a partial sum, and after SOME_BLOCKS blocks adds these to a
    // total. So a sum over many rows does not lose small values next to a large one.
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

    // Computes the sum for each column from the sums for each element of the block: repeatedly adds
    // the lower half of the rows to the upper half.
    void end_sum(const Step& step, T* out) {
        T *some = memory(step.first_operand()), *total = memory(step.second_operand());
        add_up(some, total);
        const int64 width = step.extent() == ONE ? 1 : block_columns;
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

// outputs = the steps applied to the inputs, see gpunn/backends/contract/expression.py
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

template <typename T> void add_expressions() {
    add<&expression<T>>("expression", {name_of<T>()});
}

const Registration registration([] {
    EACH_FLOAT(add_expressions)
});

}  // namespace
