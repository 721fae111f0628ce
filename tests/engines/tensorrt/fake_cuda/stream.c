/* Streams, capture into a graph, and everything that is enqueued: copies, fills and kernels. */
#include "fake_cuda.h"

#include <stdlib.h>
#include <string.h>

static Stream *streams; /* live and destroyed */
static uint64_t last_sequence;

Stream *all_streams(void) { return streams; }

Stream *new_stream(Context *context, unsigned flags, bool is_default) {
    Stream *stream = calloc(1, sizeof *stream);
    *stream = (Stream){.context = context, .flags = flags, .live = true, .is_default = is_default, .next = streams};
    streams = stream;
    return stream;
}

int live_streams(const Context *context) {
    int count = 0;
    for (const Stream *stream = streams; stream; stream = stream->next)
        count += stream->live && !stream->is_default && (!context || stream->context == context);
    return count;
}

static void drop(Stream *stream) {
    clear(&stream->queue);
    clear(&stream->capture.operations);
    stream->capture.active = false;
    stream->live = false;
}

void drop_streams_of(const Context *context) {
    for (Stream *stream = streams; stream; stream = stream->next)
        if (stream->live && stream->context == context) drop(stream);
}

CUresult stream_of(void *handle, Stream **out) {
    Context *context = current_context();
    *out = context->default_stream;
    if ((uintptr_t)handle <= 1) return CUDA_SUCCESS; /* 1 is CU_STREAM_LEGACY */
    for (Stream *stream = streams; stream; stream = stream->next)
        if (stream == handle && stream->live && stream->context == context) {
            *out = stream;
            return CUDA_SUCCESS;
        }
    violation("a stream that is destroyed, or of another context, is used");
    return CUDA_ERROR_INVALID_HANDLE;
}

const Operation *pending_operation(const void *address, size_t size) {
    for (const Stream *stream = streams; stream; stream = stream->next)
        for (const Operation *item = stream->queue.head; item; item = item->next)
            if (operation_touches(item, address, size)) return item;
    return NULL;
}

/* --- what goes into a stream --- */

void invalidate_captures(bool *forbidden) {
    for (Stream *stream = streams; stream; stream = stream->next) {
        Capture *capture = &stream->capture;
        bool mine = pthread_equal(capture->thread, pthread_self());
        if (!capture->active || capture->mode == CAPTURE_RELAXED || (capture->mode == CAPTURE_THREAD_LOCAL && !mine))
            continue;
        capture->invalid = true;
        *forbidden = true;
    }
}

static CUresult range_problem(const Operation *operation, bool *pageable) {
    *pageable = false;
    for (int i = 0; i < operation->range_count; i++) {
        const Range *range = &operation->ranges[i];
        bool host = (operation->kind == COPY_TO_DEVICE && i == 1) || (operation->kind == COPY_TO_HOST && i == 0);
        const char *problem = host ? problem_with_host_range(range->address, range->size, pageable)
                                   : problem_with_device_range(range->address, range->size);
        if (!problem) continue;
        violation("%s with %s", operation->name, problem);
        return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

static CUresult captures_blocked_by(Stream *stream) {
    if (!stream->is_default) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    for (Stream *other = streams; other; other = other->next)
        if (other->capture.active && other->context == stream->context && !(other->flags & CU_STREAM_NON_BLOCKING)) {
            other->capture.invalid = true;
            result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
        }
    return result;
}

static CUresult capture_operation(Capture *capture, const Operation *operation, bool pageable) {
    if (pageable) capture->invalid = true;
    if (pageable) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    append(&capture->operations, clone_of(operation));
    return CUDA_SUCCESS;
}

/* Host memory is undefined between the enqueueing of a copy into it and the wait: here it is marked, so that the
   result of an earlier run cannot pass for the awaited one. */
static void mark_stale(const Operation *operation) {
    const Range *target = &operation->ranges[0];
    if (operation->kind == COPY_TO_HOST && !pending_operation(target->address, target->size))
        memset((void *)target->address, STALE_BYTE, target->size);
}

CUresult enqueue(Stream *stream, Operation operation) {
    bool pageable;
    CUresult result = range_problem(&operation, &pageable);
    if (!result) result = captures_blocked_by(stream);
    if (result) return result;
    pageable = pageable && !operation.synchronous;
    if (pageable) violation("%s with host memory that is not pinned", operation.name);
    if (stream->capture.active) return capture_operation(&stream->capture, &operation, pageable);
    mark_stale(&operation);
    Operation *queued = clone_of(&operation);
    queued->sequence = ++last_sequence;
    if (pageable && operation.kind == COPY_TO_DEVICE) {
        queued->staged = malloc(operation.ranges[1].size);
        memcpy(queued->staged, operation.ranges[1].address, operation.ranges[1].size);
    }
    append(&stream->queue, queued);
    if (pageable && operation.kind == COPY_TO_HOST) drain(stream, queued->sequence);
    return CUDA_SUCCESS;
}

/* --- the calls --- */

EXPORT CUresult cuStreamCreate(void **out, unsigned flags) {
    ENTER(NEEDS_CONTEXT);
    *out = new_stream(current_context(), flags, false);
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuStreamCreateWithPriority(void **out, unsigned flags, int priority) {
    ENTER(NEEDS_CONTEXT);
    (void)priority;
    *out = new_stream(current_context(), flags, false);
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuStreamDestroy_v2(void *handle) {
    ENTER(NEEDS_CONTEXT);
    Stream *stream;
    CUresult result = stream_of(handle, &stream);
    if (result) LEAVE(result);
    if (stream->is_default) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    if (stream->queue.head) violation("a stream is destroyed with %d operations queued", stream->queue.count);
    drain(stream, UINT64_MAX);
    drop(stream);
    LEAVE(CUDA_SUCCESS);
}

static CUresult refuse_in_capture(Stream *stream) {
    if (!stream->capture.active) return captures_blocked_by(stream);
    stream->capture.invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

EXPORT CUresult cuStreamSynchronize(void *handle) {
    ENTER(NEEDS_CONTEXT);
    Stream *stream;
    CUresult result = stream_of(handle, &stream);
    if (!result) result = refuse_in_capture(stream);
    if (result) LEAVE(result);
    drain(stream, UINT64_MAX);
    if (stream->is_default) drain_context(stream->context, true);
    LEAVE(stream->context->fault);
}

EXPORT CUresult cuStreamQuery(void *handle) {
    ENTER(NEEDS_CONTEXT);
    Stream *stream;
    CUresult result = stream_of(handle, &stream);
    if (!result) result = refuse_in_capture(stream);
    if (result) LEAVE(result);
    if (run_one(stream)) LEAVE(CUDA_ERROR_NOT_READY);
    LEAVE(stream->context->fault);
}

EXPORT CUresult cuStreamGetFlags(void *handle, unsigned *flags) {
    ENTER(NEEDS_CONTEXT);
    Stream *stream;
    CUresult result = stream_of(handle, &stream);
    if (!result) *flags = stream->flags;
    LEAVE(result);
}

EXPORT CUresult cuStreamGetCtx(void *handle, Context **context) {
    ENTER(NEEDS_CONTEXT);
    Stream *stream;
    CUresult result = stream_of(handle, &stream);
    if (!result) *context = stream->context;
    LEAVE(result);
}

EXPORT int fakeLiveStreams(void) {
    pthread_mutex_lock(&mutex);
    int count = live_streams(NULL);
    pthread_mutex_unlock(&mutex);
    return count;
}

EXPORT int fakeQueuedOperations(void) {
    pthread_mutex_lock(&mutex);
    int count = 0;
    for (const Stream *stream = streams; stream; stream = stream->next) count += stream->queue.count;
    pthread_mutex_unlock(&mutex);
    return count;
}
