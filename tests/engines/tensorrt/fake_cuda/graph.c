/* Capture of a stream's work into a graph, and its replay. Capture over several streams is not simulated. */
#include "fake_cuda.h"

#include <stdlib.h>

static Graph *graphs; /* captured and executable, live and destroyed */

static Graph *new_graph(const Queue *operations, bool executable) {
    Graph *graph = calloc(1, sizeof *graph);
    *graph = (Graph){.context = current_context(), .live = true, .executable = executable, .next = graphs};
    for (const Operation *item = operations->head; item; item = item->next) append(&graph->operations, clone_of(item));
    return graphs = graph;
}

static void drop(Graph *graph) {
    clear(&graph->operations);
    graph->live = false;
}

int live_graphs(const Context *context) {
    int count = 0;
    for (const Graph *graph = graphs; graph; graph = graph->next)
        count += graph->live && (!context || graph->context == context);
    return count;
}

void drop_graphs_of(const Context *context) {
    for (Graph *graph = graphs; graph; graph = graph->next)
        if (graph->live && graph->context == context) drop(graph);
}

static CUresult graph_of(void *handle, bool executable, Graph **out) {
    for (Graph *graph = graphs; graph; graph = graph->next)
        if (graph == handle && graph->live && graph->executable == executable) {
            *out = graph;
            return CUDA_SUCCESS;
        }
    violation("a graph that is destroyed is used");
    return CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuStreamBeginCapture_v2(void *handle, int mode) {
    ENTER(NEEDS_CONTEXT);
    Stream *stream;
    CUresult result = stream_of(handle, &stream);
    if (result) LEAVE(result);
    if (stream->is_default) LEAVE(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    if (stream->capture.active) LEAVE(CUDA_ERROR_ILLEGAL_STATE);
    stream->capture = (Capture){.active = true, .mode = mode, .thread = pthread_self()};
    LEAVE(CUDA_SUCCESS);
}

EXPORT CUresult cuStreamEndCapture(void *handle, void **out) {
    ENTER(NEEDS_CONTEXT);
    Stream *stream;
    CUresult result = stream_of(handle, &stream);
    if (result) LEAVE(result);
    *out = NULL;
    Capture *capture = &stream->capture;
    if (!capture->active) LEAVE(CUDA_ERROR_ILLEGAL_STATE);
    if (capture->mode != CAPTURE_RELAXED && !pthread_equal(capture->thread, pthread_self()))
        LEAVE(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    capture->active = false;
    if (!capture->invalid) *out = new_graph(&capture->operations, false);
    clear(&capture->operations);
    LEAVE(capture->invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS);
}

EXPORT CUresult cuStreamIsCapturing(void *handle, int *status) {
    ENTER(NEEDS_CONTEXT);
    Stream *stream;
    CUresult result = stream_of(handle, &stream);
    if (!result) *status = !stream->capture.active ? 0 : stream->capture.invalid ? 2 : 1;
    LEAVE(result);
}

static CUresult instantiate(void **out, void *handle) {
    Graph *graph;
    CUresult result = graph_of(handle, false, &graph);
    if (!result) *out = new_graph(&graph->operations, true);
    return result;
}

EXPORT CUresult cuGraphInstantiateWithFlags(void **out, void *handle, unsigned long long flags) {
    ENTER(NEEDS_CONTEXT);
    (void)flags;
    LEAVE(instantiate(out, handle));
}

EXPORT CUresult cuGraphInstantiate_v2(void **out, void *handle, void **node, char *log, size_t size) {
    ENTER(NEEDS_CONTEXT);
    if (node) *node = NULL;
    if (log && size) *log = '\0';
    LEAVE(instantiate(out, handle));
}

EXPORT CUresult cuGraphUpload(void *handle, void *stream) {
    ENTER(NEEDS_CONTEXT);
    (void)stream;
    Graph *graph;
    LEAVE(graph_of(handle, true, &graph));
}

EXPORT CUresult cuGraphLaunch(void *handle, void *stream_handle) {
    ENTER(NEEDS_CONTEXT);
    Graph *graph;
    Stream *stream;
    CUresult result = graph_of(handle, true, &graph);
    if (!result) result = stream_of(stream_handle, &stream);
    if (result) LEAVE(result);
    for (const Operation *item = graph->operations.head; item && !result; item = item->next)
        result = enqueue(stream, *item);
    LEAVE(result);
}

static CUresult destroy(void *handle, bool executable) {
    Graph *graph;
    CUresult result = graph_of(handle, executable, &graph);
    if (!result) drop(graph);
    return result;
}

EXPORT CUresult cuGraphDestroy(void *handle) {
    ENTER(NEEDS_CONTEXT);
    LEAVE(destroy(handle, false));
}

EXPORT CUresult cuGraphExecDestroy(void *handle) {
    ENTER(NEEDS_CONTEXT);
    LEAVE(destroy(handle, true));
}

EXPORT int fakeLiveGraphs(void) {
    pthread_mutex_lock(&mutex);
    int count = live_graphs(NULL);
    pthread_mutex_unlock(&mutex);
    return count;
}
