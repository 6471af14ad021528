/* A resource that only counts what is done to it, for the tests of resources and of the registry. */
#ifndef LC_TESTS_THING_H
#define LC_TESTS_THING_H

#include <stdlib.h>

#include "support/support.h"

typedef struct thing {
  lc_resource resource;
  bool closes_later;
  int *closes, *destroys; /* counters of the test */
} thing;

static void thing_close(lc_resource *res) {
  thing *self = (thing *)res;
  (*self->closes)++;
  if (!self->closes_later) lc_resource_closed(res);
}

static void thing_destroy(lc_resource *res) {
  thing *self = (thing *)res;
  (*self->destroys)++;
  free(self);
}

static int thing_stats(lc_resource *res, lc_buf *ret) {
  (void)res;
  return lc_buf_adds(ret, "{\"size\":7}");
}

static const lc_resource_ops thing_ops = {.close = thing_close, .destroy = thing_destroy, .stats = thing_stats};

static int closes, destroys;

static thing *make(lc_registry *registry, const char *identity) {
  thing *self = calloc(1, sizeof *self);
  assert_non_null(self);
  assert_int_equal(lc_resource_init(&self->resource, registry, &thing_ops, "thing", NULL, identity, "a.lua:3", NULL),
                   0);
  self->closes = &closes;
  self->destroys = &destroys;
  return self;
}

#endif
