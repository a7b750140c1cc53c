/** What a live round, or what all of them left behind, can be judged to have broken; SPEC.md says what each is. */
export const LIVE_INVARIANTS = [
  'load',
  'other-file',
  'pte-under-pmd',
  'pmd-over-pte',
  'bus',
  'media',
  'foreign',
  'progress',
  'times',
  'error',
  'fsck',
] as const;
export type LiveInvariant = (typeof LIVE_INVARIANTS)[number];

export interface LiveViolation {
  invariant: LiveInvariant;
  message: string;
}
