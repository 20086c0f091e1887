// The element-wise steps of an expression. They work on a strip of a block: a few vectors, which
// one step passes to the next in registers of the CPU, the accumulator. Only values that are needed
// again later are stored. Each step is a function that ends with a call of the next one's function,
// which a compiler turns into a jump.
#pragma once
#include "../formulas/elements.cuh"
#include "generated_functions.hpp"
#include "operation.hpp"
#include "rows.hpp"

namespace {

// The function of a step. In pairs, such as multiply_add, the second function takes the result of
// the first.
namespace function {
#define NAME(name) name,
enum Number : int64 { EACH_STEP(NAME) count };
#undef NAME
}  // namespace function

// The location of an operand: the accumulator, a register, or a single value in a register.
enum Source : int64 { ACCUMULATOR, REGISTER, NUMBER };

// The form of a step: the locations of its operands.
constexpr int64 form_of(Source a, Source b = ACCUMULATOR, Source c = ACCUMULATOR) {
    return a + 3 * b + 9 * c;
}
constexpr int64 FORMS = 32;  // at most

// 16-bit numbers in two words. The first word has all that each step of a run needs, so that one
// load reads it.
struct Step {
    int64 first, second;

    static int64 code(int64 first) { return number(first, 0); }  // of its function and form
    static int64 out(int64 first) { return number(first, 1); }   // a register; -1: not stored
    static int64 first_operand(int64 first) { return number(first, 2); }
    static int64 second_operand(int64 first) { return number(first, 3); }
    int64 third_operand() const { return number(second, 0); }
    int64 extent() const { return number(second, 1); }  // of the result
    int64 array() const { return number(second, 2); }   // or a constant, or the length of a run

    int64 function() const { return code(first) / FORMS; }
    int64 form() const { return code(first) % FORMS; }
    int64 out() const { return out(first); }
    int64 first_operand() const { return first_operand(first); }
    int64 second_operand() const { return second_operand(first); }

    static int64 number(int64 word, int place) { return int16(word >> (16 * place)); }
};

// Vectors of a strip: as many as calls pass in registers, on x86-64 and on ARM. The few that remain
// at the end of a block are processed two at a time.
constexpr int64 VECTORS = 8, FEW_VECTORS = 2;

// Strips are always whole: some elements beyond the end of a block are computed as well. This many
// can be read and written there.
constexpr int64 WIDE = 4 * LANES, SLACK = 2 * WIDE;

// out[i] = value(i)
template <typename T, typename Value> inline void each(int64 n, T* out, Value value) {
    int64 i = 0;
    for (; i + WIDE <= n; i += WIDE) {
        INDEPENDENT
        for (int l = 0; l < WIDE; ++l) out[i + l] = value(i + l);
    }
    for (; i < n; i += LANES) {
        EACH_LANE
        for (int l = 0; l < LANES; ++l) out[i + l] = value(i + l);
    }
}

// Functions as types, so that steps are compiled for each.
namespace functions {
#define FUNCTION(name)                                                                            \
    struct name {                                                                                 \
        template <typename... T> static auto of(T... x) { return elements::name(x...); }          \
    };
EACH_ELEMENTWISE(FUNCTION)
#undef FUNCTION
struct subtract_from {  // with the operands swapped
    template <typename T> static T of(T x, T y) { return y - x; }
};
}  // namespace functions

// Operators, which vectors have as well: their functions compile quickly.
template <typename F> constexpr bool OF_VECTORS = false;
#if defined(__GNUC__)
template <> constexpr bool OF_VECTORS<functions::negative> = true;
template <> constexpr bool OF_VECTORS<functions::square> = true;
template <> constexpr bool OF_VECTORS<functions::add> = true;
template <> constexpr bool OF_VECTORS<functions::subtract> = true;
template <> constexpr bool OF_VECTORS<functions::subtract_from> = true;
template <> constexpr bool OF_VECTORS<functions::multiply> = true;
template <> constexpr bool OF_VECTORS<functions::divide> = true;
#endif

template <typename T> using Compute = void (*)(const T* a, const T* b, int64 n, T* out);

// Long functions, as loops over memory.
template <typename T, typename F> ONCE void loop(const T* a, const T*, int64 n, T* out) {
    each(n, out, [=](int64 i) { return F::of(a[i]); });
}
template <typename T, typename F> ONCE void loop_of_two(const T* a, const T* b, int64 n, T* out) {
    each(n, out, [=](int64 i) { return F::of(a[i], b[i]); });
}

// Functions that need a call for each element: no more calls than elements.
template <typename T, typename F> void calls(const T* a, const T*, int64 n, T* out) {
    for (int64 i = 0; i < n; ++i) out[i] = F::of(a[i]);
}
template <typename T, typename F> void calls_of_two(const T* a, const T* b, int64 n, T* out) {
    for (int64 i = 0; i < n; ++i) out[i] = F::of(a[i], b[i]);
}

// The polynomials, if they are accurate for all of the angles, which is nearly always so.
template <typename F, float (*near)(float)>
ONCE void angles(const float* a, const float* b, int64 n, float* out) {
    int32 far = 0;
    for (int64 i = 0; i < n; ++i) far |= !(math::magnitude(a[i]) < polynomials::MOST_ANGLE);
    if (far) calls<float, F>(a, b, n, out);
    else each(n, out, [=](int64 i) { return near(a[i]); });
}

#if defined(__GNUC__)
template <typename T> using Lanes = Vector<T>;
#else
// Arrays, if the compiler has no vector types: it vectorises loops instead.
template <typename T> struct Lanes {
    struct type {
        T at[LANES];
    };
    static constexpr int lanes = LANES;
    static type zero() { return all(T(0)); }
    static type all(T x) {
        type vector;
        for (T& number : vector.at) number = x;
        return vector;
    }
    static type load(const T* p) {
        type x;
        std::memcpy(&x, p, sizeof x);
        return x;
    }
    static void store(T* p, const type& x) { std::memcpy(p, &x, sizeof x); }
};
#endif

// Steps on a strip of `k...` vectors. `word` is the first word of the step, `at` has the address of
// each register, `start` is the position of the strip in the block, and `left` is how many of the
// block's elements remain from there. All of these, and the vectors `x`, are in registers of the
// CPU.
template <typename T, typename Indices> struct Strips;
template <typename T, std::size_t... k> struct Strips<T, std::index_sequence<k...>> {
    typedef Lanes<T> V;
    typedef typename V::type Values;
    template <std::size_t> using Part = Values;
    typedef void Perform(const Step* step, int64 word, T* const* at, int64 start, int64 left,
                         Part<k>... x);

    static constexpr int64 lanes = V::lanes, numbers = sizeof...(k) * lanes;

    struct Table;
    static const Table table;

    // Performs all steps from this one to the end of the run.
    static void perform(const Step* step, T* const* at, int64 start, int64 left) {
        const int64 word = step->first;
        table.of[Step::code(word)](step, word, at, start, left, (void(k), V::zero())...);
    }

    // The end of every step.
    static void next(const Step* step, int64 word, T* const* at, int64 start, int64 left,
                     Part<k>... x) {
        if (const int64 out = Step::out(word); out >= 0) {
            T* to = at[out] + start;
            (V::store(to + k * lanes, x), ...);
        }
        ++step;
        word = step->first;
        table.of[Step::code(word)](step, word, at, start, left, x...);
    }

    static void end(const Step*, int64, T* const*, int64, int64, Part<k>...) {}

    template <Source from> static Values operand(const T* at, int64 start, Values x) {
        if constexpr (from == ACCUMULATOR) return x;
        else if constexpr (from == NUMBER) return V::all(*at);
        else return V::load(at + start);
    }

    // One vector of a function's results.
    template <typename F, typename... More> static Values value(Values x, More... more) {
        if constexpr (OF_VECTORS<F>) return F::of(x, more...);
        else return by_lanes<F>(x, more...);
    }
    // The arrays are optimised away: compilers see that each is one vector.
    template <typename F, typename... More> static Values by_lanes(Values x, More... more) {
        alignas(64) T in[1 + sizeof...(more)][lanes], out[lanes];
        V::store(in[0], x);
        int operand = 0;
        (V::store(in[++operand], more), ...);
        EACH_LANE
        for (int l = 0; l < lanes; ++l) {
            if constexpr (sizeof...(more) == 0) out[l] = F::of(in[0][l]);
            else if constexpr (sizeof...(more) == 1) out[l] = F::of(in[0][l], in[1][l]);
            else out[l] = F::of(in[0][l], in[1][l], in[2][l]);
        }
        return V::load(out);
    }

    // Long functions are compiled for a first operand in the accumulator: others are loaded there,
    // and a jump leads to that function.
    template <typename F, Source a>
    static void unary(const Step* step, int64 word, T* const* at, int64 start, int64 left,
                      Part<k>... x) {
        const T* first = at[Step::first_operand(word)];
        if constexpr (a != ACCUMULATOR && !OF_VECTORS<F>)
            return unary<F, ACCUMULATOR>(step, word, at, start, left,
                                         operand<a>(first, start + k * lanes, x)...);
        next(step, word, at, start, left, value<F>(operand<a>(first, start + k * lanes, x))...);
    }

    template <typename F, Source a, Source b>
    static void binary(const Step* step, int64 word, T* const* at, int64 start, int64 left,
                       Part<k>... x) {
        const T *first = at[Step::first_operand(word)], *second = at[Step::second_operand(word)];
        if constexpr (a != ACCUMULATOR && b != ACCUMULATOR && !OF_VECTORS<F>)
            return binary<F, ACCUMULATOR, b>(step, word, at, start, left,
                                             operand<a>(first, start + k * lanes, x)...);
        next(step, word, at, start, left,
             value<F>(operand<a>(first, start + k * lanes, x),
                      operand<b>(second, start + k * lanes, x))...);
    }

    template <typename First, typename Then, Source a, Source b, Source c>
    static void pair(const Step* step, int64 word, T* const* at, int64 start, int64 left,
                     Part<k>... x) {
        const T *first = at[Step::first_operand(word)], *second = at[Step::second_operand(word)];
        const T* third = at[step->third_operand()];
        next(step, word, at, start, left,
             value<Then>(value<First>(operand<a>(first, start + k * lanes, x),
                                      operand<b>(second, start + k * lanes, x)),
                         operand<c>(third, start + k * lanes, x))...);
    }

    template <Source a, Source b, Source c>
    static void where(const Step* step, int64 word, T* const* at, int64 start, int64 left,
                      Part<k>... x) {
        const T *first = at[Step::first_operand(word)], *second = at[Step::second_operand(word)];
        const T* third = at[step->third_operand()];
        next(step, word, at, start, left,
             value<functions::where>(operand<a>(first, start + k * lanes, x),
                                     operand<b>(second, start + k * lanes, x),
                                     operand<c>(third, start + k * lanes, x))...);
    }

    // Address of an operand for a loop over memory: its register, or a copy in `room`. Loops
    // process whole multiples of LANES (see `each`), which is more than a narrow strip may read of
    // an array.
    template <Source from>
    static const T* in_memory(const T* at, int64 start, T* room, Part<k>... x) {
        if constexpr (from == REGISTER && numbers >= LANES) return at + start;
        (V::store(room + k * lanes, operand<from>(at, start + k * lanes, x)), ...);
        for (int64 i = numbers; i < LANES; ++i) room[i] = T(0);
        return room;
    }

    template <Compute<T> compute, Source a, Source... b>
    static void through_memory(const Step* step, int64 word, T* const* at, int64 start, int64 left,
                               Part<k>... x) {
        constexpr int64 room = numbers < LANES ? LANES : numbers;
        alignas(64) T in[1 + sizeof...(b)][room], out[room];
        const T* first = in_memory<a>(at[Step::first_operand(word)], start, in[0], x...);
        const T* second = first;  // a function of one operand ignores it
        ((second = in_memory<b>(at[Step::second_operand(word)], start, in[1], x...)), ...);
        compute(first, second, left < numbers ? left : numbers, out);
        next(step, word, at, start, left, V::load(out + k * lanes)...);
    }
};

// The functions of steps, by the form of their operands. Any other function ends the run.
template <typename T, std::size_t... k> struct Strips<T, std::index_sequence<k...>>::Table {
    Perform* of[function::count * FORMS];

    Perform*& at(function::Number f, Source a, Source b = ACCUMULATOR, Source c = ACCUMULATOR) {
        return of[f * FORMS + form_of(a, b, c)];
    }
    template <typename F> void unary(function::Number f) {
        at(f, ACCUMULATOR) = Strips::unary<F, ACCUMULATOR>;
        at(f, REGISTER) = Strips::unary<F, REGISTER>;
    }
    template <typename F> void binary(function::Number f) {
        at(f, ACCUMULATOR, REGISTER) = Strips::binary<F, ACCUMULATOR, REGISTER>;
        at(f, REGISTER, ACCUMULATOR) = Strips::binary<F, REGISTER, ACCUMULATOR>;
        at(f, REGISTER, REGISTER) = Strips::binary<F, REGISTER, REGISTER>;
    }
    template <typename F> void with_numbers(function::Number f) {
        binary<F>(f);
        at(f, ACCUMULATOR, NUMBER) = Strips::binary<F, ACCUMULATOR, NUMBER>;
        at(f, NUMBER, ACCUMULATOR) = Strips::binary<F, NUMBER, ACCUMULATOR>;
        at(f, REGISTER, NUMBER) = Strips::binary<F, REGISTER, NUMBER>;
        at(f, NUMBER, REGISTER) = Strips::binary<F, NUMBER, REGISTER>;
    }
    template <typename First, typename Then, Source a, Source b>
    void pair(function::Number f) {
        at(f, a, b, REGISTER) = Strips::pair<First, Then, a, b, REGISTER>;
        at(f, a, b, NUMBER) = Strips::pair<First, Then, a, b, NUMBER>;
    }
    template <typename First, typename Then> void pairs(function::Number f) {
        pair<First, Then, ACCUMULATOR, REGISTER>(f);
        pair<First, Then, REGISTER, REGISTER>(f);
        pair<First, Then, ACCUMULATOR, NUMBER>(f);
        pair<First, Then, REGISTER, NUMBER>(f);
        if constexpr (std::is_same_v<First, functions::subtract>) {  // others in the order above
            pair<First, Then, REGISTER, ACCUMULATOR>(f);
            pair<First, Then, NUMBER, ACCUMULATOR>(f);
            pair<First, Then, NUMBER, REGISTER>(f);
        }
    }
    template <Source a> void where(function::Number f) {
        at(f, a, REGISTER, REGISTER) = Strips::where<a, REGISTER, REGISTER>;
        at(f, a, REGISTER, NUMBER) = Strips::where<a, REGISTER, NUMBER>;
        at(f, a, NUMBER, REGISTER) = Strips::where<a, NUMBER, REGISTER>;
        at(f, a, NUMBER, NUMBER) = Strips::where<a, NUMBER, NUMBER>;
    }
    template <Compute<T> compute> void one(function::Number f) {
        at(f, ACCUMULATOR) = through_memory<compute, ACCUMULATOR>;
        at(f, REGISTER) = through_memory<compute, REGISTER>;
    }
    template <Compute<T> compute> void two(function::Number f) {
        at(f, ACCUMULATOR, REGISTER) = through_memory<compute, ACCUMULATOR, REGISTER>;
        at(f, REGISTER, ACCUMULATOR) = through_memory<compute, REGISTER, ACCUMULATOR>;
        at(f, REGISTER, REGISTER) = through_memory<compute, REGISTER, REGISTER>;
    }

    Table() {
        for (Perform*& perform : of) perform = end;
#define UNARY(f) unary<functions::f>(function::f);
#define LOOP(f) one<loop<T, functions::f>>(function::f);
#define CALLS(f) one<calls<T, functions::f>>(function::f);
#define CALLS_OF_TWO(f) two<calls_of_two<T, functions::f>>(function::f);
#define BINARY(f) binary<functions::f>(function::f);
#define WITH_NUMBERS(f) with_numbers<functions::f>(function::f);
#define PAIR(f, then) pairs<functions::f, functions::then>(function::f##_##then);
        UNARY(negative) UNARY(abs) UNARY(sign) UNARY(square) UNARY(reciprocal) UNARY(sqrt)
        UNARY(relu) UNARY(floor) UNARY(ceil) UNARY(round) UNARY(isnan) UNARY(isinf)
        UNARY(isfinite) UNARY(logical_not)
        LOOP(expm1) LOOP(log1p)
        EACH_CALL_OF_ONE(CALLS) EACH_CALL_OF_TWO(CALLS_OF_TWO)
        WITH_NUMBERS(add) WITH_NUMBERS(subtract) WITH_NUMBERS(multiply) WITH_NUMBERS(divide)
        WITH_NUMBERS(maximum) WITH_NUMBERS(minimum) WITH_NUMBERS(equal) WITH_NUMBERS(not_equal)
        WITH_NUMBERS(less) WITH_NUMBERS(less_equal) WITH_NUMBERS(greater)
        WITH_NUMBERS(greater_equal)
        BINARY(logical_and) BINARY(logical_or) BINARY(logical_xor)
        EACH_PAIR(PAIR)
        where<ACCUMULATOR>(function::where);
        where<REGISTER>(function::where);
        if constexpr (std::is_same_v<T, float>) {
            UNARY(sigmoid) UNARY(exp) UNARY(log) UNARY(tanh) LOOP(sinh) LOOP(cosh) LOOP(erfc)
            one<angles<functions::sin, polynomials::sin_near>>(function::sin);
            one<angles<functions::cos, polynomials::cos_near>>(function::cos);
            one<angles<functions::tan, polynomials::tan_near>>(function::tan);
            two<loop_of_two<T, functions::power>>(function::power);
            two<loop_of_two<T, functions::logaddexp>>(function::logaddexp);
        } else {
            LOOP(sigmoid) LOOP(exp) LOOP(log) LOOP(tanh)
            CALLS(sin) CALLS(cos) CALLS(tan) CALLS(sinh) CALLS(cosh) CALLS(erfc)
            CALLS_OF_TWO(power) CALLS_OF_TWO(logaddexp)
        }
#undef UNARY
#undef LOOP
#undef CALLS
#undef CALLS_OF_TWO
#undef BINARY
#undef WITH_NUMBERS
#undef PAIR
    }
};
template <typename T, std::size_t... k>
const typename Strips<T, std::index_sequence<k...>>::Table
    Strips<T, std::index_sequence<k...>>::table;

}  // namespace
