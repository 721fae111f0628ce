// A stand-in for the CUDA runtime, written by us: "device" memory is host memory, a stream is a list of deferred calls.
// It shows only that examples/cpp compiles, links and handles its errors.

#include "stand_in.h"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace {

constexpr int kMisused = 3;
constexpr int kUnwritten = 0xff;  // four of these bytes are a NaN

std::map<char const*, std::size_t>& allocations() {
    static std::map<char const*, std::size_t> sizes;
    return sizes;
}

struct Living {
    int count = 0;
    ~Living() {
        if (count != 0 || !allocations().empty()) stand_in::misused("something was not freed");
    }
};

Living& living() {
    allocations();  // made first, so that it outlives what looks into it
    static Living all;
    return all;
}

}  // namespace

namespace stand_in {

bool is_to_fail(char const* call) {
    char const* const named = std::getenv("STAND_IN_FAILS");
    return named != nullptr && std::strcmp(named, call) == 0;
}

void misused(std::string const& how) {
    std::fprintf(stderr, "stand-in: %s\n", how.c_str());
    std::_Exit(kMisused);
}

Counted::Counted() { ++living().count; }
Counted::~Counted() { --living().count; }

bool is_device_memory(void const* memory, std::size_t size) {
    auto const found = allocations().find(static_cast<char const*>(memory));
    return found != allocations().end() && size <= found->second;
}

}  // namespace stand_in

char const* cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorMemoryAllocation ? "out of memory" : "told to fail, or misused";
}

cudaError_t cudaMalloc(void** memory, std::size_t size) {
    if (stand_in::is_to_fail("cudaMalloc")) return cudaErrorMemoryAllocation;
    living();
    *memory = std::memset(new char[size], kUnwritten, size);
    allocations()[static_cast<char*>(*memory)] = size;
    return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
    if (allocations().erase(static_cast<char*>(memory)) != 1) stand_in::misused("cudaFree of what is not allocated");
    delete[] static_cast<char*>(memory);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
    if (stand_in::is_to_fail("cudaStreamCreateWithFlags")) return cudaErrorUnknown;
    if (flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
    ++living().count;
    *stream = new CUstream_st;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    --living().count;
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    if (stand_in::is_to_fail("cudaStreamSynchronize")) return cudaErrorUnknown;
    for (auto const& step : stream->work) step();
    stream->work.clear();
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, void const* from, std::size_t size, cudaMemcpyKind kind, cudaStream_t stream) {
    bool const is_upload = kind == cudaMemcpyHostToDevice;
    if (stand_in::is_to_fail(is_upload ? "upload" : "download")) return cudaErrorUnknown;
    if (!stand_in::is_device_memory(is_upload ? to : from, size)) return cudaErrorInvalidValue;
    stream->work.push_back([=] { std::memcpy(to, from, size); });
    return cudaSuccess;
}
