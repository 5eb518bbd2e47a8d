// For container_logs.py: prints 1,000,000 lines of 100 bytes through stdio with its usual buffer for pipes, and writes
// the milliseconds that this took to /time/taken.
#include <stdio.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

int main(void) {
  char line[101];
  memset(line, 'x', 99);
  line[99] = '\n';
  line[100] = '\0';
  double const begin = now();
  for (int i = 0; i < 1000000; ++i) {
    if (fputs(line, stdout) < 0) return 1;
  }
  if (fflush(stdout) != 0) return 1;
  double const taken = now() - begin;
  FILE* const file = fopen("/time/taken", "w");
  return file != NULL && fprintf(file, "%.2f\n", taken) > 0 && fclose(file) == 0 ? 0 : 1;
}
