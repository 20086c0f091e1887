// Matrix products as operations.
#include "products.hpp"
#include "operation.hpp"

namespace {

template <typename T> void add_products() {
    add<&matmul<T>>("matmul", {name_of<T>()});
}

const Registration registration([] {
    EACH_FLOAT(add_products)
});

}  // namespace
