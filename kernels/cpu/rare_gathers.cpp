// Rows of data types that few data sets have: wheels hold this file optimized for size.
#include "gathers.hpp"

#ifndef FOR_BROWSERS
namespace {

const Registration registration([] {
    EACH_RARE_SOURCE(add_gather)
});

}  // namespace
#endif
