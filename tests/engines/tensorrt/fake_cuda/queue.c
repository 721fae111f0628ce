/* The work of a stream: kept in order until something waits for it. */
#include "fake_cuda.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void append(Queue *queue, Operation *operation) {
    operation->next = NULL;
    if (queue->tail) queue->tail->next = operation;
    else queue->head = operation;
    queue->tail = operation;
    queue->count++;
}

static void discard(Operation *operation) {
    free(operation->staged);
    free(operation);
}

static void remove_head(Queue *queue) {
    Operation *head = queue->head;
    queue->head = head->next;
    if (!queue->head) queue->tail = NULL;
    queue->count--;
    discard(head);
}

void clear(Queue *queue) {
    while (queue->head) remove_head(queue);
}

Operation *clone_of(const Operation *operation) {
    Operation *clone = malloc(sizeof *clone);
    *clone = *operation;
    clone->next = NULL;
    return clone;
}

bool operation_touches(const Operation *operation, const void *address, size_t size) {
    const uint8_t *begin = address, *end = begin + size;
    for (int i = 0; i < operation->range_count; i++) {
        const uint8_t *start = operation->ranges[i].address;
        if (start < end && begin < start + operation->ranges[i].size) return true;
    }
    return false;
}

static void fill(const Operation *operation) {
    uint8_t *target = (uint8_t *)operation->ranges[0].address;
    for (size_t at = 0; at < operation->ranges[0].size; at += operation->width)
        memcpy(target + at, &operation->value, operation->width);
}

static void record(const Operation *operation) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    operation->event->finished_sequence = operation->sequence;
    operation->event->seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Runs outside the mutex: the kernel may wait for the interpreter, whose holder may be waiting for the mutex. */
static void run_kernel(Stream *stream, const Operation *operation) {
    pthread_mutex_unlock(&mutex);
    kernel_depth++;
    int status = 0;
    if (operation->kernel) status = operation->kernel(operation->data);
    else operation->function(operation->data);
    kernel_depth--;
    pthread_mutex_lock(&mutex);
    if (status) stream->context->fault = CUDA_ERROR_LAUNCH_FAILED;
}

static bool is_mapped(const Operation *operation) {
    for (int i = 0; i < operation->range_count; i++) {
        const void *address = operation->ranges[i].address;
        if (!(i == 1 && operation->staged) && operation->kind != COPY_TO_HOST && !allocation_at(address)) return false;
    }
    return true;
}

static void execute(Stream *stream, const Operation *operation) {
    if (!is_mapped(operation)) return; /* freed long ago, which was noted then */
    switch (operation->kind) {
    case COPY_TO_DEVICE:
    case COPY_TO_HOST:
    case COPY_ON_DEVICE:
        memmove((void *)operation->ranges[0].address,
                operation->staged ? operation->staged : operation->ranges[1].address, operation->ranges[0].size);
        break;
    case FILL: fill(operation); break;
    case RUN_KERNEL: run_kernel(stream, operation); break;
    case RECORD_EVENT: record(operation); break;
    case WAIT_EVENT: break;
    }
}

/* Whatever must be finished before the operation, which all has smaller sequences: so there is no circle. */
static void drain_before(const Stream *stream, const Operation *operation) {
    if (operation->kind == WAIT_EVENT) drain(operation->awaited_stream, operation->awaited_sequence);
    if (stream->flags & CU_STREAM_NON_BLOCKING) return;
    if (!stream->is_default) {
        drain(stream->context->default_stream, operation->sequence);
        return;
    }
    for (Stream *other = all_streams(); other; other = other->next)
        if (other != stream && other->context == stream->context && !(other->flags & CU_STREAM_NON_BLOCKING))
            drain(other, operation->sequence);
}

static void run_head(Stream *stream) {
    Operation *operation = stream->queue.head;
    stream->busy = true;
    drain_before(stream, operation);
    if (!stream->context->fault) execute(stream, operation);
    remove_head(&stream->queue);
    stream->busy = false;
    pthread_cond_broadcast(&changed);
}

void drain(Stream *stream, uint64_t upto) {
    while (stream->queue.head && stream->queue.head->sequence <= upto) {
        if (stream->busy) pthread_cond_wait(&changed, &mutex);
        else run_head(stream);
    }
}

void drain_context(const Context *context, bool blocking_only) {
    for (Stream *stream = all_streams(); stream; stream = stream->next)
        if (stream->context == context && !(blocking_only && stream->flags & CU_STREAM_NON_BLOCKING))
            drain(stream, UINT64_MAX);
}

/* One step of progress, which is what a poll sees; false when nothing is left. */
bool run_one(Stream *stream) {
    if (!stream->queue.head) return false;
    if (!stream->busy) run_head(stream);
    return true;
}
