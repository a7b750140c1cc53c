/**
 * A mount that is recorded: everything that happens to its image is appended to a trace (SPEC.md,
 * Trace), from the first store after opening to the last one of closing. The native recorder sees
 * calls, stores and outputs by itself; this adds what only TypeScript knows: records of metadata,
 * commits, what programs forced, and the end of the workload.
 *
 * Order that matters: the recorder is there before the image is opened, the metadata has its sink
 * before the filesystem does anything, and finish() comes after the image was closed in order. A
 * trace that was not finished counts as cut.
 */
import { Errno } from '../lib/errno.js';
import type { Metadata } from '../lib/metadata/metadata.js';
import type { Recorder } from '../lib/addon/recorder.js';
import type { NativeRegion } from '../lib/addon/region.js';
import type { Native } from '../lib/native.js';
import { recordJson } from '../lib/trace/codec.js';
import type { CommitReason, ForceKind } from '../lib/trace/event.js';
import type { DurabilityLog } from './filesystem.js';
import type { Job, RecordJob } from './job.js';

/** How long what a program printed may wait in its FIFO when it asks for nothing. */
const DRAIN_MS = 10;

/** The daemon's exit status when the trace could not be written. */
export const RECORDING_FAILED_STATUS = 74;

export class Recording implements DurabilityLog {
  readonly #native: Native;
  readonly recorder: Recorder;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  /** @throws {Errno} EOPNOTSUPP where a recording would not tell the truth; see openRecorder too */
  constructor(native: Native, { trace, outputs }: RecordJob, options: Job['options']) {
    const cannot = { crashable: options.crashable, ro: options.readOnly };
    for (const [word, is] of Object.entries(cannot)) {
      if (is) throw new Errno('EOPNOTSUPP', `a recorded mount cannot have -o ${word}`);
    }
    if (options.transport !== 'kernel') {
      throw new Errno('EOPNOTSUPP', 'a recorded mount needs -o transport=kernel');
    }
    this.#native = native;
    this.recorder = native.openRecorder(trace, { outputs });
  }

  /** Maps the region and records it from its first store on; for openImage(). */
  readonly openRegion: Native['openRegion'] = (path, pageCount, options): NativeRegion => {
    const region = this.#native.openRegion(path, pageCount, options);
    region.record(this.recorder);
    return region;
  };

  /** Records the changes of metadata from here on. */
  attach(metadata: Metadata): void {
    metadata.sink = (record) => this.recorder.append('metadata', recordJson(record), 0);
  }

  /** Takes what programs print, also when they ask for nothing. @param failed called once */
  start(failed: (error: Errno) => void): void {
    this.#timer = setInterval(() => {
      try {
        this.recorder.drain();
      } catch (error) {
        if (!(error instanceof Errno)) throw error;
        clearInterval(this.#timer);
        failed(error);
      }
    }, DRAIN_MS);
  }

  committed(reason: CommitReason): void {
    this.recorder.append('commit', reason, 0);
  }

  forced(kind: ForceKind, ino: number): void {
    this.recorder.append('force', kind, ino);
  }

  /**
   * The workload ended; everything it did is in the file when this returns.
   * @throws {Errno} EALREADY the second time; or the trace cannot be written
   */
  endWorkload(exitStatus: number | null, signal: string | null): void {
    if (this.#ended) throw new Errno('EALREADY', 'the end of the workload is recorded');
    this.#ended = true;
    this.recorder.append('workload-end', signal ?? '', exitStatus ?? -1);
    this.recorder.sync();
  }

  /** The image is closed in order: the trace is whole. @throws {Errno} it cannot be written */
  finish(): void {
    clearInterval(this.#timer);
    this.recorder.finish();
  }

  /** Lets go of a trace that stays without its end. */
  close(): void {
    clearInterval(this.#timer);
    this.recorder.close();
  }
}
