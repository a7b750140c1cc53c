/**
 * Loaded into every test file by `.taprc`: what a test starts is started as its user would start it.
 * Tap puts a module of its own (process information, for coverage) before each node process below a
 * test. That costs a process more time than all the rest of its start, adds handlers of signals to a
 * daemon, and writes files where a test may have become somebody who must not.
 */
import processOnSpawn from 'process-on-spawn';

const TAPS_OWN = /"?--import=[^" ]*@tapjs\/processinfo[^" ]*"?/g;

processOnSpawn.addListener((child) => {
  const { NODE_OPTIONS: options = '', ...env } = child.env;
  const left = options.replace(TAPS_OWN, '').trim();
  child.env = left === '' ? env : { ...env, NODE_OPTIONS: left };
});
