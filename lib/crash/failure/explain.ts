/**
 * Puts a minimal failing state into words for somebody who has to repair the program: what was
 * lost, what is there although it depends on that, what the files look like now, which order is
 * missing. Says only what evidence.ts saw in runs and what differences.ts found in the files.
 */
import { directoryOf, type KnownCall, NAME_OPERATIONS, type StoreFate } from './calls.js';
import type { ModelName } from '../choice.js';
import type { Evidence, Survivor } from './evidence.js';
import type { Explanation, FileDifference } from '../result/result.js';
import { LINE_BYTES } from '../../units.js';
import type { CallText } from '../../trace/call_text.js';

const DATA_OPERATIONS = new Set(['WRITE', 'COPY_FILE_RANGE', 'COPY_FILE_RANGE_64', 'DAX_STORE']);
const ATTRIBUTE_OPERATIONS = /^(SETXATTR|REMOVEXATTR|SETATTR)$/;
const SHOWN_MAX = 8;

export interface ToExplain {
  evidence: Evidence;
  files: readonly FileDifference[];
  model: ModelName;
  summary: string;
}

/** What a kind of mistake is called, why, and what would have kept it from mattering. */
interface Wording {
  text: string;
  needs: string;
}

export function explain(what: ToExplain): Omit<Explanation, 'verified'> {
  const { evidence } = what;
  const { text, needs } = wordingOf(what);
  const after = afterCrash(inOrderOfBlame(what.files, evidence.lost));
  return {
    text: [text, after, needs === '' ? '' : `Needs: ${needs}.`]
      .filter((part) => part !== '')
      .join(' '),
    lost: textsOf(evidence.lost),
    survived: survivingCalls(evidence.survivor),
    needs,
  };
}

function wordingOf(what: ToExplain): Wording {
  const { evidence } = what;
  const { lost, survivor } = evidence;
  const [first] = lost;
  if (first === undefined) return nothingLost(evidence, what.summary);
  if (evidence.losesLines && lost.some(({ event }) => event.isWriteback === true)) {
    return mapping(first, survivor);
  }
  if (what.model === 'dax' && evidence.lostStore !== undefined) {
    return notFlushed(evidence.lostStore, first, survivor);
  }
  if (survivor?.kind === 'acknowledgement') return acknowledged(evidence, first, survivor);
  if (survivor?.kind === 'rest-of-call') return torn(evidence, first, survivor);
  if (survivor?.kind === 'call') return dependent(evidence, first, survivor.call);
  if (survivor?.kind === 'earlier-call') return between(first, survivor.call, 'was lost');
  if (evidence.keepsOperationOfLost && evidence.losesLines && gaveLength(first, what.files)) {
    return lengthBeforeData(first);
  }
  const text = `${list(lost)} ${wasOrWere(lost)} not durable when the power went${by(first)}.`;
  return { text, needs: `${syncOf(evidence, first)} before anything relies on it` };
}

function mapping(first: KnownCall, survivor: Survivor | undefined): Wording {
  const { path } = first.text;
  const text =
    `Bytes stored through a mapping of ${quote(path)} were not synced when the power went` +
    `${survivor === undefined ? '' : `, but ${survivorText(survivor)}`}.`;
  const needs = `msync(MS_SYNC) of the range of ${quote(path)} that was stored to${beforeText(survivor)}`;
  return { text, needs };
}

/** A store through a DAX mapping that no flush and fence of one thread followed. */
function notFlushed(
  { offset, lengthBytes, fate }: NonNullable<Evidence['lostStore']>,
  first: KnownCall,
  survivor: Survivor | undefined,
): Wording {
  const path = quote(first.text.path);
  const lines =
    lengthBytes > LINE_BYTES
      ? `from line ${offset / LINE_BYTES} on`
      : `line ${offset / LINE_BYTES}`;
  const where = `offset ${offset} (${lines})`;
  const but = survivor === undefined ? '' : `, but ${survivorText(survivor)}`;
  const text = `The store to ${path} at ${where}${by(first)} ${fateText(fate)}${but}.`;
  const drain = `a drain by the same thread`;
  const isFlushed = fate.kind === 'not-drained' || fate.kind === 'drained-by-another';
  const what = isFlushed
    ? `${drain} after the flush of ${path} at ${where}`
    : `a flush of ${path} at ${where} after the store, and ${drain} (pmem_persist does both), or msync`;
  return { text, needs: `${what}${beforeText(survivor)}` };
}

function fateText(fate: StoreFate): string {
  switch (fate.kind) {
    case 'never-flushed':
      return 'was never flushed';
    case 'flushed-early':
      return `was not flushed: ${quote(fate.flush.text.text)} came before it, at position ${fate.flush.text.position}`;
    case 'flushed-late':
      return `had not been flushed when the power went: ${quote(fate.flush.text.text)} comes later`;
    case 'sync-under-way':
      return `had not been flushed when the power went: ${quote(fate.flush.text.text)} was under way`;
    case 'not-drained':
      return 'was flushed, and not drained when the power went';
    case 'drained-by-another':
      return 'was flushed, and only another thread drained: a fence covers what its own thread flushed';
  }
}

/** The crash took nothing that the filesystem had been given. */
function neverSynced(
  { text: { path, text: call } }: KnownCall,
  survivor: Survivor | undefined,
): Wording {
  const relied =
    survivor?.kind === 'acknowledgement' ? beforeText(survivor) : ', before it is relied on';
  const text =
    `Bytes stored through a mapping of ${quote(path)} were not synced when the power went` +
    `${survivor?.kind === 'acknowledgement' ? `, but ${survivorText(survivor)}` : ''}: without a ` +
    `sync they reach the file when the kernel likes, here after the crash, by ${quote(call)}.`;
  return {
    text,
    needs: `msync(MS_SYNC) of the range of ${quote(path)} that was stored to${relied}`,
  };
}

/** The crash came before something that the check relies on. */
function nothingLost({ missing, survivor }: Evidence, summary: string): Wording {
  if (missing?.event.isWriteback === true) return neverSynced(missing, survivor);
  if (missing === undefined) {
    const text = `Nothing that a call did is lost in this state, and still: ${summary}.`;
    return { text, needs: 'a check that accepts this state, or a program that never leaves it' };
  }
  if (survivor?.kind === 'acknowledgement') {
    const text =
      `'${survivor.line}' was acknowledged before ${quote(missing.text.text)} was made` +
      `${by(missing)}, and the power went between the two.`;
    const { path } = missing.text;
    const needs = `${quote(missing.text.text)} and a sync of ${quote(path)}, before the acknowledgement is printed`;
    return { text, needs };
  }
  if (survivor?.kind === 'earlier-call' && survivor.call !== missing) {
    return between(missing, survivor.call, 'had not been made yet');
  }
  const text = `The power went while ${quote(missing.text.text)} was made${by(missing)}: a part of it is there.`;
  return { text, needs: inOneStep(missing.text.path) };
}

function acknowledged(
  evidence: Evidence,
  first: KnownCall,
  survivor: Extract<Survivor, { kind: 'acknowledgement' }>,
): Wording {
  const text =
    `'${survivor.line}' was acknowledged before ${quote(first.text.text)} was durable` +
    `${by(first)}: the crash lost it.`;
  const needs = `${syncOf(evidence, first)}, before the acknowledgement is printed`;
  return { text, needs };
}

function torn(
  { isOverwrite, pieceBytes }: Evidence,
  first: KnownCall,
  { keptLines, lostLines }: Extract<Survivor, { kind: 'rest-of-call' }>,
): Wording {
  const { path, text: call } = first.text;
  const unit = pieceBytes > LINE_BYTES ? 'sectors' : 'lines';
  const how = `only ${keptLines} of its ${keptLines + lostLines} ${unit} of ${pieceBytes} bytes survived`;
  if (isOverwrite) {
    return {
      text:
        `${quote(path)} was overwritten in place: the crash left a mix of old and new bytes of ` +
        `${quote(call)}${by(first)}; ${how}.`,
      needs: `${inOneStep(path)}; or a log that is synced before bytes are overwritten`,
    };
  }
  return {
    text: `The record that ${quote(call)} wrote${by(first)} is torn: ${how}, and the check takes it for whole.`,
    needs: 'a checksum over the record, so that one that is there in part is recognised',
  };
}

function dependent(evidence: Evidence, first: KnownCall, call: KnownCall): Wording {
  const { text, event } = call;
  const isRename = event.operation === 'RENAME' || event.operation === 'RENAME2';
  if (isRename && DATA_OPERATIONS.has(first.event.operation) && text.path === first.text.path) {
    const how = call.replaces === true ? 'over' : 'to';
    return {
      text:
        `${quote(text.path)} was renamed ${how} ${quote(text.path2 ?? '')} before its bytes were ` +
        `durable: the crash kept the name and lost what ${quote(first.text.text)} wrote.`,
      needs: `fdatasync of ${quote(text.path)}${writtenBy(first)}, before the rename`,
    };
  }
  if (isNameLost(evidence)) return nameNotSynced(first, call);
  const isSameFile = evidence.lost.some((one) => one.event.ino === event.ino);
  const also = isSameFile ? ' of the same file' : '';
  return {
    text:
      `${list(evidence.lost)} ${wasOrWere(evidence.lost)} lost, while the later ${quote(text.text)}${also} survived` +
      `${by(call)}. Nothing made the first durable before the second.`,
    needs: `${syncOf(evidence, first)}, before ${quote(text.text)}`,
  };
}

/** Of two calls only the earlier one is there. @param how what happened to the later one */
function between(after: KnownCall, call: KnownCall, how: string): Wording {
  const [before, later] = [quote(call.text.text), quote(after.text.text)];
  const { path } = after.text;
  const isSameFile = (call.text.path2 ?? call.text.path) === path;
  if (isSameFile && DATA_OPERATIONS.has(after.event.operation)) {
    if (!DATA_OPERATIONS.has(call.event.operation)) return inPlace(after, call, how);
    return {
      text:
        `What ${before} stored survived, and ${later}, which came after it, ${how}${by(after)}: ` +
        'the first speaks of bytes that are not there.',
      needs:
        `${later} first, then fdatasync of ${quote(path)}, and only then ${before}: the sync ` +
        'between the two, the data first',
    };
  }
  return {
    text:
      `${before} survived and ${later}, which came after it, ${how}${by(after)}. The power can go ` +
      'between any two calls, and the check fails there.',
    needs:
      `one step that does both, as a new file that is synced and renamed over the old one; or a ` +
      `recovery that completes or undoes what ${before} began`,
  };
}

function inPlace(after: KnownCall, call: KnownCall, how: string): Wording {
  const { path } = after.text;
  return {
    text:
      `${quote(path)} was written in place: ${quote(call.text.text)} survived and ` +
      `${quote(after.text.text)} ${how}${by(after)}, so that neither its old nor its new content is there.`,
    needs: inOneStep(path),
  };
}

function inOneStep(path: string): string {
  const directory = quote(directoryOf(path));
  return `a new file that is written, synced and renamed over ${quote(path)}, then fsync of the directory ${directory}`;
}

/** The file ends where the call stopped writing. */
function gaveLength({ text }: KnownCall, files: readonly FileDifference[]): boolean {
  const end = (text.offset ?? 0) + (text.lengthBytes ?? 0);
  const isData = DATA_OPERATIONS.has(text.operation);
  return isData && files.some(({ path, sizeFound }) => path === text.path && sizeFound === end);
}

function lengthBeforeData(first: KnownCall): Wording {
  const { path, text: call } = first.text;
  return {
    text:
      `The file ${quote(path)} has the length that ${quote(call)} gave it${by(first)}, and not its ` +
      'bytes: a size is durable by itself.',
    needs: `fdatasync of ${quote(path)}, before the length is relied on`,
  };
}

function nameNotSynced(first: KnownCall, later: KnownCall): Wording {
  const { path, path2, text: call } = first.text;
  const directory = directoryOf(path2 ?? path);
  const survivor = quote(later.text.text);
  return {
    text:
      `What ${quote(call)} did to a name was not durable${by(first)}, and the later ${survivor} ` +
      'survived: a sync of a file covers its bytes, not its name.',
    needs: `fsync of the directory ${quote(directory)}, after ${quote(call)} and before ${survivor}`,
  };
}

/** Files that the lost calls name come first. */
function inOrderOfBlame(
  files: readonly FileDifference[],
  lost: readonly KnownCall[],
): FileDifference[] {
  const paths = new Set(lost.flatMap(({ text }) => [text.path, text.path2]));
  return [...files].sort((a, b) => Number(paths.has(b.path)) - Number(paths.has(a.path)));
}

/** What the files of the state look like. */
function afterCrash(files: readonly FileDifference[]): string {
  const [first] = files;
  if (first === undefined) return '';
  const { path, sizeFound, sizeWanted, lines, offset, isZero } = first;
  const others = files.length > 1 ? ` ${otherFiles(files.length - 1)}` : '';
  if (sizeFound === null) return `After the crash ${quote(path)} is not there.${others}`;
  if (sizeWanted === null) return `After the crash ${quote(path)} is there again.${others}`;
  if (sizeFound === 0) return `After the crash ${quote(path)} is empty.${others}`;
  const size = sizeFound === sizeWanted ? '' : ` has ${sizeFound} of ${sizeWanted} bytes and`;
  if (sizeFound > sizeWanted) {
    return `After the crash ${quote(path)} still has ${sizeFound} bytes, not ${sizeWanted}.${others}`;
  }
  if (sizeFound < sizeWanted && isCutOnly(first)) {
    return `After the crash ${quote(path)} has ${sizeFound} of ${sizeWanted} bytes.${others}`;
  }
  const count = lines.length === 1 ? 'one 64-byte line' : `${lines.length} 64-byte lines`;
  const bytes = isZero ? 'zeroes' : 'other bytes';
  return `After the crash ${quote(path)}${size} shows ${bytes} in ${count}, from offset ${offset} on.${others}`;
}

/** What is there of a shorter file is as it should be. */
function isCutOnly({ sizeFound, offset, foundHex, wantedHex }: FileDifference): boolean {
  const isLastLine = offset + LINE_BYTES >= (sizeFound ?? 0);
  return isLastLine && wantedHex.startsWith(foundHex);
}

function otherFiles(count: number): string {
  return count === 1 ? 'Another file differs too.' : `${count} other files differ too.`;
}

function isNameLost({ lost, losesLines }: Evidence): boolean {
  return !losesLines && lost.length > 0 && NAME_OPERATIONS.has(lost[0]!.event.operation);
}

/** The call that would have made the first lost thing durable. */
function syncOf(evidence: Evidence, first: KnownCall): string {
  const { path, path2 } = first.text;
  if (isNameLost(evidence)) {
    const data = evidence.lost.find(({ event }) => DATA_OPERATIONS.has(event.operation));
    const also = data === undefined ? '' : `fdatasync of ${quote(data.text.path)} and `;
    return `${also}fsync of the directory ${quote(directoryOf(path2 ?? path))}`;
  }
  // fdatasync promises bytes and size only.
  const isData = evidence.lost.every(({ event }) => !ATTRIBUTE_OPERATIONS.test(event.operation));
  return `${isData ? 'fdatasync' : 'fsync'} of ${quote(path)}${writtenBy(first)}`;
}

function survivorText(survivor: Survivor): string {
  if (survivor.kind === 'acknowledgement') return `'${survivor.line}' had been acknowledged`;
  if ('call' in survivor) return `${quote(survivor.call.text.text)} survived`;
  return 'others of the same call survived';
}

function beforeText(survivor: Survivor | undefined): string {
  if (survivor?.kind === 'acknowledgement') return ', before the acknowledgement is printed';
  if (survivor?.kind === 'call') return `, before ${quote(survivor.call.text.text)}`;
  if (survivor?.kind === 'rest-of-call') return ', before the stores of it that survived';
  return '';
}

function by({ text: { pid, command } }: KnownCall): string {
  if (pid === 0) return '';
  return command === '' ? ` (pid ${pid})` : ` (${shortCommand(command)}, pid ${pid})`;
}

function writtenBy({ text: { pid, command } }: KnownCall): string {
  if (pid === 0) return '';
  return `, written by ${command === '' ? 'a process' : shortCommand(command)} in pid ${pid}`;
}

/** With the name of the program instead of its path. */
function shortCommand(command: string): string {
  return command.replace(/^\S*\//, '');
}

function survivingCalls(survivor: Survivor | undefined): CallText[] {
  return survivor !== undefined && 'call' in survivor ? textsOf([survivor.call]) : [];
}

function wasOrWere(calls: readonly KnownCall[]): string {
  return calls.length === 1 ? 'was' : 'were';
}

function list(calls: readonly KnownCall[]): string {
  const shown = calls.slice(0, 3).map(({ text }) => quote(text.text));
  const more = calls.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(' and ');
}

function textsOf(calls: readonly KnownCall[]): CallText[] {
  return calls.slice(0, SHOWN_MAX).map(({ text }) => text);
}

function quote(text: string): string {
  return `\`${text}\``;
}
