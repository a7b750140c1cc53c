/**
 * The recorder of a mount: typed as the rest of the program sees it, over the addon's object, which
 * native/recorder.h describes. Everything runs on the JavaScript thread that calls it.
 */
import { MAPPING_OP, type MappingOperation } from '../trace/request.js';
import { run } from './errno.js';

/** What a recorded program prints to: a FIFO that its maker has made. */
export interface RecordedOutput {
  path: string;
  stream: 'stdout' | 'mark';
}

/** A call of a mapping to record; native/recorder.h has the native side's. */
export interface MappingCall {
  operation: MappingOperation;
  /** The calling process; 0: it is not known who. */
  pid: number;
  /** Its thread as it knows itself, gettid(2). */
  tid: number;
  ino: number;
  /** In the file. */
  offset: number;
  lengthBytes: number;
  /** DAX_FAULT: 1 for a store. DAX_FALLOCATE: the mode. Others: 0. */
  flags: number;
}

/** Of this recording, not of what was in the trace before. */
export interface RecorderCounters {
  events: number;
  chunks: number;
  calls: number;
}

/**
 * Appends events to a trace (SPEC.md, Trace) in one total order. What is written to the outputs is
 * taken before each call of a program is recorded, and by drain().
 *
 * When the trace file fails, events are thrown away from there on, and drain(), sync() and finish()
 * throw: whoever records looks by calling drain() often.
 */
export interface Recorder {
  /**
   * Records what the native code cannot know; attributed to the call being served on this thread.
   * `metadata`: a record as JSON. `commit`: the reason. `force`: the kind, and the inode as `value`.
   * `workload-end`: the signal or nothing, and the exit status or -1 as `value`; the outputs are
   * emptied before, also of an unfinished line.
   */
  append(kind: 'metadata' | 'commit' | 'force' | 'workload-end', text: string, value: number): void;
  /**
   * What a program does through a DAX mapping begins: the outputs are emptied, the call recorded.
   * @returns its number, odd; end() is to follow
   */
  begin(call: MappingCall): number;
  /**
   * What this thread records from here on belongs to that call, to none with 0.
   * @returns the call it belonged to before
   */
  serve(callId: number): number;
  /** The call is answered next. @param error 0, or the positive errno */
  end(callId: number, error: number): void;
  /** Takes what the outputs hold. @throws {Errno} when the trace cannot be written */
  drain(): void;
  /** Waits until all events so far are in the file. @throws {Errno} when it cannot be written */
  sync(): void;
  /**
   * Ends the trace: it is whole, and on the disk. Nothing may be recorded afterwards.
   * @throws {Errno} when it cannot be written
   */
  finish(): void;
  /** Lets go without an end: the trace counts as cut. May be called twice, and after finish(). */
  close(): void;
  counters(): RecorderCounters;
}

/** native/recorder_object.h. */
export interface AddonRecorder extends Omit<Recorder, 'append' | 'begin'> {
  append(kind: number, text: string, value: number): void;
  begin(
    operation: number,
    pid: number,
    tid: number,
    ino: number,
    offset: number,
    lengthBytes: number,
    flags: number,
  ): number;
}

export type RecorderConstructor = new (
  path: string,
  outputs: { path: string; stream: number }[],
) => AddonRecorder;

/** Event kinds of SPEC.md, Trace, that are recorded from here. */
const EVENT_KIND = { metadata: 8, commit: 9, force: 10, 'workload-end': 13 } as const;
const STREAM = { stdout: 0, mark: 1 } as const;

export class FileRecorder implements Recorder {
  /** What the addon takes; opaque to everybody else. */
  readonly recorder: AddonRecorder;

  constructor(
    addonRecorder: RecorderConstructor,
    path: string,
    outputs: readonly RecordedOutput[],
  ) {
    const numbered = outputs.map((output) => ({
      path: output.path,
      stream: STREAM[output.stream],
    }));
    this.recorder = run(() => new addonRecorder(path, numbered));
  }

  append(kind: keyof typeof EVENT_KIND, text: string, value: number): void {
    this.recorder.append(EVENT_KIND[kind], text, value);
  }

  begin({ operation, pid, tid, ino, offset, lengthBytes, flags }: MappingCall): number {
    const code = MAPPING_OP[operation];
    return this.recorder.begin(code, pid, tid, ino, offset, lengthBytes, flags);
  }

  serve(callId: number): number {
    return this.recorder.serve(callId);
  }

  end(callId: number, error: number): void {
    this.recorder.end(callId, error);
  }

  drain(): void {
    run(() => this.recorder.drain());
  }

  sync(): void {
    run(() => this.recorder.sync());
  }

  finish(): void {
    run(() => this.recorder.finish());
  }

  close(): void {
    this.recorder.close();
  }

  counters(): RecorderCounters {
    return this.recorder.counters();
  }
}

/** What the addon takes for a recorder. */
export function addonRecorder(recorder: Recorder): AddonRecorder {
  if (!(recorder instanceof FileRecorder)) throw new TypeError('recorder is not a trace recorder');
  return recorder.recorder;
}
