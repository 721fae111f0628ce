/* Copies, fills and simulated kernels: each enqueues one operation; the synchronous ones wait for it. */
#include "fake_cuda.h"

static void *pointer(CUdeviceptr address) { return (void *)(uintptr_t)address; }

static CUresult enqueue_on(void *handle, Operation operation) {
    Stream *stream;
    CUresult result = stream_of(handle, &stream);
    return result ? result : enqueue(stream, operation);
}

static CUresult copy(const char *name, OperationKind kind, void *target, const void *source, size_t size,
                     void *stream) {
    if (!size) return CUDA_SUCCESS;
    return enqueue_on(stream, (Operation){.kind = kind,
                                          .name = name,
                                          .ranges = {{target, size}, {source, size}},
                                          .range_count = 2});
}

/* In the default stream, and done when it returns; streams created as non-blocking are not waited for. */
static CUresult copy_now(const char *name, OperationKind kind, void *target, const void *source, size_t size) {
    if (!size) return CUDA_SUCCESS;
    Stream *stream = current_context()->default_stream;
    CUresult result = enqueue(stream, (Operation){.kind = kind,
                                                  .name = name,
                                                  .ranges = {{target, size}, {source, size}},
                                                  .range_count = 2,
                                                  .synchronous = true});
    if (result) return result;
    drain(stream, UINT64_MAX);
    return stream->context->fault;
}

static CUresult fill(const char *name, CUdeviceptr target, uint32_t value, size_t width, size_t count, void *stream) {
    if (!count) return CUDA_SUCCESS;
    return enqueue_on(stream, (Operation){.kind = FILL,
                                          .name = name,
                                          .ranges = {{pointer(target), width * count}},
                                          .range_count = 1,
                                          .value = value,
                                          .width = width});
}

static CUresult fill_now(const char *name, CUdeviceptr target, uint32_t value, size_t width, size_t count) {
    CUresult result = fill(name, target, value, width, count, NULL);
    if (!result) drain(current_context()->default_stream, UINT64_MAX);
    return result;
}

EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void *source, size_t size, void *stream) {
    ENTER(NEEDS_CONTEXT);
    LEAVE(copy("cuMemcpyHtoDAsync", COPY_TO_DEVICE, pointer(target), source, size, stream));
}

EXPORT CUresult cuMemcpyDtoHAsync_v2(void *target, CUdeviceptr source, size_t size, void *stream) {
    ENTER(NEEDS_CONTEXT);
    LEAVE(copy("cuMemcpyDtoHAsync", COPY_TO_HOST, target, pointer(source), size, stream));
}

EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source, size_t size, void *stream) {
    ENTER(NEEDS_CONTEXT);
    LEAVE(copy("cuMemcpyDtoDAsync", COPY_ON_DEVICE, pointer(target), pointer(source), size, stream));
}

EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr target, const void *source, size_t size) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    LEAVE(copy_now("cuMemcpyHtoD", COPY_TO_DEVICE, pointer(target), source, size));
}

EXPORT CUresult cuMemcpyDtoH_v2(void *target, CUdeviceptr source, size_t size) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    LEAVE(copy_now("cuMemcpyDtoH", COPY_TO_HOST, target, pointer(source), size));
}

EXPORT CUresult cuMemcpyDtoD_v2(CUdeviceptr target, CUdeviceptr source, size_t size) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    LEAVE(copy_now("cuMemcpyDtoD", COPY_ON_DEVICE, pointer(target), pointer(source), size));
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr target, unsigned char value, size_t count, void *stream) {
    ENTER(NEEDS_CONTEXT);
    LEAVE(fill("cuMemsetD8Async", target, value, 1, count, stream));
}

EXPORT CUresult cuMemsetD32Async(CUdeviceptr target, unsigned value, size_t count, void *stream) {
    ENTER(NEEDS_CONTEXT);
    LEAVE(fill("cuMemsetD32Async", target, value, 4, count, stream));
}

EXPORT CUresult cuMemsetD8_v2(CUdeviceptr target, unsigned char value, size_t count) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    LEAVE(fill_now("cuMemsetD8", target, value, 1, count));
}

EXPORT CUresult cuMemsetD32_v2(CUdeviceptr target, unsigned value, size_t count) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    LEAVE(fill_now("cuMemsetD32", target, value, 4, count));
}

/* The kernel of a simulated engine: runs `kernel(data)` when its turn comes, and says what memory it touches so that
   freeing that too early is noticed. A non-zero result fails the context, as a faulting kernel does. */
EXPORT CUresult fakeLaunchKernel(void *stream, Kernel kernel, void *data, const CUdeviceptr *addresses,
                                 const size_t *sizes, int count) {
    ENTER(NEEDS_CONTEXT);
    if (count > MAX_RANGES) LEAVE(CUDA_ERROR_INVALID_VALUE);
    Operation operation = {
        .kind = RUN_KERNEL, .name = "a kernel", .kernel = kernel, .data = data, .range_count = count};
    for (int i = 0; i < count; i++) operation.ranges[i] = (Range){pointer(addresses[i]), sizes[i]};
    LEAVE(enqueue_on(stream, operation));
}

EXPORT CUresult cuLaunchHostFunc(void *stream, void (*function)(void *), void *data) {
    ENTER(NEEDS_CONTEXT);
    LEAVE(enqueue_on(stream, (Operation){
                                 .kind = RUN_KERNEL, .name = "a host function", .function = function, .data = data}));
}
