#!/usr/bin/env node
/**
 * The `fauxdax` command: hands the arguments to tools/program.ts and turns what comes back into an
 * exit status. No command is carried out here.
 */
import { report } from './failure.js';
import { runProgram } from './program.js';

// A reader that has seen enough (`fauxdax info | head -1`) ends the command, as SIGPIPE would.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? undefined : report(error));
});

process.exitCode = await runProgram(process.argv.slice(2));
