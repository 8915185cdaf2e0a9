/* A work queue: the caller works on its own job, threads that are free help. Nobody waits for a
 * thread that has not begun: where the machine is busy the caller does the whole job by itself, and
 * at the end it waits only for helpers that are in the middle of an item. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { MAX_THREADS = 256 };

struct work {
  void (*run)(const void *context, int64_t first, int64_t last);
  const void *context;
  int64_t n, grain;
  _Atomic int64_t next;
  int helpers; /* at work now; guarded by the queue's lock */
  struct work *following;
};

static struct {
  pthread_mutex_t lock;
  pthread_cond_t wanted, finished;
  struct work *first;
  int n_threads, n_started;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .wanted = PTHREAD_COND_INITIALIZER,
           .finished = PTHREAD_COND_INITIALIZER,
           .n_threads = 1};

static void work_on(struct work *work) {
  for (;;) {
    int64_t first = atomic_fetch_add_explicit(&work->next, work->grain, memory_order_relaxed);
    if (first >= work->n) return;
    int64_t last = first + work->grain;
    work->run(work->context, first, last < work->n ? last : work->n);
  }
}

static struct work *unfinished(void) {
  for (struct work *work = queue.first; work; work = work->following)
    if (atomic_load_explicit(&work->next, memory_order_relaxed) < work->n) return work;
  return NULL;
}

static void *help(void *unused) {
  (void)unused;
  pthread_mutex_lock(&queue.lock);
  for (;;) {
    struct work *work = unfinished();
    if (!work) {
      pthread_cond_wait(&queue.wanted, &queue.lock);
      continue;
    }
    ++work->helpers;
    pthread_mutex_unlock(&queue.lock);
    work_on(work);
    pthread_mutex_lock(&queue.lock);
    if (--work->helpers == 0) pthread_cond_broadcast(&queue.finished);
  }
  return NULL;
}

/* Called with the lock held. */
static void start_threads(void) {
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  while (queue.n_started < queue.n_threads - 1) {
    pthread_t thread;
    if (pthread_create(&thread, &detached, help, NULL)) break; /* fewer helpers, same result */
    ++queue.n_started;
  }
  pthread_attr_destroy(&detached);
}

/* Nobody holds the lock across a fork; in the child there are no helpers and no other callers. */
static void before_fork(void) { pthread_mutex_lock(&queue.lock); }
static void after_fork(void) { pthread_mutex_unlock(&queue.lock); }
static void in_child(void) {
  pthread_cond_init(&queue.wanted, NULL);
  pthread_cond_init(&queue.finished, NULL);
  queue.n_started = 0;
  queue.first = NULL;
  pthread_mutex_unlock(&queue.lock);
}
static void survive_forks(void) { pthread_atfork(before_fork, after_fork, in_child); }

/* Calls run(context, first, last) until the n items are done. */
static void share_out(void (*run)(const void *, int64_t, int64_t), const void *context, int64_t n,
                      int64_t grain) {
  struct work work = {.run = run, .context = context, .n = n, .grain = grain};
  if (n <= grain || queue.n_threads == 1) {
    work_on(&work);
    return;
  }
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, survive_forks);
  pthread_mutex_lock(&queue.lock);
  start_threads();
  work.following = queue.first;
  queue.first = &work;
  pthread_cond_broadcast(&queue.wanted);
  pthread_mutex_unlock(&queue.lock);
  work_on(&work);
  pthread_mutex_lock(&queue.lock);
  struct work **link = &queue.first;
  while (*link != &work) link = &(*link)->following;
  *link = work.following;
  while (work.helpers) pthread_cond_wait(&queue.finished, &queue.lock);
  pthread_mutex_unlock(&queue.lock);
}
