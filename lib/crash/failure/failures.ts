/**
 * The failures of an exploration: tells new ones from those that are known in another state, and
 * makes of each new one what a person can use: the smallest state that fails so, why, which order is
 * missing, under which models. Called between two runs of the exploration, never beside them.
 */
import type { TraceSource } from '../../trace/source.js';
import { CallBook } from './calls.js';
import { MODEL_NAMES, type ModelName, type StateChoice } from '../choice.js';
import { differences } from './differences.js';
import { type Evidence, lostCalls, Witness } from './evidence.js';
import { explain } from './explain.js';
import { type Exploration, type Failing, NOTHING_LOST } from '../search/exploration.js';
import { failureId } from './failure_id.js';
import { atPoint, lossOf, type Minimal, Minimiser } from './minimise.js';
import { judgeOutcomes, sameAnswer } from '../search/oracles.js';
import type { Explanation, FailureResult } from '../result/result.js';
import type { Observation } from '../search/runner.js';
import { roundChoices, type Site } from '../search/strategy.js';
import { verify } from './verify.js';

/** Failing states that are made small for each failure that is wanted. */
const LOOKS_PER_FAILURE = 3;
const OTHER_MODEL_POINTS_MAX = 12;
const OTHER_MODEL_STATES_MAX = 80;

export interface FailureBookParts {
  source: TraceSource;
  failuresMax: number;
  onPhase: (phase: 'minimising' | 'verifying') => void;
  /** An exploration of the same trace under another model. */
  otherModel: (model: ModelName, like: Exploration) => Exploration | undefined;
  shouldStop: () => boolean;
}

export class FailureBook {
  /** In the order they were found. */
  readonly results: FailureResult[] = [];
  /** Failing states that nobody looked into. */
  unexplained = 0;
  private readonly signatures: { oracle: string; lost: ReadonlySet<string> }[] = [];
  private looks = 0;
  private calls: CallBook | undefined;

  constructor(private readonly parts: FailureBookParts) {}

  /** @returns false when more are not wanted */
  async add(failing: Failing, exploration: Exploration): Promise<boolean> {
    const { failuresMax, shouldStop } = this.parts;
    const known = await this.known(failing, exploration);
    if (known !== undefined) {
      known.similar++;
      return true;
    }
    if (this.looks >= failuresMax * LOOKS_PER_FAILURE || (shouldStop() && this.looks > 0)) {
      this.unexplained++;
      return true;
    }
    this.looks++;
    this.parts.onPhase('minimising');
    await this.lookInto(failing, exploration);
    return this.results.length < failuresMax;
  }

  private get book(): CallBook {
    this.calls ??= new CallBook(this.parts.source);
    return this.calls;
  }

  private async known(
    failing: Failing,
    exploration: Exploration,
  ): Promise<FailureResult | undefined> {
    if (this.results.length === 0) return undefined;
    if (failing.site !== undefined) return this.knownLike(failing.site, failing);
    return await atPoint(exploration, failing.pointIndex, async (site) =>
      this.knownLike(site, failing),
    );
  }

  /** A failure whose loss is part of what this state lost. */
  private knownLike(site: Site, { choice, verdict }: Failing): FailureResult | undefined {
    const lost = this.lostShapes(site, choice);
    const index = this.signatures.findIndex(
      (one) => one.oracle === verdict.oracle && [...one.lost].every((shape) => lost.has(shape)),
    );
    return index < 0 ? undefined : this.results[index];
  }

  private lostShapes(site: Site, choice: StateChoice): Set<string> {
    const ids = lostCalls(site, lossOf(site, choice));
    return new Set([...ids].map((callId) => this.book.shape(callId)));
  }

  private async lookInto(failing: Failing, exploration: Exploration): Promise<void> {
    const flaky = await this.answersTwice(failing, exploration);
    if (flaky !== undefined) {
      await this.report(exploration, failingAsMinimal(failing), flaky, undefined);
      return;
    }
    const minimal = await new Minimiser(exploration, this.parts.shouldStop).minimise(failing);
    const again = await this.answersTwice(minimal, exploration);
    if (again !== undefined) {
      await this.report(exploration, minimal, again, undefined);
      return;
    }
    const { oracle } = minimal.verdict;
    const site = exploration.siteAt(minimal.position);
    const lost = this.lostShapes(site, minimal.choice);
    const evidence = await new Witness(exploration, this.book).evidence(site, minimal);
    const same = this.signatures.findIndex(
      (one) => one.oracle === oracle && one.lost.size === lost.size && isSubset(one.lost, lost),
    );
    if (same >= 0) {
      this.results[same]!.similar++;
      return;
    }
    this.signatures.push({ oracle, lost });
    await this.report(exploration, minimal, undefined, evidence);
  }

  /** Runs a failing state twice more. @returns what is wrong with the check when it is */
  private async answersTwice(
    { choice }: { choice: StateChoice },
    exploration: Exploration,
  ): Promise<string | undefined> {
    const site = exploration.siteAt(choice.position);
    const answers: Observation[] = [];
    for (let count = 0; count < 2; count++) {
      answers.push(await exploration.runAgain(site, choice));
    }
    const comparesOutput = exploration.comparesOutput;
    const remembered = await exploration.observe(site, choice);
    const differs = answers.some((answer) => !sameAnswer(answer, remembered, comparesOutput));
    if (!differs) return undefined;
    const said = [remembered, ...answers].map(
      (answer) => judgeOutcomes(answer)?.summary ?? 'it passed',
    );
    return `The check gives different answers on one and the same image: ${said.join('; ')}.`;
  }

  private async report(
    exploration: Exploration,
    minimal: Minimal,
    flaky: string | undefined,
    evidence: Evidence | undefined,
  ): Promise<void> {
    const { choice, verdict } = minimal;
    const { model, position } = choice;
    const { point } = exploration.siteAt(position);
    const state = point.state(choice);
    const whole = point.state({ ...choice, model, position, ...NOTHING_LOST });
    const imageHash = state.imageHash();
    const files = differences(state, whole);
    state.release();
    whole.release();
    const explanation =
      evidence === undefined
        ? unexplained(flaky ?? verdict.summary)
        : await this.explained(exploration, minimal, evidence, files);
    if (evidence === undefined) this.signatures.push({ oracle: verdict.oracle, lost: new Set() });
    this.results.push({
      id: failureId(choice, imageHash),
      oracle: verdict.oracle,
      models:
        evidence === undefined ? [model] : await this.modelsOf(exploration, minimal, evidence),
      choice,
      imageHash,
      summary: flaky === undefined ? verdict.summary : 'the check does not decide',
      outcome: verdict.outcome,
      explanation,
      files,
      similar: 1,
    });
  }

  private async explained(
    exploration: Exploration,
    minimal: Minimal,
    evidence: Evidence,
    files: FailureResult['files'],
  ): Promise<Explanation> {
    const { model } = minimal.choice;
    const words = explain({ evidence, files, model, summary: minimal.verdict.summary });
    this.parts.onPhase('verifying');
    const { shouldStop } = this.parts;
    const verified = await verify({ exploration, book: this.book, minimal, evidence, shouldStop });
    return { ...words, verified };
  }

  /** Models under which a state near this one fails in the same way, the one it was found by first. */
  private async modelsOf(
    exploration: Exploration,
    minimal: Minimal,
    evidence: Evidence,
  ): Promise<ModelName[]> {
    const models = [minimal.choice.model];
    const from = evidence.lost[0]?.text.position ?? minimal.position;
    for (const model of MODEL_NAMES) {
      if (model === minimal.choice.model || this.parts.shouldStop()) continue;
      const other = this.parts.otherModel(model, exploration);
      if (other !== undefined && (await this.failsUnder(other, minimal, from))) models.push(model);
    }
    return models;
  }

  /** Looks between the first lost call and a little after the crash, the nearest last. */
  private async failsUnder(other: Exploration, minimal: Minimal, from: number): Promise<boolean> {
    const { position, verdict } = minimal;
    let points = 0;
    let states = 0;
    for (const point of other.sweep()) {
      if (point.position < Math.min(from, position)) continue;
      if (++points > OTHER_MODEL_POINTS_MAX) return false;
      const site = other.site(point);
      for (const round of ['ends', 'metadata', 'calls', 'lines'] as const) {
        for (const choice of roundChoices(site, round)) {
          if (++states > OTHER_MODEL_STATES_MAX || this.parts.shouldStop()) return false;
          const found = await other.judge(site, choice);
          if (found?.oracle === verdict.oracle) return true;
        }
      }
    }
    return false;
  }
}

function failingAsMinimal({ pointIndex, choice, verdict }: Failing): Minimal {
  const loss = { operations: [], lines: [] };
  return { pointIndex, position: choice.position, choice, verdict, loss };
}

function unexplained(text: string): Explanation {
  return { text, lost: [], survived: [], needs: '', verified: null };
}

function isSubset(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return [...a].every((item) => b.has(item));
}
