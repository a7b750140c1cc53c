// An actor of `fauxdax race --live`: one process of a scenario, under `fauxdax run`. It lives for
// many rounds. In each it opens and maps the round's files, then runs the scripts of its threads,
// which all begin at one moment of the monotonic clock that the caller names; afterwards it looks
// at the files as they are and lets go of them. tools/live/actor.ts is the caller; a mistake of its
// ends the actor.
//
// Requests are lines on descriptor 0, words with spaces between. A call is carried out at once by
// the main thread and answered by one line; `op` only notes a call for `go`. Answers begin with
// `=`, what a call of a script came to with `r`. Each is one write, so that those of a child of
// fork, which has the same descriptor, stay whole. Numbers are decimal; pages count 4 KiB, words 8
// bytes, times ns.
//
//   create FILE PATH        open FILE PATH        close FILE        unlink PATH
//   map MAP FILE PAGE PAGES shared|private|sync    unmap MAP
//   load MAP PAGE WORD      store MAP PAGE WORD VALUE      persist MAP PAGE WORD
//   scan MAP PAGE           the distinct words of a page, by loads
//   read FILE PAGE WORD     write FILE PAGE WORD VALUE     scanfile FILE PAGE
//   fill FILE PAGE PAGES VALUE      allocate|punch|zero|collapse|insert FILE PAGE PAGES
//   truncate FILE PAGES     msync MAP PAGE PAGES
//   fsync FILE              answers the file's mtime before, in us; times FILE: only that
//   commit                  the fsync of a directory
//   fork THREAD             a child runs the script of that thread, and ends
//   op THREAD AT_NS CALL...      go START_NS    to which `= done` is the answer
//
// A call that fails answers the name of its errno; an access that meets SIGBUS answers SIGBUS.
#define _GNU_SOURCE
#include "actor.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  kThreadsMax = 16,
  kCallsMax = 64,  // in a script
};

struct Script {
  struct Call calls[kCallsMax];
  int call_count;
  int number;  // the caller's of the thread
  bool is_forked;
};

static struct Script scripts[kThreadsMax];
static int64_t start_ns;

void Stop(const char* why, const char* what) {
  fprintf(stderr, "actor: %s: %s\n", why, what);
  _exit(2);
}

static int64_t NowNs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000L + now.tv_nsec;
}

static void SleepUntil(int64_t ns) {
  const struct timespec until = {.tv_sec = ns / 1000000000L, .tv_nsec = ns % 1000000000L};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
  }
}

static void Say(const char* format, ...) __attribute__((format(printf, 1, 2)));

static void Say(const char* format, ...) {
  char line[kLineBytesMax];
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(line, sizeof(line), format, arguments);
  va_end(arguments);
  if (length >= (int)sizeof(line)) Stop("a line is too long", line);
  // The caller is gone: so are we.
  if (write(STDOUT_FILENO, line, (size_t)length) != length) _exit(0);
}

long long Number(const struct Call* call, int word) {
  if (word >= call->word_count) Stop("too few words after", call->words[0]);
  return strtoll(call->words[word], NULL, 10);
}

static void RunScript(const struct Script* script) {
  for (int at = 0; at < script->call_count; at++) {
    const struct Call* call = &script->calls[at];
    SleepUntil(start_ns + call->at_ns);
    struct Result result;
    const int64_t begin_ns = NowNs();
    Run(call, &result);
    const int64_t end_ns = NowNs();
    Say("r %d %d %lld %lld %s\n", script->number, at, (long long)begin_ns, (long long)end_ns,
        result.text);
  }
}

void Fork(const struct Call* call, struct Result* result) {
  const int number = (int)Number(call, 1);
  if (number >= kThreadsMax) Stop("no such thread", call->words[1]);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    // Whoever waits for our results waits for the parent.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    RunScript(&scripts[number]);
    _exit(0);
  }
  SetStatus(result, child);
}

static void* RunThread(void* script) {
  RunScript(script);
  return NULL;
}

// Threads whose script a fork runs have none here.
static void Go(const struct Call* call) {
  start_ns = Number(call, 1);
  pthread_t threads[kThreadsMax];
  bool is_started[kThreadsMax] = {false};
  for (int at = 0; at < kThreadsMax; at++) {
    if (scripts[at].call_count == 0 || scripts[at].is_forked) continue;
    if (pthread_create(&threads[at], NULL, RunThread, &scripts[at]) != 0) Stop("no thread", "go");
    is_started[at] = true;
  }
  for (int at = 0; at < kThreadsMax; at++) {
    if (is_started[at]) pthread_join(threads[at], NULL);
  }
  while (wait(NULL) > 0 || errno == EINTR) {
  }
  memset(scripts, 0, sizeof(scripts));
  Say("= done\n");
}

// @return false for a line without words
static bool Split(struct Call* call, const char* text) {
  *call = (struct Call){.word_count = 0};
  if (strlen(text) >= kLineBytesMax) Stop("a line is too long", text);
  strcpy(call->line, text);
  char* rest = NULL;
  for (char* word = strtok_r(call->line, " \n", &rest); word != NULL;
       word = strtok_r(NULL, " \n", &rest)) {
    if (call->word_count == kWordsMax) Stop("too many words", text);
    call->words[call->word_count++] = word;
  }
  return call->word_count > 0;
}

// op THREAD AT_NS CALL...
static void Note(const char* text) {
  int number = 0;
  long long at_ns = 0;
  int used = 0;
  if (sscanf(text, "op %d %lld %n", &number, &at_ns, &used) != 2) Stop("not understood", text);
  if (number < 0 || number >= kThreadsMax) Stop("no such thread", text);
  struct Script* script = &scripts[number];
  if (script->call_count == kCallsMax) Stop("a script is too long", text);
  struct Call* call = &script->calls[script->call_count++];
  if (!Split(call, text + used)) Stop("not understood", text);
  call->at_ns = at_ns;
  script->number = number;
  if (strcmp(call->words[0], "fork") == 0) {
    const long long child = Number(call, 1);
    if (child >= 0 && child < kThreadsMax) scripts[child].is_forked = true;
  }
}

int main(int argc, char** argv) {
  if (argc != 2 || chdir(argv[1]) != 0) Stop("usage", "actor DIR");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  CallsBegin();
  static char line[kLineBytesMax];
  while (fgets(line, sizeof(line), stdin) != NULL) {
    if (strncmp(line, "op ", 3) == 0) {
      Note(line);
      continue;
    }
    struct Call call;
    if (!Split(&call, line)) continue;
    if (strcmp(call.words[0], "go") == 0) {
      Go(&call);
      continue;
    }
    struct Result result;
    Run(&call, &result);
    Say("= %s\n", result.text);
  }
  return 0;
}
