/* One device, its primary context, other contexts, and each thread's stack of them. */
#include "fake_cuda.h"

#include <stdlib.h>

enum { MAX_DEPTH = 64 };

static Context primary = {.primary = true};
static Context *contexts = &primary;
static int generation;
static int unpopped;

static __thread struct {
    Context *items[MAX_DEPTH];
    int depth, generation;
} stack;

static int depth(void) {
    if (stack.generation != generation) {
        stack.depth = 0;
        stack.generation = generation;
    }
    return stack.depth;
}

Context *current_context(void) { return depth() ? stack.items[stack.depth - 1] : NULL; }
Context *all_contexts(void) { return contexts; }

void forget_contexts(void) {
    for (Context *context = contexts; context; context = context->next) {
        context->live = false;
        context->retains = context->pushes = 0;
        context->fault = CUDA_SUCCESS;
    }
    generation++;
    unpopped = 0;
}

static bool is_known(const Context *context) {
    for (const Context *known = contexts; known; known = known->next)
        if (known == context) return true;
    return false;
}

static CUresult push(Context *context) {
    if (!is_known(context) || !context->live) return CUDA_ERROR_INVALID_CONTEXT;
    if (depth() == MAX_DEPTH) return CUDA_ERROR_INVALID_VALUE;
    stack.items[stack.depth++] = context;
    context->pushes++;
    unpopped++;
    return CUDA_SUCCESS;
}

static CUresult pop(Context **context) {
    if (!depth()) return CUDA_ERROR_INVALID_CONTEXT;
    Context *top = stack.items[--stack.depth];
    top->pushes--;
    unpopped--;
    if (context) *context = top;
    return CUDA_SUCCESS;
}

static void activate(Context *context) {
    context->live = true;
    context->fault = CUDA_SUCCESS;
    context->default_stream = new_stream(context, 0, true);
}

static void destroy(Context *context) {
    const char *kind = context->primary ? "the primary context was released" : "a context was destroyed";
    int device = live_memory(DEVICE_MEMORY, context), pinned = live_memory(PINNED_MEMORY, context);
    int streams = live_streams(context), events = live_events(context), graphs = live_graphs(context);
    if (!context->fault && device + pinned + streams + events + graphs)
        violation("%s with %d device allocations, %d pinned, %d streams, %d events and %d graphs alive", kind, device,
                  pinned, streams, events, graphs);
    if (context->primary && context->pushes) violation("%s while it is current %d times", kind, context->pushes);
    drop_streams_of(context);
    drop_memory_of(context);
    drop_events_of(context);
    drop_graphs_of(context);
    context->live = false;
    context->fault = CUDA_SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxRetain(Context **context, CUdevice device) {
    ENTER(NEEDS_INIT);
    if (device != 0) LEAVE(CUDA_ERROR_INVALID_DEVICE);
    if (primary.retains++ == 0) activate(&primary);
    *context = &primary;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    ENTER(NEEDS_INIT);
    if (device != 0) LEAVE(CUDA_ERROR_INVALID_DEVICE);
    if (primary.retains == 0) {
        violation("the primary context was released more often than retained");
        LEAVE(CUDA_ERROR_INVALID_CONTEXT);
    }
    if (--primary.retains == 0) destroy(&primary);
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    ENTER(NEEDS_INIT);
    if (device != 0) LEAVE(CUDA_ERROR_INVALID_DEVICE);
    *flags = primary.flags;
    *active = primary.retains > 0;
    LEAVE(CUDA_SUCCESS);
}

static CUresult create(Context **context, unsigned flags, CUdevice device) {
    if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
    Context *created = calloc(1, sizeof *created);
    created->flags = flags;
    created->next = contexts->next;
    contexts->next = created;
    activate(created);
    *context = created;
    return push(created);
}

EXPORT CUresult cuCtxCreate_v2(Context **context, unsigned flags, CUdevice device) {
    ENTER(NEEDS_INIT);
    LEAVE(create(context, flags, device));
}

EXPORT CUresult cuCtxCreate_v4(Context **context, void *parameters, unsigned flags, CUdevice device) {
    ENTER(NEEDS_INIT);
    if (parameters) LEAVE(CUDA_ERROR_NOT_SUPPORTED);
    LEAVE(create(context, flags, device));
}

static CUresult destroy_created(Context *context) {
    if (!is_known(context) || context->primary || !context->live) return CUDA_ERROR_INVALID_CONTEXT;
    if (current_context() == context) pop(NULL);
    destroy(context);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxDestroy_v2(Context *context) {
    ENTER(NEEDS_INIT);
    LEAVE(destroy_created(context));
}

EXPORT CUresult cuCtxDetach(Context *context) {
    ENTER(NEEDS_INIT);
    LEAVE(destroy_created(context));
}

EXPORT CUresult cuCtxPushCurrent_v2(Context *context) {
    ENTER(NEEDS_INIT);
    LEAVE(push(context));
}

EXPORT CUresult cuCtxPopCurrent_v2(Context **context) {
    ENTER(NEEDS_INIT);
    LEAVE(pop(context));
}

EXPORT CUresult cuCtxGetCurrent(Context **context) {
    ENTER(NEEDS_INIT);
    *context = current_context();
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuCtxSetCurrent(Context *context) {
    ENTER(NEEDS_INIT);
    if (depth()) pop(NULL);
    LEAVE(context ? push(context) : CUDA_SUCCESS);
}

EXPORT CUresult cuCtxGetDevice(CUdevice *device) {
    ENTER(NEEDS_CONTEXT);
    *device = 0;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuCtxGetApiVersion(Context *context, unsigned *version) {
    ENTER(NEEDS_INIT);
    (void)context;
    *version = 3020;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    ENTER(NEEDS_CONTEXT);
    if (least) *least = 0;
    if (greatest) *greatest = 0;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuCtxSynchronize(void) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    Context *context = current_context();
    drain_context(context, false);
    LEAVE(context->fault);
}

EXPORT int fakePrimaryRetains(void) { return primary.retains; }
EXPORT int fakeContextDepth(void) { return depth(); }
EXPORT int fakeUnpoppedContexts(void) { return unpopped; }
