/**
 * JUnit XML, as CI systems read it: a test suite for each model, in it a test case for each oracle.
 * An exploration that ended early passes, and says so in the output of its cases.
 */
import XmlBuilder from 'fast-xml-builder';
import type { FailureResult, ModelResult, Result } from '../../lib/crash/result/result.js';
import { visible, visibleLines } from './visible.js';
import {
  describeOutcome,
  describeVerified,
  UNKNOWN_NEED,
  whatHappened,
  END_MEANS,
  ORACLE_MEANS,
} from './words.js';
import type { OracleName } from '../../lib/crash/search/oracles.js';

type Element = Record<string, unknown>;

export function junitXml(result: Result): string {
  const suites = result.models.map((model) => testSuite(result, model));
  const count = (name: string): number =>
    suites.reduce((sum, suite) => sum + Number(suite[name]), 0);
  const builder = new XmlBuilder({ ignoreAttributes: false, format: true });
  return builder.build({
    '?xml': { '@_version': '1.0', '@_encoding': 'UTF-8' },
    testsuites: {
      '@_name': 'fauxdax',
      '@_tests': count('@_tests'),
      '@_failures': count('@_failures'),
      '@_errors': 0,
      '@_time': seconds(result.durationMs),
      testsuite: suites,
    },
  });
}

function testSuite(result: Result, model: ModelResult): Element {
  const cases = result.oracles.map((oracle) => testCase(result, model, oracle));
  const failed = cases.filter((one) => one['failure'] !== undefined).length;
  return {
    '@_name': `fauxdax.${model.model}`,
    '@_tests': cases.length,
    '@_failures': failed,
    '@_errors': 0,
    '@_skipped': 0,
    '@_time': seconds(model.durationMs),
    properties: {
      property: [
        { '@_name': 'workload', '@_value': visible(result.workload) },
        { '@_name': 'check', '@_value': visible(result.check) },
        { '@_name': 'seed', '@_value': result.seed },
        { '@_name': 'end', '@_value': model.end },
      ],
    },
    testcase: cases,
  };
}

function testCase(result: Result, model: ModelResult, oracle: OracleName): Element {
  const failures = result.failures.filter(
    (one) => one.oracle === oracle && one.models.includes(model.model),
  );
  return {
    '@_name': `${oracle}: ${ORACLE_MEANS[oracle]}`,
    '@_classname': `fauxdax.${model.model}`,
    // The time of the model is not divisible by oracles; each has it once, as the suite has.
    '@_time': seconds(oracle === result.oracles[0] ? model.durationMs : 0),
    ...(failures.length === 0 ? {} : { failure: failures.map(failureElement) }),
    'system-out': `${model.states.run} states run; ${model.end}: ${END_MEANS[model.end]}`,
  };
}

function failureElement(failure: FailureResult): Element {
  const { outcome, explanation } = failure;
  const lines = [
    whatHappened(failure),
    `Needs: ${explanation.needs || UNKNOWN_NEED}`,
    describeVerified(failure),
    `Replay: fauxdax replay ${failure.id}`,
    ...(outcome === null ? [] : [describeOutcome(outcome), outcome.stdout, outcome.stderr]),
  ];
  return {
    '@_message': visible(failure.summary),
    '@_type': failure.oracle,
    '#text': visibleLines(lines.filter((line) => line !== '').join('\n')),
  };
}

const seconds = (ms: number): string => (ms / 1000).toFixed(3);
