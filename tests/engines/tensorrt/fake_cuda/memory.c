/* Device and pinned host memory. Both are ordinary memory: poisoned when new and when freed, and kept mapped for a
   while after that, so that a late access finds poison instead of another allocation. */
#include "fake_cuda.h"

#include <stdlib.h>
#include <string.h>

static Allocation *allocations; /* live and freed, newest first */
static size_t limit = (size_t)8 << 30;
static size_t quarantined;
static const size_t QUARANTINE = (size_t)256 << 20;

void set_limit(size_t bytes) { limit = bytes; }

Allocation *allocation_at(const void *address) {
    const uint8_t *wanted = address;
    for (Allocation *item = allocations; item; item = item->next)
        if (wanted >= item->address && wanted < item->address + item->size) return item;
    return NULL;
}

static size_t used(void) {
    size_t total = 0;
    for (const Allocation *item = allocations; item; item = item->next)
        if (item->live && item->kind == DEVICE_MEMORY) total += item->size;
    return total;
}

int live_memory(MemoryKind kind, const Context *context) {
    int count = 0;
    for (const Allocation *item = allocations; item; item = item->next)
        count += item->live && item->kind == kind && (!context || item->context == context);
    return count;
}

const char *problem_with_device_range(const void *address, size_t size) {
    const Allocation *item = allocation_at(address);
    if (!item) return "an address that is no device memory";
    if (!item->live) return "freed device memory";
    if ((const uint8_t *)address + size > item->address + item->size) return "memory past the end of its allocation";
    return NULL;
}

const char *problem_with_host_range(const void *address, size_t size, bool *pageable) {
    const Allocation *item = allocation_at(address);
    *pageable = !item;
    if (!item) return NULL;
    if (item->kind == DEVICE_MEMORY) return "device memory where host memory is expected";
    if (!item->live) return "freed pinned memory";
    if ((const uint8_t *)address + size > item->address + item->size) return "pinned memory past its end";
    return NULL;
}

/* Oldest freed memory goes back to the system once the quarantine is full. */
static void trim_quarantine(void) {
    while (quarantined > QUARANTINE) {
        Allocation **oldest = NULL;
        for (Allocation **link = &allocations; *link; link = &(*link)->next)
            if (!(*link)->live) oldest = link;
        if (!oldest) return;
        Allocation *item = *oldest;
        *oldest = item->next;
        quarantined -= item->size;
        free(item->address);
        free(item);
    }
}

static Allocation *add(void *address, size_t size, MemoryKind kind) {
    Allocation *item = calloc(1, sizeof *item);
    *item = (Allocation){
        .address = address, .size = size, .kind = kind, .live = true, .context = current_context(), .next = allocations};
    allocations = item;
    return item;
}

static Allocation *allocate(size_t size, MemoryKind kind) {
    void *address = NULL;
    if (posix_memalign(&address, 512, size)) return NULL;
    memset(address, FRESH_BYTE, size);
    return add(address, size, kind);
}

static void remove_allocation(Allocation *item) {
    item->live = false;
    if (item->kind == REGISTERED_MEMORY) {
        item->size = 0; /* the memory is the caller's */
        item->address = NULL;
        return;
    }
    memset(item->address, FREED_BYTE, item->size);
    quarantined += item->size;
    trim_quarantine();
}

void drop_memory_of(const Context *context) {
    for (bool again = true; again;) {
        again = false;
        for (Allocation *item = allocations; item && !again; item = item->next)
            if (item->live && item->context == context) {
                remove_allocation(item);
                again = true; /* the list may have been trimmed */
            }
    }
}

static CUresult release(const char *function, void *address, bool device) {
    Allocation *item = address ? allocation_at(address) : NULL;
    if (!item || item->address != address || (item->kind == DEVICE_MEMORY) != device) {
        violation("%s of an address that it did not allocate", function);
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (!item->live) {
        violation("%s of memory that is freed already", function);
        return CUDA_ERROR_INVALID_VALUE;
    }
    const Operation *pending = pending_operation(item->address, item->size);
    if (pending) violation("%s of memory that a queued %s still needs", function, pending->name);
    remove_allocation(item);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    if (!size) LEAVE(CUDA_ERROR_INVALID_VALUE);
    if (used() + size > limit) LEAVE(CUDA_ERROR_OUT_OF_MEMORY);
    const Allocation *item = allocate(size, DEVICE_MEMORY);
    if (!item) LEAVE(CUDA_ERROR_OUT_OF_MEMORY);
    *address = (CUdeviceptr)(uintptr_t)item->address;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    LEAVE(address ? release("cuMemFree", (void *)(uintptr_t)address, true) : CUDA_SUCCESS);
}

EXPORT CUresult cuMemHostAlloc(void **address, size_t size, unsigned flags) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    Allocation *item = size ? allocate(size, PINNED_MEMORY) : NULL;
    if (!item) LEAVE(size ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE);
    item->flags = flags;
    *address = item->address;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuMemAllocHost_v2(void **address, size_t size) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    const Allocation *item = size ? allocate(size, PINNED_MEMORY) : NULL;
    if (!item) LEAVE(size ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE);
    *address = item->address;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuMemFreeHost(void *address) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    LEAVE(release("cuMemFreeHost", address, false));
}

EXPORT CUresult cuMemHostRegister_v2(void *address, size_t size, unsigned flags) {
    ENTER(NEEDS_CONTEXT);
    if (allocation_at(address)) LEAVE(CUDA_ERROR_INVALID_VALUE);
    add(address, size, REGISTERED_MEMORY)->flags = flags;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuMemHostUnregister(void *address) {
    ENTER(NEEDS_CONTEXT);
    LEAVE(release("cuMemHostUnregister", address, false));
}

EXPORT CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *out, void *address, unsigned flags) {
    ENTER(NEEDS_CONTEXT);
    (void)flags;
    const Allocation *item = allocation_at(address);
    if (!item || !item->live || item->kind == DEVICE_MEMORY) LEAVE(CUDA_ERROR_INVALID_VALUE);
    *out = (CUdeviceptr)(uintptr_t)address;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuMemHostGetFlags(unsigned *flags, void *address) {
    ENTER(NEEDS_CONTEXT);
    const Allocation *item = allocation_at(address);
    if (!item || !item->live || item->kind == DEVICE_MEMORY) LEAVE(CUDA_ERROR_INVALID_VALUE);
    *flags = item->flags;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address) {
    ENTER(NEEDS_CONTEXT);
    const Allocation *item = allocation_at((void *)(uintptr_t)address);
    if (!item || !item->live || item->kind != DEVICE_MEMORY) LEAVE(CUDA_ERROR_NOT_FOUND);
    if (base) *base = (CUdeviceptr)(uintptr_t)item->address;
    if (size) *size = item->size;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    ENTER(NEEDS_CONTEXT);
    size_t taken = used();
    *free_bytes = limit > taken ? limit - taken : 0;
    *total = limit;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuDeviceTotalMem_v2(size_t *total, CUdevice device) {
    ENTER(NEEDS_INIT);
    if (device != 0) LEAVE(CUDA_ERROR_INVALID_DEVICE);
    *total = limit;
    LEAVE(CUDA_SUCCESS);
}

EXPORT void fakeSetMemoryLimit(size_t bytes) {
    pthread_mutex_lock(&mutex);
    limit = bytes;
    pthread_mutex_unlock(&mutex);
}

static int locked_count(MemoryKind kind) {
    pthread_mutex_lock(&mutex);
    int count = live_memory(kind, NULL);
    pthread_mutex_unlock(&mutex);
    return count;
}

EXPORT int fakeLiveAllocations(void) { return locked_count(DEVICE_MEMORY); }
EXPORT int fakeLivePinned(void) { return locked_count(PINNED_MEMORY) + locked_count(REGISTERED_MEMORY); }

/* What a kernel asks before it reads or writes device memory; NULL if it may. */
EXPORT const char *fakeProblemWithAccess(CUdeviceptr address, size_t size) {
    pthread_mutex_lock(&mutex);
    const char *problem = problem_with_device_range((void *)(uintptr_t)address, size);
    if (problem) violation("a kernel touches %s", problem);
    pthread_mutex_unlock(&mutex);
    return problem;
}
