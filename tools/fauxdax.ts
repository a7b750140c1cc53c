#!/usr/bin/env node
/**
 * The `fauxdax` command: hands the arguments to tools/program.ts and turns what comes back into an
 * exit status. No command is carried out here.
 */
import { runProgram } from './program.js';

process.exitCode = await runProgram(process.argv.slice(2));
