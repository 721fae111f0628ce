/* The border of every call: the mutex, planted failures, the call counts, the log of mistakes. */
#include "fake_cuda.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_VIOLATIONS = 256, MAX_TEXT = 256, MAX_FUNCTIONS = 256, MAX_FAILURES = 32 };

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
__thread int kernel_depth; /* above zero while this thread runs a simulated kernel */

static bool initialised;
static char violations[MAX_VIOLATIONS][MAX_TEXT];
static int violation_count;

static struct {
    char name[64];
    long calls;
} functions[MAX_FUNCTIONS];

static struct {
    char name[64];
    int after;
    CUresult code;
} failures[MAX_FAILURES];

/* `cuMemAlloc` of `cuMemAlloc_v2`: the names of the documentation. */
static void plain_name(const char *function, char *out, size_t size) {
    snprintf(out, size, "%s", function);
    char *suffix = strstr(out, "_v");
    if (suffix) *suffix = '\0';
}

void violation(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (violation_count < MAX_VIOLATIONS) vsnprintf(violations[violation_count], MAX_TEXT, format, arguments);
    violation_count++;
    va_end(arguments);
}

static void count_call(const char *name) {
    for (int i = 0; i < MAX_FUNCTIONS; i++) {
        if (!functions[i].name[0]) snprintf(functions[i].name, sizeof functions[i].name, "%s", name);
        if (!strcmp(functions[i].name, name)) {
            functions[i].calls++;
            return;
        }
    }
}

static CUresult planted_failure(const char *name) {
    for (int i = 0; i < MAX_FAILURES; i++) {
        if (strcmp(failures[i].name, name)) continue;
        if (failures[i].after-- > 0) return CUDA_SUCCESS;
        failures[i].name[0] = '\0';
        return failures[i].code;
    }
    return CUDA_SUCCESS;
}

static CUresult context_problem(const char *name) {
    Context *context = current_context();
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    if (!context->live) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (kernel_depth) {
        violation("%s called from inside a host function", name);
        return CUDA_ERROR_NOT_PERMITTED;
    }
    return context->fault;
}

static CUresult problem(const char *name, int needs) {
    CUresult planted = planted_failure(name);
    if (planted) return planted;
    if (!strcmp(name, "cuInit")) initialised = true;
    if (needs && !initialised) return CUDA_ERROR_NOT_INITIALIZED;
    CUresult result = needs & NEEDS_CONTEXT ? context_problem(name) : CUDA_SUCCESS;
    if (result || !(needs & UNSAFE_IN_CAPTURE)) return result;
    bool forbidden = false;
    invalidate_captures(&forbidden);
    return forbidden ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

CUresult enter(const char *function, int needs) {
    char name[64];
    plain_name(function, name, sizeof name);
    pthread_mutex_lock(&mutex);
    count_call(name);
    CUresult result = problem(name, needs);
    if (result) pthread_mutex_unlock(&mutex);
    return result;
}

CUresult leave(CUresult result) {
    pthread_mutex_unlock(&mutex);
    return result;
}

/* --- the controls of the tests --- */

EXPORT int fakeViolationCount(void) { return violation_count; }

EXPORT const char *fakeViolation(int index) {
    return index >= 0 && index < violation_count && index < MAX_VIOLATIONS ? violations[index] : NULL;
}

EXPORT void fakeClearViolations(void) {
    pthread_mutex_lock(&mutex);
    violation_count = 0;
    pthread_mutex_unlock(&mutex);
}

EXPORT long fakeCalls(const char *name) {
    for (int i = 0; i < MAX_FUNCTIONS; i++)
        if (!strcmp(functions[i].name, name)) return functions[i].calls;
    return 0;
}

EXPORT int fakeFailNext(const char *name, CUresult code, int after) {
    for (int i = 0; i < MAX_FAILURES; i++) {
        if (failures[i].name[0]) continue;
        snprintf(failures[i].name, sizeof failures[i].name, "%s", name);
        failures[i].after = after;
        failures[i].code = code;
        return 1;
    }
    return 0;
}

EXPORT void fakeReset(void) {
    pthread_mutex_lock(&mutex);
    for (Context *context = all_contexts(); context; context = context->next) {
        drop_streams_of(context);
        drop_memory_of(context);
        drop_events_of(context);
        drop_graphs_of(context);
    }
    forget_contexts();
    set_limit((size_t)8 << 30);
    violation_count = 0;
    memset(functions, 0, sizeof functions);
    memset(failures, 0, sizeof failures);
    pthread_mutex_unlock(&mutex);
}
