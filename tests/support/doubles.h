/* Doubles that stand in for the monitors and sinks that do not exist yet, and prove that the interfaces bear them.
 *
 * double_monitor: a source whose positions mean nothing to the core (1,000 per record, from a number of its own), with
 * sub-streams that interleave in one batch, and partitions that can be revoked while their ranges are in flight.
 * double_sink: packs deliveries into requests of five, answers when the test says so, in the order it says, and refuses
 * records by number.
 *
 * Thread: the loop thread; the monitor's batches are filled in real pool jobs. */
#ifndef LC_TESTS_DOUBLES_H
#define LC_TESTS_DOUBLES_H

#include "logcap/monitor.h"
#include "logcap/sink.h"
#include "logcap/stage.h"

#define DOUBLE_STEP 1000u /* positions of a record */

typedef struct double_monitor double_monitor;

double_monitor *double_monitor_create(lc_registry *registry, const char *name);
lc_monitor *double_monitor_base(double_monitor *monitor);
/* Before start or while running: partition `key` has `n` records in all, "<key> <index>\n" each. */
void double_monitor_partition(double_monitor *monitor, const char *key, uint32_t n);
/* Records per batch, over all partitions in turn. */
void double_monitor_batch(double_monitor *monitor, uint32_t records);
/* Batches that one job fills, and how often it refills one that was written on the spot: 1 and 0. */
void double_monitor_train(double_monitor *monitor, uint32_t batches, uint32_t refills);
/* It starts so many more read jobs, then waits for the next call. */
void double_monitor_jobs(double_monitor *monitor, uint32_t jobs);
/* Takes a partition away: no more of it is read. */
void double_monitor_revoke(double_monitor *monitor, const char *key);
/* Assigns it anew: it resumes where the feed says. */
void double_monitor_assign(double_monitor *monitor, const char *key);
/* The index of the first record that it read after (re)assignment. */
uint32_t double_monitor_resumed_at(double_monitor *monitor, const char *key);
/* Forgets partitions once they are settled, as a file monitor does with files that are gone. */
void double_monitor_forget_settled(double_monitor *monitor);
uint32_t double_monitor_settled(double_monitor *monitor); /* calls of ops->settled */

/* What reload asks of the live one; at first LC_FIT_SAME. */
void double_monitor_fit(double_monitor *monitor, lc_fit fit);

typedef struct double_sink double_sink;

typedef enum double_policy {
  DOUBLE_AT_ONCE, /* settles on the next turn of the loop */
  DOUBLE_HOLD,    /* keeps everything until told */
  DOUBLE_REVERSE  /* packs five deliveries to a request and answers the last first */
} double_policy;

double_sink *double_sink_create(lc_registry *registry, const char *name, double_policy policy);
lc_sink *double_sink_base(double_sink *sink);
/* Refuses the record of this number within each request; up to 8 numbers. */
void double_sink_refuse(double_sink *sink, uint32_t number);
/* Refuses the first record of each delivery at once, whatever becomes of the others. */
void double_sink_refuse_first(double_sink *sink);
void double_sink_release(double_sink *sink, double_policy policy); /* changes the policy and lets go */
/* From now on each line ends with this label's value, " VALUE", when there is one. `name` is static. */
void double_sink_show_label(double_sink *sink, const char *name);
/* It writes there instead of into a text of its own. */
void double_sink_into(double_sink *sink, struct lc_buf *text);
/* All that it accepted, a line each, in order of arrival. */
const char *double_sink_text(double_sink *sink);
/* What reload asks of the live one; at first LC_FIT_SAME. `adopt` takes the policy over. */
void double_sink_fit(double_sink *sink, lc_fit fit);
void double_sink_fail_open(double_sink *sink);
uint32_t double_sink_count(double_sink *sink);
uint32_t double_sink_held(double_sink *sink); /* deliveries */

/* double_lender: a sink that lends itself to read jobs, and saves with each commit how many records it has shown. */
typedef struct double_lender double_lender;
double_lender *double_lender_create(lc_registry *registry, const char *name);
lc_sink *double_lender_base(double_lender *sink);
/* From its n-th record on it cannot write; 0: it can, and does. */
void double_lender_fail_at(double_lender *sink, uint32_t n);
const char *double_lender_text(double_lender *sink); /* all that it wrote */
uint32_t double_lender_count(double_lender *sink);
uint32_t double_lender_on_the_spot(double_lender *sink); /* so many of these while it was lent */
#define DOUBLE_LENDER_SHOWN "lender/shown" /* its count in the store */

/* A stage made of a function; `flags` as LC_STAGE_*. */
lc_stage *double_stage_create(lc_registry *registry, const char *name, unsigned flags,
                              int (*process)(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns,
                                             lc_error *error));

#endif
