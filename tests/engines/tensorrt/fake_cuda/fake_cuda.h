/* A CUDA driver for tests: host memory stands in for device memory, and what is asynchronous really is deferred.

   Every entry point is `CUresult cuName(...) { ENTER(needs); ... LEAVE(result); }`: one mutex guards all state, and
   only simulated kernels run outside it. Handles are never recycled, so a stale one is recognised. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int CUresult;
typedef int CUdevice;
typedef uint64_t CUdeviceptr;

enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_ILLEGAL_STATE = 401,
    CUDA_ERROR_NOT_FOUND = 500,
    CUDA_ERROR_NOT_READY = 600,
    CUDA_ERROR_ILLEGAL_ADDRESS = 700,
    CUDA_ERROR_CONTEXT_IS_DESTROYED = 709,
    CUDA_ERROR_LAUNCH_FAILED = 719,
    CUDA_ERROR_NOT_PERMITTED = 800,
    CUDA_ERROR_NOT_SUPPORTED = 801,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901,
    CUDA_ERROR_STREAM_CAPTURE_ISOLATION = 905,
    CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = 906,
    CUDA_ERROR_CAPTURED_EVENT = 907,
    CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD = 908,
};

enum { MAX_RANGES = 16, FRESH_BYTE = 0xFF, FREED_BYTE = 0xDD, STALE_BYTE = 0xEE };
enum { CU_STREAM_NON_BLOCKING = 1 };
enum { CAPTURE_GLOBAL = 0, CAPTURE_THREAD_LOCAL = 1, CAPTURE_RELAXED = 2 };

typedef struct context Context;
typedef struct stream Stream;
typedef struct event Event;
typedef struct operation Operation;
typedef struct graph Graph;
typedef int (*Kernel)(void *data); /* non-zero: the launch failed, and the context with it */

typedef struct {
    const void *address;
    size_t size;
} Range;

typedef enum { COPY_TO_DEVICE, COPY_TO_HOST, COPY_ON_DEVICE, FILL, RUN_KERNEL, RECORD_EVENT, WAIT_EVENT } OperationKind;

struct operation {
    OperationKind kind;
    const char *name;
    uint64_t sequence; /* order of enqueueing over all streams */
    Range ranges[MAX_RANGES]; /* what it reads and writes; of a copy, target and source */
    int range_count;
    bool synchronous; /* its caller waits for it, so the host memory need not be pinned */
    void *staged; /* a copy of pageable source memory */
    uint32_t value; /* of a fill */
    size_t width;
    Kernel kernel; /* or a host function */
    void (*function)(void *);
    void *data;
    Event *event;
    Stream *awaited_stream;
    uint64_t awaited_sequence;
    Operation *next;
};

typedef struct {
    Operation *head, *tail;
    int count;
} Queue;

typedef struct {
    bool active, invalid;
    int mode;
    pthread_t thread;
    Queue operations;
} Capture;

struct stream {
    Context *context;
    unsigned flags;
    bool live, is_default, busy;
    Queue queue;
    Capture capture;
    Stream *next;
};

struct event {
    Context *context;
    bool live, recorded;
    Stream *stream;
    uint64_t recorded_sequence, finished_sequence;
    double seconds;
    Event *next;
};

struct graph {
    Context *context;
    bool live, executable;
    Queue operations;
    Graph *next;
};

struct context {
    bool live, primary;
    int retains, pushes;
    CUresult fault; /* sticky, as on a device: whatever follows fails too */
    unsigned flags;
    Stream *default_stream;
    Context *next;
};

typedef enum { DEVICE_MEMORY, PINNED_MEMORY, REGISTERED_MEMORY } MemoryKind;

typedef struct allocation {
    uint8_t *address;
    size_t size;
    MemoryKind kind;
    unsigned flags;
    bool live;
    Context *context;
    struct allocation *next;
} Allocation;

/* enter.c */
enum { NEEDS_NOTHING = 0, NEEDS_INIT = 1, NEEDS_CONTEXT = 2, UNSAFE_IN_CAPTURE = 4 };
CUresult enter(const char *function, int needs);
CUresult leave(CUresult result);
void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern pthread_mutex_t mutex;
extern pthread_cond_t changed;
extern __thread int kernel_depth;
#define ENTER(needs)                                                                                                   \
    do {                                                                                                               \
        CUresult entered = enter(__func__, needs);                                                                     \
        if (entered) return entered;                                                                                   \
    } while (0)
#define LEAVE(result) return leave(result)
#define EXPORT __attribute__((visibility("default")))

/* context.c */
Context *current_context(void);
Context *all_contexts(void);
void forget_contexts(void);

/* memory.c */
Allocation *allocation_at(const void *address);
const char *problem_with_device_range(const void *address, size_t size);
const char *problem_with_host_range(const void *address, size_t size, bool *pageable);
int live_memory(MemoryKind kind, const Context *context);
void drop_memory_of(const Context *context);
void set_limit(size_t bytes);

/* queue.c */
void append(Queue *queue, Operation *operation);
void clear(Queue *queue);
Operation *clone_of(const Operation *operation);
void drain(Stream *stream, uint64_t upto);
void drain_context(const Context *context, bool blocking_only);
bool run_one(Stream *stream);
bool operation_touches(const Operation *operation, const void *address, size_t size);

/* stream.c */
CUresult stream_of(void *handle, Stream **stream);
Stream *new_stream(Context *context, unsigned flags, bool is_default);
Stream *all_streams(void);
CUresult enqueue(Stream *stream, Operation operation);
void invalidate_captures(bool *forbidden);
const Operation *pending_operation(const void *address, size_t size);
int live_streams(const Context *context);
void drop_streams_of(const Context *context);

/* event.c, graph.c */
int live_events(const Context *context);
void drop_events_of(const Context *context);
int live_graphs(const Context *context);
void drop_graphs_of(const Context *context);
