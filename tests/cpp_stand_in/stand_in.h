// What the stand-ins for TensorRT and the CUDA runtime share: work that is deferred, faults on demand, and lifetimes.
// Written by us; they show only that examples/cpp compiles, links and handles its errors.

#pragma once

#include <functional>
#include <string>
#include <vector>

// Nothing runs before cudaStreamSynchronize, so a program that does not wait reads no result.
struct CUstream_st {
    std::vector<std::function<void()>> work;
};

namespace stand_in {

// Whether the variable STAND_IN_FAILS names this call.
bool is_to_fail(char const* call);

// Ends the process with a status that the program itself never has.
[[noreturn]] void misused(std::string const& how);

// Counts what lives; the process ends as misused if any is left at its exit.
class Counted {
  public:
    Counted();
    ~Counted();
    Counted(Counted const&) = delete;
    Counted& operator=(Counted const&) = delete;
};

// Whether so many bytes of device memory begin at this address.
bool is_device_memory(void const* memory, std::size_t size);

}  // namespace stand_in
