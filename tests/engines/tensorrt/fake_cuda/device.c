/* The one device, and what the driver says about itself. */
#include "fake_cuda.h"

#include <stdio.h>

static const char NAME[] = "Simulated GPU (no real device)";
static int device_count = 1;

EXPORT void fakeSetDeviceCount(int count) { device_count = count; }

EXPORT CUresult cuInit(unsigned flags) {
    ENTER(NEEDS_NOTHING);
    (void)flags;
    LEAVE(device_count ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE);
}

EXPORT CUresult cuDriverGetVersion(int *version) {
    ENTER(NEEDS_NOTHING);
    *version = 13000;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuDeviceGetCount(int *count) {
    ENTER(NEEDS_INIT);
    *count = device_count;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    ENTER(NEEDS_INIT);
    if (ordinal < 0 || ordinal >= device_count) LEAVE(CUDA_ERROR_INVALID_DEVICE);
    *device = ordinal;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuDeviceGetName(char *name, int size, CUdevice device) {
    ENTER(NEEDS_INIT);
    if (device != 0) LEAVE(CUDA_ERROR_INVALID_DEVICE);
    snprintf(name, (size_t)size, "%s", NAME);
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
    ENTER(NEEDS_INIT);
    if (device != 0) LEAVE(CUDA_ERROR_INVALID_DEVICE);
    *major = 8;
    *minor = 6;
    LEAVE(CUDA_SUCCESS);
}

static int attribute(int number) {
    switch (number) {
    case 1: return 1024; /* threads of a block */
    case 10: return 32; /* of a warp */
    case 16: return 1; /* multiprocessors */
    case 19: return 1; /* can map host memory */
    case 40: return 1; /* asynchronous engines */
    case 41: return 1; /* unified addressing */
    case 75: return 8; /* compute capability */
    case 76: return 6;
    default: return 0;
    }
}

EXPORT CUresult cuDeviceGetAttribute(int *value, int number, CUdevice device) {
    ENTER(NEEDS_INIT);
    if (device != 0) LEAVE(CUDA_ERROR_INVALID_DEVICE);
    *value = attribute(number);
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuDeviceGetPCIBusId(char *id, int size, CUdevice device) {
    ENTER(NEEDS_INIT);
    if (device != 0) LEAVE(CUDA_ERROR_INVALID_DEVICE);
    snprintf(id, (size_t)size, "0000:00:00.0");
    LEAVE(CUDA_SUCCESS);
}
