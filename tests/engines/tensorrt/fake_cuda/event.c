/* Events: a place in a stream that can be waited for. */
#include "fake_cuda.h"

#include <stdlib.h>

static Event *events; /* live and destroyed */

int live_events(const Context *context) {
    int count = 0;
    for (const Event *event = events; event; event = event->next)
        count += event->live && (!context || event->context == context);
    return count;
}

void drop_events_of(const Context *context) {
    for (Event *event = events; event; event = event->next)
        if (event->context == context) event->live = false;
}

static CUresult event_of(void *handle, Event **out) {
    for (Event *event = events; event; event = event->next)
        if (event == handle && event->live) {
            *out = event;
            return CUDA_SUCCESS;
        }
    violation("an event that is destroyed is used");
    return CUDA_ERROR_INVALID_HANDLE;
}

static bool is_finished(const Event *event) {
    return !event->recorded || event->finished_sequence >= event->recorded_sequence;
}

EXPORT CUresult cuEventCreate(void **out, unsigned flags) {
    ENTER(NEEDS_CONTEXT);
    (void)flags;
    Event *event = calloc(1, sizeof *event);
    *event = (Event){.context = current_context(), .live = true, .next = events};
    *out = events = event;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuEventDestroy_v2(void *handle) {
    ENTER(NEEDS_CONTEXT);
    Event *event;
    CUresult result = event_of(handle, &event);
    if (!result) event->live = false;
    LEAVE(result);
}

EXPORT CUresult cuEventRecord(void *handle, void *stream_handle) {
    ENTER(NEEDS_CONTEXT);
    Event *event;
    Stream *stream;
    CUresult result = event_of(handle, &event);
    if (!result) result = stream_of(stream_handle, &stream);
    if (result) LEAVE(result);
    result = enqueue(stream, (Operation){.kind = RECORD_EVENT, .name = "cuEventRecord", .event = event});
    if (result || stream->capture.active) LEAVE(result);
    event->recorded = true;
    event->stream = stream;
    event->recorded_sequence = stream->queue.tail->sequence;
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuStreamWaitEvent(void *stream_handle, void *handle, unsigned flags) {
    ENTER(NEEDS_CONTEXT);
    (void)flags;
    Event *event;
    Stream *stream;
    CUresult result = event_of(handle, &event);
    if (!result) result = stream_of(stream_handle, &stream);
    if (result || is_finished(event)) LEAVE(result);
    if (stream->capture.active) {
        stream->capture.invalid = true;
        LEAVE(CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    }
    LEAVE(enqueue(stream, (Operation){.kind = WAIT_EVENT,
                                      .name = "cuStreamWaitEvent",
                                      .awaited_stream = event->stream,
                                      .awaited_sequence = event->recorded_sequence}));
}

EXPORT CUresult cuEventSynchronize(void *handle) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    Event *event;
    CUresult result = event_of(handle, &event);
    if (result) LEAVE(result);
    if (!is_finished(event)) drain(event->stream, event->recorded_sequence);
    LEAVE(event->context->fault);
}

EXPORT CUresult cuEventQuery(void *handle) {
    ENTER(NEEDS_CONTEXT | UNSAFE_IN_CAPTURE);
    Event *event;
    CUresult result = event_of(handle, &event);
    if (result) LEAVE(result);
    if (is_finished(event)) LEAVE(event->context->fault);
    run_one(event->stream);
    LEAVE(CUDA_ERROR_NOT_READY);
}

static CUresult elapsed(float *milliseconds, void *start_handle, void *end_handle) {
    Event *start, *end;
    CUresult result = event_of(start_handle, &start);
    if (!result) result = event_of(end_handle, &end);
    if (result) return result;
    if (!start->recorded || !end->recorded) return CUDA_ERROR_INVALID_HANDLE;
    if (!is_finished(start) || !is_finished(end)) return CUDA_ERROR_NOT_READY;
    *milliseconds = (float)((end->seconds - start->seconds) * 1e3);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    ENTER(NEEDS_CONTEXT);
    LEAVE(elapsed(milliseconds, start, end));
}

EXPORT CUresult cuEventElapsedTime_v2(float *milliseconds, void *start, void *end) {
    ENTER(NEEDS_CONTEXT);
    LEAVE(elapsed(milliseconds, start, end));
}

EXPORT int fakeLiveEvents(void) {
    pthread_mutex_lock(&mutex);
    int count = live_events(NULL);
    pthread_mutex_unlock(&mutex);
    return count;
}
