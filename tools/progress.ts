/**
 * One line on a terminal that says how far a run is, rewritten in place; nothing at all where
 * stderr is no terminal.
 */
import { createLogUpdate } from 'log-update';
import pc from 'picocolors';
import type { Progress } from '../lib/crash/explorer.js';
import { formatCount, formatMs } from './report/words.js';

const PHASES: Record<Progress['phase'], string> = {
  baseline: 'trying the check where nothing was lost',
  exploring: 'exploring',
  minimising: 'making the failure smaller',
  verifying: 'trying the missing order',
};
/** A terminal cannot show more, and writing costs. */
const WRITE_MS_MIN = 100;

export class ProgressLine {
  readonly #color = pc.createColors(process.env['NO_COLOR'] === undefined);
  readonly #update = process.stderr.isTTY === true ? createLogUpdate(process.stderr) : undefined;
  #writtenMs = 0;

  /** A step without numbers: `recording the workload`. */
  step(text: string): void {
    this.#update?.(this.#color.dim(`fauxdax: ${text}`));
    this.#writtenMs = 0;
  }

  readonly show = (progress: Progress): void => {
    if (this.#update === undefined) return;
    const nowMs = performance.now();
    if (nowMs - this.#writtenMs < WRITE_MS_MIN) return;
    this.#writtenMs = nowMs;
    this.#update(this.#text(progress));
  };

  /** Takes the line away. */
  clear(): void {
    this.#update?.clear();
    this.#update?.done();
  }

  #text(progress: Progress): string {
    const { red, dim } = this.#color;
    const { done, total } = progress.crashPoints;
    const failing = `${progress.failing} failing`;
    const parts = [
      `${progress.model}: ${PHASES[progress.phase]}`,
      `${formatCount(progress.considered)} states done`,
      `${formatCount(progress.run)} run`,
      `${formatCount(progress.unique)} unique`,
      progress.failing > 0 ? red(failing) : failing,
      `${Math.round(progress.perSecond)}/s`,
      `crash points ${done} of ${total}`,
    ];
    if (progress.secondsLeft !== null) parts.push(`${formatMs(progress.secondsLeft * 1000)} left`);
    return parts.join(dim(' · '));
  }
}
