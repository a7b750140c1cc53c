/**
 * One crash state as a filesystem can be opened on it: region pages made when they are read, and
 * the database of its metadata. Nothing is copied that nobody reads. Immutable: whoever opens a
 * state writes to a copy of his own (OverlayRegion).
 */
import type { BaseImage } from '../../trace/source.js';
import type { StateChoice } from '../choice.js';

export interface CrashState extends BaseImage {
  readonly choice: StateChoice;
  /**
   * SHA-256 over the metadata's content and the bytes of every written page it maps, hex. Equal
   * hashes are equal images to everybody who looks at them as files.
   */
  imageHash(): string;
  /** Identity of the metadata alone; equal strings have equal databases. */
  readonly metadataKey: string;
  /** No page() after this; what it held may be freed. May be called twice. */
  release(): void;
}
