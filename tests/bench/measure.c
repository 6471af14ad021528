/* Runs a command and prints what it and its children cost: a process of its own, because the peak memory of a child
 * counts that of the program that started it, and this one is tiny.
 *
 *     measure RESULT COMMAND...                     until it exits
 *     measure RESULT --until PATH BYTES COMMAND...  until PATH has so many bytes; then it gets SIGTERM
 *
 * RESULT receives one JSON object: cpu_s, wall_s, peak_kib, status (an exit code, or 128 + the signal). */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_NS 2000000 /* between two looks at PATH */
#define WAIT_MOST_S 120 /* then the command is killed: its status says so */

static volatile pid_t child;

static void kill_child(int signal_number) {
  (void)signal_number;
  if (child > 0) (void)kill(child, SIGKILL);
}

static double now(void) {
  struct timespec ts;
  (void)clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Also returns when the command ended before. */
static void wait_for_size(const char *path, long long bytes) {
  struct stat st;
  siginfo_t ended = {0};
  while (stat(path, &st) != 0 || (long long)st.st_size < bytes) {
    if (waitid(P_PID, (id_t)child, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid != 0) return;
    (void)nanosleep(&(struct timespec){0, WAIT_NS}, NULL);
  }
}

static double seconds(struct timeval tv) {
  return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

static int report(const char *path, double wall, int status, const struct rusage *usage) {
  FILE *file = fopen(path, "w");
  if (!file) return perror(path), 1;
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  (void)fprintf(file, "{\"cpu_s\":%.6f,\"wall_s\":%.6f,\"peak_kib\":%ld,\"status\":%d}\n",
                seconds(usage->ru_utime) + seconds(usage->ru_stime), wall, usage->ru_maxrss, code);
  return fclose(file) == 0 ? 0 : (perror(path), 1);
}

int main(int argc, char **argv) {
  bool until = argc > 2 && strcmp(argv[2], "--until") == 0;
  int command = until ? 5 : 2;
  if (argc <= command) return (void)fprintf(stderr, "usage: measure RESULT [--until PATH BYTES] COMMAND...\n"), 2;
  double began = now();
  pid_t pid = fork();
  if (pid < 0) return perror("fork"), 1;
  if (pid == 0) {
    (void)execvp(argv[command], argv + command);
    perror(argv[command]);
    _exit(127);
  }
  child = pid;
  (void)signal(SIGALRM, kill_child);
  (void)alarm(WAIT_MOST_S);
  double wall = 0;
  if (until) {
    wait_for_size(argv[3], atoll(argv[4]));
    wall = now() - began;
    (void)kill(pid, SIGTERM);
  }
  int status;
  struct rusage usage;
  while (wait4(pid, &status, 0, &usage) < 0) {
    if (errno != EINTR) return perror("wait4"), 1;
  }
  if (!until) wall = now() - began;
  return report(argv[1], wall, status, &usage);
}
