/* How the driver's functions are found by name and version, and what its errors are called. */
#include "fake_cuda.h"

#include <string.h>

/* X(name in the documentation, first CUDA version that means this one, symbol), the newest of a name first. */
#define FUNCTIONS \
    X(cuCtxCreate, 12050, cuCtxCreate_v4) \
    X(cuCtxCreate, 0, cuCtxCreate_v2) \
    X(cuCtxDestroy, 0, cuCtxDestroy_v2) \
    X(cuCtxDetach, 0, cuCtxDetach) \
    X(cuCtxGetApiVersion, 0, cuCtxGetApiVersion) \
    X(cuCtxGetCurrent, 0, cuCtxGetCurrent) \
    X(cuCtxGetDevice, 0, cuCtxGetDevice) \
    X(cuCtxGetStreamPriorityRange, 0, cuCtxGetStreamPriorityRange) \
    X(cuCtxPopCurrent, 0, cuCtxPopCurrent_v2) \
    X(cuCtxPushCurrent, 0, cuCtxPushCurrent_v2) \
    X(cuCtxSetCurrent, 0, cuCtxSetCurrent) \
    X(cuCtxSynchronize, 0, cuCtxSynchronize) \
    X(cuDeviceComputeCapability, 0, cuDeviceComputeCapability) \
    X(cuDeviceGet, 0, cuDeviceGet) \
    X(cuDeviceGetAttribute, 0, cuDeviceGetAttribute) \
    X(cuDeviceGetCount, 0, cuDeviceGetCount) \
    X(cuDeviceGetName, 0, cuDeviceGetName) \
    X(cuDeviceGetPCIBusId, 0, cuDeviceGetPCIBusId) \
    X(cuDevicePrimaryCtxGetState, 0, cuDevicePrimaryCtxGetState) \
    X(cuDevicePrimaryCtxRelease, 0, cuDevicePrimaryCtxRelease_v2) \
    X(cuDevicePrimaryCtxRetain, 0, cuDevicePrimaryCtxRetain) \
    X(cuDeviceTotalMem, 0, cuDeviceTotalMem_v2) \
    X(cuDriverGetVersion, 0, cuDriverGetVersion) \
    X(cuEventCreate, 0, cuEventCreate) \
    X(cuEventDestroy, 0, cuEventDestroy_v2) \
    X(cuEventElapsedTime, 12080, cuEventElapsedTime_v2) \
    X(cuEventElapsedTime, 0, cuEventElapsedTime) \
    X(cuEventQuery, 0, cuEventQuery) \
    X(cuEventRecord, 0, cuEventRecord) \
    X(cuEventSynchronize, 0, cuEventSynchronize) \
    X(cuGetErrorName, 0, cuGetErrorName) \
    X(cuGetErrorString, 0, cuGetErrorString) \
    X(cuGetProcAddress, 12000, cuGetProcAddress_v2) \
    X(cuGraphDestroy, 0, cuGraphDestroy) \
    X(cuGraphExecDestroy, 0, cuGraphExecDestroy) \
    X(cuGraphInstantiate, 12000, cuGraphInstantiateWithFlags) \
    X(cuGraphInstantiate, 0, cuGraphInstantiate_v2) \
    X(cuGraphInstantiateWithFlags, 0, cuGraphInstantiateWithFlags) \
    X(cuGraphLaunch, 0, cuGraphLaunch) \
    X(cuGraphUpload, 0, cuGraphUpload) \
    X(cuInit, 0, cuInit) \
    X(cuLaunchHostFunc, 0, cuLaunchHostFunc) \
    X(cuMemAlloc, 0, cuMemAlloc_v2) \
    X(cuMemAllocHost, 0, cuMemAllocHost_v2) \
    X(cuMemFree, 0, cuMemFree_v2) \
    X(cuMemFreeHost, 0, cuMemFreeHost) \
    X(cuMemGetAddressRange, 0, cuMemGetAddressRange_v2) \
    X(cuMemGetInfo, 0, cuMemGetInfo_v2) \
    X(cuMemHostAlloc, 0, cuMemHostAlloc) \
    X(cuMemHostGetDevicePointer, 0, cuMemHostGetDevicePointer_v2) \
    X(cuMemHostGetFlags, 0, cuMemHostGetFlags) \
    X(cuMemHostRegister, 0, cuMemHostRegister_v2) \
    X(cuMemHostUnregister, 0, cuMemHostUnregister) \
    X(cuMemcpyDtoD, 0, cuMemcpyDtoD_v2) \
    X(cuMemcpyDtoDAsync, 0, cuMemcpyDtoDAsync_v2) \
    X(cuMemcpyDtoH, 0, cuMemcpyDtoH_v2) \
    X(cuMemcpyDtoHAsync, 0, cuMemcpyDtoHAsync_v2) \
    X(cuMemcpyHtoD, 0, cuMemcpyHtoD_v2) \
    X(cuMemcpyHtoDAsync, 0, cuMemcpyHtoDAsync_v2) \
    X(cuMemsetD32, 0, cuMemsetD32_v2) \
    X(cuMemsetD32Async, 0, cuMemsetD32Async) \
    X(cuMemsetD8, 0, cuMemsetD8_v2) \
    X(cuMemsetD8Async, 0, cuMemsetD8Async) \
    X(cuStreamBeginCapture, 0, cuStreamBeginCapture_v2) \
    X(cuStreamCreate, 0, cuStreamCreate) \
    X(cuStreamCreateWithPriority, 0, cuStreamCreateWithPriority) \
    X(cuStreamDestroy, 0, cuStreamDestroy_v2) \
    X(cuStreamEndCapture, 0, cuStreamEndCapture) \
    X(cuStreamGetCtx, 0, cuStreamGetCtx) \
    X(cuStreamGetFlags, 0, cuStreamGetFlags) \
    X(cuStreamIsCapturing, 0, cuStreamIsCapturing) \
    X(cuStreamQuery, 0, cuStreamQuery) \
    X(cuStreamSynchronize, 0, cuStreamSynchronize) \
    X(cuStreamWaitEvent, 0, cuStreamWaitEvent)

/* Only addresses are taken here; the types stand beside the definitions. */
#define X(name, since, symbol) extern CUresult symbol();
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
FUNCTIONS
#undef X

static const struct {
    const char *name;
    int since;
    void *address;
} FUNCTION_TABLE[] = {
#define X(name, since, symbol) {#name, since, (void *)symbol},
    FUNCTIONS
#undef X
};

static const struct {
    CUresult code;
    const char *name, *text;
} ERRORS[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {401, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {800, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {905, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream"},
    {906, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "operation would make the legacy stream depend on a capturing blocking stream"},
    {907, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
    {908, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", "attempt to terminate a thread-local capture sequence from another thread"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

EXPORT CUresult cuGetProcAddress_v2(const char *name, void **out, int version, uint64_t flags, int *status) {
    (void)flags;
    *out = NULL;
    if (status) *status = 1; /* symbol not found */
    for (size_t i = 0; i < sizeof FUNCTION_TABLE / sizeof *FUNCTION_TABLE; i++) {
        if (strcmp(FUNCTION_TABLE[i].name, name) || version < FUNCTION_TABLE[i].since) continue;
        *out = FUNCTION_TABLE[i].address;
        if (status) *status = 0;
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_NOT_FOUND;
}

EXPORT CUresult cuGetErrorName(CUresult error, const char **out) {
    *out = NULL;
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == error) *out = ERRORS[i].name;
    return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuGetErrorString(CUresult error, const char **out) {
    *out = NULL;
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == error) *out = ERRORS[i].text;
    return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
