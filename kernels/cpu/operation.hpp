// The definition of an operation: a plain function of arrays and scalars, and its description for
// Python. It allocates nothing, throws nothing and needs no interpreter.
#pragma once
#include "../formulas/types.cuh"

#include <cstddef>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

// Placed before a loop: no element depends on what was written for another one. Arrays may be
// identical, as in in-place operations, which would otherwise keep a compiler from vectorising.
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define INDEPENDENT _Pragma("GCC ivdep")
#else
#define INDEPENDENT __pragma(loop(ivdep))
#endif

// Placed before a long function that many others call: a copy in each would take long to compile.
#if defined(__GNUC__)
#define ONCE __attribute__((noinline))
#else
#define ONCE
#endif

constexpr std::size_t MOST_ARGUMENTS = 24, MOST_LISTED = 32;  // arrays in tuples, in total

// One argument as stored between calls.
union Word {
    void* array;
    int64 integer;
    double number;
};

enum class Type { none, boolean, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16,
                  float32, float64 };

template <typename T> constexpr Type type_of = Type::none;
template <> inline constexpr Type type_of<bool> = Type::boolean;
template <> inline constexpr Type type_of<int8> = Type::int8;
template <> inline constexpr Type type_of<int16> = Type::int16;
template <> inline constexpr Type type_of<int32> = Type::int32;
template <> inline constexpr Type type_of<int64> = Type::int64;
template <> inline constexpr Type type_of<uint8> = Type::uint8;
template <> inline constexpr Type type_of<uint16> = Type::uint16;
template <> inline constexpr Type type_of<uint32> = Type::uint32;
template <> inline constexpr Type type_of<uint64> = Type::uint64;
template <> inline constexpr Type type_of<float16> = Type::float16;
template <> inline constexpr Type type_of<float> = Type::float32;
template <> inline constexpr Type type_of<double> = Type::float64;

// An array of any type. A parameter that points to this type takes a tuple of arrays.
struct AnyArray {
    void* data;
    Type type;
    int64 size;
};

// One parameter of an operation: an array (`Type` of its elements, possibly read-only), several
// arrays of any types, or a scalar.
struct Parameter {
    enum Kind { array, arrays, integer, number, boolean } kind;
    Type type;
    bool constant;
};

template <typename A> constexpr Parameter parameter() {
    if constexpr (std::is_pointer_v<A>) {
        using Element = std::remove_pointer_t<A>;
        if constexpr (std::is_same_v<std::remove_const_t<Element>, AnyArray>) {
            return {Parameter::arrays, Type::none, std::is_const_v<Element>};
        } else {
            constexpr Type type = type_of<std::remove_const_t<Element>>;
            static_assert(type != Type::none, "no array of NumPy's has such elements");
            return {Parameter::array, type, std::is_const_v<Element>};
        }
    } else if constexpr (std::is_same_v<A, bool>) {
        return {Parameter::boolean, Type::none, true};
    } else if constexpr (std::is_floating_point_v<A>) {
        return {Parameter::number, Type::none, true};
    } else {
        static_assert(std::is_integral_v<A>, "an operation takes arrays and numbers");
        return {Parameter::integer, Type::none, true};
    }
}

template <typename A> A argument(const Word& word) {
    if constexpr (std::is_pointer_v<A>) {
        return static_cast<A>(word.array);
    } else if constexpr (std::is_floating_point_v<A>) {
        return static_cast<A>(word.number);
    } else {
        return static_cast<A>(word.integer);
    }
}

// An operation with its template arguments (types, formulas) chosen.
struct Operation {
    std::string name;
    std::vector<std::string> choices;
    std::vector<Parameter> parameters;
    void (*perform)(const Word* arguments);
    // Whether it may find a reason to end a program in the middle of a step. If so, its last array
    // is int64, and the first element of that is then not 0.
    bool stops = false;
    // The same for networks in lanes (lanes.hpp), or null. The arguments are those of one network.
    void (*perform_in_lanes)(const Word* arguments) = nullptr;
};

// All operations, in the order in which their files register them.
inline std::vector<Operation>& operations() {
    static std::vector<Operation> all;
    return all;
}

template <auto function> struct Unpacked;
template <typename... A, void (*function)(A...)> struct Unpacked<function> {
    static_assert(sizeof...(A) <= MOST_ARGUMENTS);
    static std::vector<Parameter> parameters() { return {parameter<A>()...}; }
    static void perform(const Word* arguments) {
        perform(arguments, std::index_sequence_for<A...>{});
    }
    template <std::size_t... i>
    static void perform(const Word* arguments, std::index_sequence<i...>) {
        function(argument<A>(arguments[i])...);
    }
};

// Registers an operation for Python under a name and its choices.
ONCE inline Operation& add(const char* name, std::initializer_list<const char*> choices,
                           std::vector<Parameter> (*parameters)(),
                           void (*perform)(const Word* arguments)) {
    operations().push_back({name, {choices.begin(), choices.end()}, parameters(), perform});
    return operations().back();
}
template <auto function>
Operation& add(const char* name, std::initializer_list<const char*> choices = {}) {
    using Its = Unpacked<function>;
    return add(name, choices, &Its::parameters, &Its::perform);
}

// An object of this type at file scope registers a file's operations when the library is loaded.
struct Registration {
    explicit Registration(void (*registers)()) { registers(); }
};

template <typename T> inline const char* name_of() {
    return std::is_same_v<T, float> ? "float32" : "float64";
}

// adds<T>() for each floating-point type of operations. Builds for browsers have float alone, and
// only the data types that web pages use, to keep pages small.
#ifdef FOR_BROWSERS
#define EACH_FLOAT(adds) adds<float>();
#define EACH_USUAL_SOURCE(adds) \
    adds<bool>("bool");         \
    adds<uint8>("uint8");       \
    adds<int32>("int32");       \
    adds<float>("float32");
#define EACH_SOURCE(adds) EACH_USUAL_SOURCE(adds)
#else
#define EACH_FLOAT(adds) \
    adds<float>();       \
    adds<double>();
#define EACH_USUAL_SOURCE(adds) \
    adds<bool>("bool");         \
    adds<uint8>("uint8");       \
    adds<int32>("int32");       \
    adds<float>("float32");     \
    adds<double>("float64");
#define EACH_RARE_SOURCE(adds) \
    adds<int8>("int8");        \
    adds<int16>("int16");      \
    adds<int64>("int64");      \
    adds<uint16>("uint16");    \
    adds<uint32>("uint32");    \
    adds<uint64>("uint64");    \
    adds<float16>("float16");
#define EACH_SOURCE(adds)   \
    EACH_USUAL_SOURCE(adds) \
    EACH_RARE_SOURCE(adds)
#endif
