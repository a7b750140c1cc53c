/** Processes of programs with served.h, under `fauxdax run`: each case is a line, and its answer one. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { compiled, program } from './place.js';

const stepMsMax = 60_000;

export class Served {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  readonly #exited: Promise<unknown>;

  /** @param source `reader` or `writer`; with `isServed` false under --no-data */
  constructor(t: Test, source: string, dir: string, isServed: boolean) {
    const how = isServed ? [] : ['--no-data'];
    const words = [dir, isServed ? 'served' : 'kernel'];
    const command = [program, 'run', ...how, dir, '--', compiled(source), ...words];
    const child = spawn(process.execPath, command);
    this.#child = child;
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    child.stderr.on('data', (text: Buffer) => t.comment(String(text)));
    this.#exited = new Promise((resolve) => child.once('exit', resolve));
    t.teardown(async () => {
      if (child.exitCode === null) child.kill('SIGTERM');
      await this.end();
    });
  }

  async end(): Promise<void> {
    this.#child.stdin.end();
    await this.#exited;
  }

  async run(name: string): Promise<string> {
    this.#child.stdin.write(`${name}\n`);
    const late = new Promise<never>((_, reject) => {
      setTimeout(() => reject(new Error(`no answer to: ${name}`)), stepMsMax).unref();
    });
    const next = await Promise.race([this.#answers.next(), late]);
    return next.done === true ? 'the program has ended' : next.value;
  }
}
