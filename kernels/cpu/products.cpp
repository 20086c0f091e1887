// Matrix products as operations.
#include "products.hpp"
#include "operation.hpp"

namespace {

const Registration registration([] {
    add<&matmul<float>>("matmul", {name_of<float>()});
    add<&matmul<double>>("matmul", {name_of<double>()});
});

}  // namespace
