/* Graphs and edges: what one generation of the pipeline files does with the batches of a pipeline. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "pipeline/inside.h"

static bool create_samplers(lc_graph *graph, uint32_t n) {
  graph->samplers = calloc(n, sizeof(lc_sampler *));
  while (graph->samplers != NULL && graph->n_samplers < n) {
    lc_sampler *sampler = lc_sampler_create();
    if (sampler == NULL) return false;
    graph->samplers[graph->n_samplers++] = sampler;
  }
  return graph->samplers != NULL;
}

lc_graph *lc_graph_create(uint32_t n_stages, uint32_t n_edges) {
  lc_graph *graph = calloc(1, sizeof *graph);
  if (graph == NULL) return NULL;
  graph->refs = 1;
  graph->stages = calloc(n_stages + 1u, sizeof(lc_stage *));
  graph->edges = calloc(n_edges + 1u, sizeof(lc_edge *));
  bool samplers = create_samplers(graph, n_stages > 0 ? n_stages : 1);
  if (graph->stages == NULL || graph->edges == NULL || !samplers) {
    lc_graph_release(graph);
    return NULL;
  }
  return graph;
}

void lc_graph_add_stage(lc_graph *graph, lc_stage *stage) {
  bool stateless = (stage->ops->flags & LC_STAGE_STATELESS) != 0;
  if (stateless && graph->n_pool_stages == graph->n_stages) graph->n_pool_stages++;
  lc_resource_retain(&stage->resource);
  graph->stages[graph->n_stages++] = stage;
}

void lc_graph_add_edge(lc_graph *graph, lc_edge *edge) {
  edge->graphs++;
  edge->quiet_at = 0;
  graph->edges[graph->n_edges++] = edge;
}

bool lc_graph_names(const lc_graph *graph, const lc_edge *edge) {
  for (uint32_t e = 0; graph != NULL && e < graph->n_edges; e++) {
    if (graph->edges[e] == edge) return true;
  }
  return false;
}

lc_graph *lc_graph_retain(lc_graph *graph) {
  graph->refs++;
  return graph;
}

void lc_graph_release(lc_graph *graph) {
  if (graph == NULL) return;
  lc_require(graph->refs > 0);
  if (--graph->refs > 0) return;
  for (uint32_t i = 0; i < graph->n_stages; i++) lc_resource_release(&graph->stages[i]->resource);
  for (uint32_t i = 0; i < graph->n_edges; i++) graph->edges[i]->graphs--;
  for (uint32_t i = 0; i < graph->n_samplers; i++) lc_sampler_destroy(graph->samplers[i]);
  free(graph->samplers);
  free(graph->stages);
  free(graph->edges);
  free(graph);
}

static int free_slot(lc_pipeline *pipeline, uint32_t *ret) {
  uint32_t slot = 0;
  while (slot < pipeline->n_edges && pipeline->edges[slot] != NULL) slot++;
  if (slot == pipeline->n_edges) {
    lc_edge **grown = realloc(pipeline->edges, (slot + 1u) * sizeof *grown);
    if (grown == NULL) return LC_ENOMEM;
    pipeline->edges = grown;
    grown[pipeline->n_edges++] = NULL;
  }
  *ret = slot;
  return 0;
}

lc_edge *lc_edge_create(lc_pipeline *pipeline, lc_sink *sink) {
  uint32_t slot = 0;
  lc_edge *edge = calloc(1, sizeof *edge);
  size_t size = strlen(pipeline->resource.name) + strlen(sink->resource.identity) + 2;
  char *key = malloc(size);
  if (edge == NULL || key == NULL || free_slot(pipeline, &slot) != 0) {
    free(edge);
    free(key);
    return NULL;
  }
  snprintf(key, size, "%s/%s", pipeline->resource.name, sink->resource.identity);
  *edge = (lc_edge){.pipeline = pipeline, .sink = sink, .index = slot, .key = key};
  lc_resource_retain(&sink->resource);
  pipeline->edges[slot] = edge;
  return edge;
}

void lc_edge_destroy(lc_edge *edge) {
  lc_require(edge->graphs == 0);
  lc_edge_free_deliveries(edge);
  edge->pipeline->edges[edge->index] = NULL;
  lc_resource_release(&edge->sink->resource);
  free(edge->key);
  free(edge);
}

int lc_pipeline_fit_cursors(lc_pipeline *pipeline) {
  for (uint32_t f = 0; f < pipeline->n_feeds; f++) {
    for (lc_stream *stream = pipeline->feeds[f]->streams; stream != NULL; stream = stream->next) {
      lc_cursor *grown = realloc(stream->cursors, (pipeline->n_edges + 1u) * sizeof *grown);
      if (grown == NULL) return LC_ENOMEM;
      stream->cursors = grown;
    }
  }
  return 0;
}
