/**
 * The numbers that C, C++ and TypeScript each write down: those of native/wire.h are in
 * fs/dax/wire.ts, those of mapping calls in native/recorder.h and lib/trace/request.ts.
 */
import { readFileSync } from 'node:fs';
import t from 'tap';
import * as wire from '../../fs/dax/wire.js';
import { MAPPING_OP } from '../../lib/trace/request.js';

/** Names with the values that a header gives them: macros, and enumerators with a number. */
function constantsOf(path: string): Map<string, string | number> {
  const text = readFileSync(path, 'utf8');
  const constants = new Map<string, string | number>();
  const macro = /^#define (\w+) (?:(\d\w*)|"([^"]*)")/gm;
  for (const [, name, number, words] of text.matchAll(macro)) {
    constants.set(name as string, words ?? Number((number as string).replace(/u$/, '')));
  }
  const enumerator = /\b(\w+) = (\d\w*)\s*[,}]/g;
  for (const [, name, number] of text.matchAll(enumerator)) {
    constants.set(name as string, Number(number));
  }
  return constants;
}

t.test('every number of the wire is the one of its header', (t) => {
  const header = constantsOf('native/wire.h');
  t.equal(header.get('WIRE_HELLO'), 1, 'the header is read');
  for (const [name, value] of Object.entries(wire)) t.equal(value, header.get(name), name);
  t.end();
});

t.test('a program under run can be told of every flag that the shim knows', (t) => {
  for (const name of constantsOf('native/wire.h').keys()) {
    if (!/^WIRE_(RUN|MAP|ENV)_/.test(name)) continue;
    t.ok(Object.hasOwn(wire, name), name);
  }
  t.end();
});

t.test('calls of mappings have one number each, in a recording and out of it', (t) => {
  const header = constantsOf('native/recorder.h');
  const numbers = { STORE: 'kStore', FLUSH: 'kFlush', DRAIN: 'kDrain', MSYNC: 'kSync' };
  const others = { FAULT: 'kFault', FALLOCATE: 'kFallocate' };
  const expected = Object.entries({ ...numbers, ...others }).map(
    ([name, word]) => [`DAX_${name}`, header.get(word)] as const,
  );
  t.strictSame(MAPPING_OP, Object.fromEntries(expected));
  t.end();
});
