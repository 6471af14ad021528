/* What the files of src/pipeline share: the bodies of pipeline, graph, feed, edge and stream, and who moves what.
 *
 *   engine.c    lifecycle: start, stop, finish                carrier.c   what a pool job does on the spot
 *   pipeline.c  describes; the queue of batches and stages    delivery.c  batches on their way to sinks, settling
 *   feed.c      what monitors see: room, attach, deliver      commit.c    snapshots of cursors into the store
 *   dead.c      writing dead letters before their ack         report.c    audit, status, positions as JSON
 *   graph.c     one generation's stages and edges             reload.c    a new generation takes the place of the old
 *                                                             reload_match.c  who takes whose place
 *   leave.c     what no generation names any more drains      open.c      everything that may fail before it runs
 *   sampler.c   records before and after a stage              inspect.c   what an operator looks at, and pauses
 *   health.c    what is wrong, and stalled sinks               metrics.c   figures for Prometheus
 *
 * Thread: the loop thread owns all of it. A carrier reads its graph's stages, and of streams `live` and `skip_most`,
 * from the pool. */
#ifndef LC_PIPELINE_INSIDE_H
#define LC_PIPELINE_INSIDE_H

#include <uv.h>

#include "base/clock.h"
#include "io/store.h"
#include "logcap/monitor.h"
#include "logcap/sink.h"
#include "logcap/stage.h"
#include "pipeline/cursor.h"
#include "pipeline/dlq.h"
#include "pipeline/engine.h"
#include "pipeline/ledger.h"
#include "pipeline/sampler.h"
#include "record/pool.h"

typedef struct lc_edge lc_edge;
typedef struct lc_graph lc_graph;
typedef struct lc_stream lc_stream;
typedef struct lc_known lc_known;

/* A sink of a pipeline. */
struct lc_edge {
  lc_pipeline *pipeline;
  lc_sink *sink;   /* counted */
  uint32_t index;  /* in pipeline->edges and in each stream's cursors */
  uint32_t graphs; /* that name it; 0: it drains */
  lc_edge *after;  /* borrowed: of the sink that this one replaces, until that has drained; NULL: none */
  int64_t leave_by_ns;   /* monotonic: it drains, and its sink must take something by then; 0: not leaving */
  uint64_t settled_seen; /* records that it had settled when that was set */
  bool forced;     /* past that: what it held was given up */
  bool over;       /* its successor has its rows and its ledger */
  uint64_t quiet_at; /* it was seen to hold nothing: with so many commits all of it is saved; 0: not yet */
  char *key;       /* owned: "<pipeline>/<sink identity>", of its rows in the ledger */
  lc_ledger total; /* as of now */
  lc_ledger saved; /* of the deliveries whose ranges the cursors have passed */
  bool changed;    /* `saved` changed since the last commit */
  struct delivery *deliveries; /* not yet passed by the cursors; owned */
  uint32_t in_flight;          /* deliveries with unsettled records */
  uint64_t settled;            /* records that the sink settled, in this run */
  uint64_t watched;            /* what `settled` was when health was last asked after, */
  int64_t watched_ns;          /* and since when it is so while deliveries wait (monotonic) */
};

/* What one generation does with the batches of a pipeline. A batch ends in the graph in which its read job began. */
struct lc_graph {
  uint32_t refs;     /* its pipeline while it is the newest, carriers, and batches in the queue */
  lc_stage **stages; /* counted */
  uint32_t n_stages;
  uint32_t n_pool_stages; /* so many of them run in the read job */
  lc_sampler **samplers;  /* owned; one per stage, or, without stages, one of what passes */
  uint32_t n_samplers;
  lc_edge **edges;        /* each counts it */
  uint32_t n_edges;
};

/* The pipeline's side of a source. */
struct lc_stream {
  lc_source *source; /* counted */
  lc_feed *feed;
  lc_known *known;       /* its rows in the store */
  uint64_t delivered_to; /* the end of the last range that came in */
  lc_mark delivered_mark; /* where to resume from there */
  bool delivered_once;
  _Atomic bool live;  /* its rows say ACTIVE: sinks may have what lies behind the cursors */
  _Atomic uint64_t skip_most; /* the highest skip_until of its cursors */
  bool rows_stale;    /* an edge came without a row: commits under way do not make it live */
  bool waits;         /* a batch waits for it to become live */
  bool moved;         /* a cursor moved since the last snapshot */
  bool active;        /* in pipeline->active: commits look at it */
  bool in_commit;     /* the commit under way has rows of it */
  bool going_idle;    /* and they say IDLE or DRAINED */
  bool told;          /* ops->settled was called for the end that its cursors are at */
  bool detached;      /* delivers no more */
  uint32_t queued;    /* ranges in the pipeline's queue */
  uint32_t acks;      /* ranges on their way to sinks */
  const char *saved_name; /* source->name as it stands in the store; compared by address */
  lc_stream *prev, *next; /* feed->streams */
  lc_stream *next_active; /* pipeline->active */
  lc_cursor *cursors; /* owned; one per slot of pipeline->edges. Never moved between prepare and commit of a reload */
};

/* A source that the store knows, of this or an earlier run. */
struct lc_known {
  char *key, *name; /* owned */
  uint64_t id;
  int64_t seen_ns;
  uint32_t uses;  /* streams that refer to it */
  bool forgotten; /* its rows are deleted; it goes with the last stream */
  uint32_t n_cursors;
  struct lc_known_cursor {
    uint32_t sink_id;
    lc_stored_cursor cursor;
  } *cursors;     /* owned */
  lc_known *next; /* hash chain */
};

/* A monitor of a pipeline. */
struct lc_feed {
  lc_pipeline *pipeline;
  lc_monitor *monitor; /* counted */
  uint32_t monitor_id; /* in the store */
  lc_feed *after;      /* borrowed: starts when that one, of the same identity, is gone; NULL: nothing to wait for */
  lc_stream *streams;  /* attached or not yet let go; owned */
  uint32_t n_streams;
  lc_known **known; /* hash table by key; owned */
  uint32_t n_known, known_buckets;
  bool started, stop_asked, stopped, finished;
  bool leaving; /* no generation names it any more */
  bool kept;    /* while a reload is prepared: the new generation names it */
  lc_feed *next_spent; /* engine->spent */
};

/* A row to be deleted with the next commit. */
typedef struct lc_forget {
  uint64_t source_id;
  bool in_commit;
  struct lc_forget *next;
} lc_forget;

struct lc_pipeline {
  lc_resource resource; /* first */
  lc_engine *engine;    /* borrowed; NULL until added */
  lc_feed **feeds;      /* owned */
  uint32_t n_feeds;
  lc_graph *graph; /* counted: the newest */
  lc_edge **edges; /* owned; slots, NULL where one has left */
  uint32_t n_edges;
  uint64_t memory;
  lc_batch_pool *pool; /* owned */

  lc_batch *first, *last; /* batches that pass the loop's stages, in order; owned */
  uint32_t stage, at;     /* of the first batch: the stage and the record it is at */
  lc_samples *samples;    /* of the first batch, taken before the stage that works on it; owned; mostly NULL */
  bool dead_written;      /* and its dead letters are safe */
  bool dead_under_way;
  bool pumping;
  bool room;          /* a batch came back while a reader waited */
  uint32_t carriers;  /* read jobs under way */
  lc_sink *lent;      /* lent to one of them */
  lc_stream *active;  /* streams that commits look at */
  bool paused;        /* by an operator: its monitors get no batches */
  bool failed;        /* a stage stopped it, or somebody closed what it needs */
  bool broken;        /* the latter: it waits for a reload */
  bool leaving;       /* no generation names it any more */
  uint64_t discarded; /* records let go unsettled: they will be read again */
  uint64_t gaps;      /* ranges that did not touch: a bug, shown */
};

/* leave.c */
/* Lets go, step by step, of what no generation names any more and what holds nothing that is not saved. */
void lc_engine_reap(lc_engine *engine);
void lc_feed_leave(lc_feed *feed);
void lc_pipeline_leave(lc_pipeline *pipeline);
/* Forgets what a sink has let go of when somebody closed it in use: it holds no stream any more. */
void lc_edge_forget_closed(lc_edge *edge);
/* Takes an edge that no graph names, and that never had anything, out of its pipeline. */
void lc_edge_remove(lc_edge *edge);
void lc_engine_reap_soon(lc_engine *engine);
/* A pipeline that had stopped was replaced, or is gone: the run is as good as those that are left. */
void lc_engine_forgive(lc_engine *engine);
/* An edge of that key is there again, with its ledger; NULL: all of them are let go of. */
void lc_engine_forget_gone(lc_engine *engine, const char *key);
/* Nothing is under way any more: sinks that took the place of others have the rows for themselves. */
void lc_engine_let_heirs_on(lc_engine *engine);

typedef enum lc_engine_phase {
  LC_ENGINE_NEW,
  LC_ENGINE_OPEN,
  LC_ENGINE_RUNS,
  LC_ENGINE_STOPS,   /* monitors stop, batches drain */
  LC_ENGINE_COMMITS, /* the last commit */
  LC_ENGINE_CLOSES,  /* resources and handles close */
  LC_ENGINE_DONE
} lc_engine_phase;

/* The ledger of an edge that left with something given up. */
typedef struct lc_gone {
  char *key, *sink; /* owned: the edge's key, its sink's name */
  lc_ledger ledger;
  struct lc_gone *next;
} lc_gone;

struct lc_engine {
  lc_runtime *runtime; /* borrowed */
  lc_pipeline **pipelines; /* counted */
  uint32_t n_pipelines;
  lc_sink **sinks; /* borrowed from the pipelines, each once */
  uint32_t n_sinks;
  lc_resource **closing; /* counted: sinks that left, until they are closed; owned */
  uint32_t n_closing;
  lc_feed *spent; /* owned; no pipeline has them any more, and their thousands of streams are freed in turns */
  bool leaving; /* something drains: lc_engine_reap looks at it */
  bool expects; /* a reload makes pipelines that had stopped leave, and has not brought the new ones yet */
  lc_gone *gone; /* owned; one per edge that gave something up, at most so many as leave.c says */
  uint32_t n_gone;
  lc_dlq *dlq;  /* owned */
  struct lc_dead_job *dead_first, *dead_last; /* dead letters to write, in order */
  bool dead_running, dead_failed;
  lc_engine_phase phase;
  uv_idle_t idle; /* turns while a pipeline has batches that yielded, or a phase may move on */
  uv_timer_t commit_timer, deadline_timer, tick_timer, dead_timer, reap_timer;
  uint32_t open_handles;
  lc_forget *forgets; /* owned */
  bool commit_running, commit_wanted, commit_failed;
  uint64_t commits, commit_failures, last_failures; /* last_failures: in a row */
  bool woken; /* since the last turn of `idle` began */
  bool deadline_set;
  uint64_t once_settled; /* records that sinks had settled when it was last looked */
  bool forced; /* past the deadline, or stopped twice */
  uint32_t forced_commits;
  lc_engine_result result;
  void (*finished)(void *arg, const lc_engine_result *result);
  void *arg;
};

/* graph.c */
lc_graph *lc_graph_create(uint32_t n_stages, uint32_t n_edges);
void lc_graph_add_stage(lc_graph *graph, lc_stage *stage);
void lc_graph_add_edge(lc_graph *graph, lc_edge *edge);
bool lc_graph_names(const lc_graph *graph, const lc_edge *edge); /* no graph names nothing */
lc_graph *lc_graph_retain(lc_graph *graph);
void lc_graph_release(lc_graph *graph); /* NULL is allowed */
/* Makes an edge in a free slot of the pipeline, which retains the sink. NULL: no memory. */
lc_edge *lc_edge_create(lc_pipeline *pipeline, lc_sink *sink);
/* Nothing may refer to it any more. */
void lc_edge_destroy(lc_edge *edge);
/* Gives every stream as many cursors as the pipeline has slots. */
int lc_pipeline_fit_cursors(lc_pipeline *pipeline) LC_CHECK;

static inline int64_t lc_engine_wall(const lc_engine *engine) {
  const int64_t *driven = engine->runtime->clock_ns;
  return driven != NULL ? *driven : lc_clock_wall();
}

/* pipeline.c */
/* The largest line that one of its monitors may deliver, at least LC_BLOCK_SIZE. */
uint32_t lc_pipeline_block_size(const lc_pipeline *pipeline);
int lc_edge_open(lc_edge *edge, lc_error *error) LC_CHECK; /* reads its ledger */
/* Takes the batch over, to be led through `graph`. */
void lc_pipeline_enqueue(lc_pipeline *pipeline, lc_batch *batch, lc_graph *graph);
/* Moves batches through the loop's stages to the sinks. Returns true when it stopped for breath. */
bool lc_pipeline_pump(lc_pipeline *pipeline);
void lc_pipeline_fail(lc_pipeline *pipeline, const char *message);
/* Fails when somebody closed a sink that its newest graph names. */
void lc_pipeline_check_sinks(lc_pipeline *pipeline);
int lc_pipeline_open(lc_pipeline *pipeline, lc_error *error);
bool lc_pipeline_at_rest(const lc_pipeline *pipeline);
void lc_pipeline_discard_queue(lc_pipeline *pipeline);
void lc_pipeline_give_room(lc_pipeline *pipeline);
/* carrier.c: a reader waits for the sink to be lent to it, and nothing stands in its way any more. */
bool lc_pipeline_reader_waits(const lc_pipeline *pipeline);
const char *lc_pipeline_name(const lc_pipeline *pipeline);

/* delivery.c */
lc_delivery *lc_delivery_create(lc_edge *edge, lc_batch *batch);
/* Settles the ranges without a record. False: there was nothing else, and the delivery is gone. */
bool lc_delivery_begin(lc_delivery *delivery);
void lc_delivery_start(lc_delivery *delivery); /* begins it, and submits it to its sink */
lc_delivery *lc_delivery_create_lent(lc_edge *edge);
void lc_delivery_free_lent(lc_delivery *delivery);
/* So many more (or fewer) of its records wait for their dead letters to be written. */
void lc_delivery_dead(lc_delivery *delivery, int64_t change);
bool lc_delivery_only_dead(const lc_delivery *delivery); /* all that are left do: its sink has nothing of it */
void lc_delivery_settle_counted(lc_delivery *delivery, uint32_t first, uint32_t count, lc_outcome outcome);
void lc_batch_release(lc_pipeline *pipeline, lc_batch *batch);
void lc_edge_free_deliveries(lc_edge *edge);
void lc_edge_abandon_deliveries(lc_edge *edge); /* and counts what they did not settle as abandoned */
uint64_t lc_edge_in_flight(const lc_edge *edge); /* records */

/* dead.c */
/* Writes the batch's dead letters, then goes on with the pipeline. */
void lc_dead_batch(lc_pipeline *pipeline, lc_batch *batch);
/* Writes refused records of a delivery, then settles them. */
void lc_dead_refused(lc_delivery *delivery, uint32_t first, uint32_t count, const char *reason);
/* It was discarded: its dead letters may be written, but nothing waits for them. */
void lc_dead_forget(lc_engine *engine, const lc_delivery *delivery);
void lc_dead_pump(lc_engine *engine);
/* Lets waiting dead letters go: their records will be read again. */
void lc_dead_give_up(lc_engine *engine);

/* commit.c */
void lc_stream_activate(lc_stream *stream);
void lc_stream_moved(lc_stream *stream);
void lc_stream_note_new(lc_stream *stream);
/* There is an edge without a row: nothing of the stream goes on before the next commit but one under way. */
void lc_stream_rows_changed(lc_stream *stream);
void lc_engine_commit_soon(lc_engine *engine, uint64_t within_ms);
bool lc_engine_uncommitted(const lc_engine *engine);

/* feed.c */
lc_feed *lc_feed_create(lc_pipeline *pipeline, lc_monitor *monitor);
/* Lets go of its streams and its monitor, of which nothing is under way any more. */
void lc_feed_destroy(lc_feed *feed);
/* The first of it: lets go of so many streams. True: none is left. */
bool lc_feed_shed(lc_feed *feed, uint32_t most);
lc_known *lc_feed_known(const lc_feed *feed, const char *key);
lc_stored_cursor *lc_known_cursor_of(lc_known *known, uint32_t sink_id, bool create);
void lc_known_update(lc_known *known, const lc_stream *stream); /* its cursors, as they are now */
bool lc_known_lowest(const lc_feed *feed, const lc_known *known, lc_stored_source *ret);
int lc_feed_load(lc_feed *feed, lc_store *store, lc_error *error);
void lc_feed_unload(lc_feed *feed);
/* Whether all sources that `sink_id` may have read beyond its cursor can be read again. */
bool lc_feed_replayable(lc_feed *feed, uint32_t sink_id);
void lc_feed_note_ranges(lc_feed *feed, lc_batch *batch);
void lc_cursor_start(lc_stream *stream, uint32_t slot, uint64_t position, const lc_mark *mark);
void lc_stream_collect(lc_stream *stream); /* frees it when it is detached and nothing of it is under way */
void lc_stream_unlink(lc_stream *stream);

/* open.c */
int lc_engine_open_feed(lc_engine *engine, lc_feed *feed, lc_error *error) LC_CHECK;
int lc_engine_open_sink(lc_engine *engine, lc_sink *sink, lc_error *error) LC_CHECK;
int lc_engine_open_pipeline(lc_pipeline *pipeline, lc_error *error) LC_CHECK;
int lc_engine_opened(lc_resource *res, lc_error *error) LC_CHECK; /* once */
void lc_engine_note_sink(lc_engine *engine, lc_sink *sink); /* there is room for it in engine->sinks */
/* health.c: for how long (ns) the sink has settled nothing while deliveries wait. */
int64_t lc_edge_stalled(lc_edge *edge, int64_t now_ns);

/* engine.c */
void lc_engine_close_parts(lc_engine *engine);
void lc_engine_start_ticks(lc_engine *engine);
void lc_feed_start(lc_feed *feed);
void lc_feed_stop(lc_feed *feed);

#endif
