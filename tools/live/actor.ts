/**
 * One process of a scenario: native/actor.c under the shim of `fauxdax run`, asked by lines. Answers come
 * in the order of the calls; what scripts came to comes before the answer to `go`.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { join } from 'node:path';
import { builtFolder } from '../../lib/native.js';
import { Failure } from '../failure.js';
import { EXIT_ENVIRONMENT } from '../namespace.js';

/** What one call of a script came to. */
export interface Line {
  thread: number;
  /** In the script. */
  index: number;
  /** On the monotonic clock. */
  beginNs: number;
  endNs: number;
  text: string;
}

/** The process ended, or did not answer in time. */
export class ActorLost extends Error {
  override readonly name = 'ActorLost';
}

export class Actor {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: { resolve: (text: string) => void; reject: (error: Error) => void }[] = [];
  readonly #exited: Promise<void>;
  #lines: Line[] = [];
  #rest = '';
  #said = '';
  #isOpen = true;
  #heard: (line: Line) => void = () => {};

  /** @param environment what has the process's mappings served directly */
  constructor(
    readonly name: string,
    dir: string,
    environment: Record<string, string>,
  ) {
    this.#child = spawn(join(builtFolder(), 'actor'), [dir], {
      env: { ...process.env, ...environment },
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
    this.#child.stdin.on('error', () => undefined);
    this.#exited = new Promise((resolve) => {
      const ended = (how: string): void => {
        this.#isOpen = false;
        const said = this.#said.trim();
        const lost = new ActorLost(`${name} ${how}${said === '' ? '' : `: ${said}`}`);
        for (const { reject } of this.#waiting.splice(0)) reject(lost);
        resolve();
      };
      this.#child.once('error', (error) => ended(`was not started: ${error.message}`));
      this.#child.once('close', (status, signal) =>
        ended(`ended with ${signal ?? `status ${status}`}`),
      );
    });
  }

  /** Makes calls one after the other. @returns what each came to, as native/actor.c says it */
  async ask(calls: readonly string[], waitMs: number): Promise<string[]> {
    if (calls.length === 0) return [];
    const answers = calls.map(
      () => new Promise<string>((resolve, reject) => this.#waiting.push({ resolve, reject })),
    );
    // All are heard even when the first is not.
    for (const answer of answers) answer.catch(() => undefined);
    if (!this.#isOpen) throw new ActorLost(`${this.name} has ended`);
    this.#child.stdin.write(`${calls.join('\n')}\n`);
    return await this.#inTime(Promise.all(answers), waitMs);
  }

  /** Calls that cannot fail unless the machine or the filesystem is broken. @throws {Failure} */
  async must(calls: readonly string[], waitMs: number): Promise<void> {
    const answers = await this.ask(calls, waitMs);
    const at = answers.findIndex((answer) => !answer.startsWith('ok'));
    if (at < 0) return;
    throw new Failure(`race: ${this.name}: ${calls[at]}: ${answers[at]}`, EXIT_ENVIRONMENT);
  }

  /** Notes a call of a thread's script. @param atNs from the start on, when it begins at the earliest */
  note(thread: number, atNs: number, call: string): void {
    this.#child.stdin.write(`op ${thread} ${atNs} ${call}\n`);
  }

  /** Runs the scripts. @param startNs on the monotonic clock. @returns what all their calls came to */
  async go(startNs: number, waitMs: number): Promise<Line[]> {
    this.#lines = [];
    await this.ask([`go ${startNs}`], waitMs);
    return this.#lines;
  }

  /** Resolves once a call of a script that `is` meant has ended; in any case after `waitMs`. */
  async told(is: (line: Line) => boolean, waitMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, waitMs);
      this.#heard = (line) => {
        if (is(line)) resolve();
      };
    });
    clearTimeout(timer);
    this.#heard = () => {};
  }

  /** What calls of scripts that have not ended came to so far. */
  get lines(): readonly Line[] {
    return this.#lines;
  }

  async #inTime<T>(answer: Promise<T>, waitMs: number): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new ActorLost(`${this.name} has not answered in ${waitMs / 1000} s`);
      timer = setTimeout(() => reject(error), waitMs);
    });
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('= ')) {
        this.#waiting.shift()?.resolve(line.slice(2));
        continue;
      }
      const [, thread, index, beginNs, endNs, ...words] = line.split(' ');
      const done = {
        thread: Number(thread),
        index: Number(index),
        beginNs: Number(beginNs),
        endNs: Number(endNs),
        text: words.join(' '),
      };
      this.#lines.push(done);
      this.#heard(done);
    }
  }

  /** It ends by itself. */
  async end(): Promise<void> {
    this.#child.stdin.end();
    await this.#exited;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
