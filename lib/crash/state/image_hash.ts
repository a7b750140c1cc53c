/**
 * The hash of a crash state: what programs can see of it as files. It covers, of every inode that
 * has a name: number, all fields, extended attributes, its runs of mapped pages (file page, count,
 * written or not; where in the region they lie does not count) and the bytes of its written pages
 * up to the end of the file; and every name. Orphans, free pages, bytes of unwritten extents and
 * bytes past the end of a file are not covered.
 *
 * Each of these things has a term, a SHA-256 over its kind, its place and its content. Terms are
 * added as vectors of eight 32-bit words, so that a state's sum is found from another one's by what
 * differs: the hash is the SHA-256 of the difference between the state's sum and that of the
 * trace's base image, and of the base's uuid. Comparable among states of one trace only.
 */
import { createHash } from 'node:crypto';
import { WRITTEN } from '../../space/extent_list.js';
import { pieceAt } from '../../space/pieces.js';
import { pageOf, pagesFor } from '../../units.js';
import { type Catalog, type CatalogInode, type Place, visibleBytesOf } from '../fold/catalog.js';
import type { PageOwners } from '../fold/fold.js';
import type { PageHistories } from '../fold/page_history.js';

/** Eight words, added modulo 2^32 each. */
export type Sum = Uint32Array;
type PageSource = (regionPage: number) => Uint8Array;

const inodeTerms = new WeakMap<CatalogInode, Sum>();
/** The last place a page's bytes were asked for at, with the term. */
const pageTerms = new WeakMap<Uint8Array, { place: string; term: Sum }>();

export function hashOf(uuid: string, sum: Sum): string {
  const hash = createHash('sha256').update(uuid);
  return hash.update(new Uint8Array(sum.buffer, sum.byteOffset, sum.byteLength)).digest('hex');
}

/**
 * The sum of the newest metadata over durable pages, moved along with the fold. It starts at the
 * base with zero.
 */
export class SumAnchor {
  sum: Sum = new Uint32Array(8);
  private position = 0;

  constructor(
    private readonly pages: PageHistories,
    private readonly owners: PageOwners,
    public catalog: Catalog,
  ) {
    pages.hold(0);
  }

  moveTo(catalog: Catalog, position: number): void {
    const { pages, owners } = this;
    const sum = this.sum.slice();
    for (const page of pages.changedPages(this.position, position)) {
      const places = this.catalog.places(page, owners.candidates(page));
      if (places.length === 0) continue;
      const before = pages.at(page, this.position).durable;
      addPage(sum, places, before, pages.at(page, position).durable);
    }
    addCatalogs(sum, this.catalog, catalog, (page) => pages.at(page, position).durable);
    pages.hold(position);
    pages.release(this.position);
    this.position = position;
    this.catalog = catalog;
    this.sum = sum;
  }
}

/** Adds what changes when the bytes of a page do. */
export function addPage(
  sum: Sum,
  places: readonly Place[],
  before: Uint8Array,
  after: Uint8Array,
): void {
  if (before === after) return;
  for (const { inode, filePage, visibleBytes } of places) {
    add(sum, -1, pageTerm(inode.ino, filePage, visibleBytes, before));
    add(sum, 1, pageTerm(inode.ino, filePage, visibleBytes, after));
  }
}

/** Adds what changes when the metadata does, over the same page contents. */
export function addCatalogs(sum: Sum, from: Catalog, to: Catalog, page: PageSource): void {
  for (const [ino] of from.inodes.differences(to.inodes)) {
    addInodes(sum, named(from.inode(ino)), named(to.inode(ino)), page);
  }
  for (const [key] of from.names.differences(to.names)) {
    const [parentIno, name] = splitKey(key);
    const before = from.lookup(parentIno, name);
    const after = to.lookup(parentIno, name);
    if (before !== undefined) add(sum, -1, term(`name\0${key}\0${before}`));
    if (after !== undefined) add(sum, 1, term(`name\0${key}\0${after}`));
  }
}

function named(inode: CatalogInode | undefined): CatalogInode | undefined {
  return inode !== undefined && inode.fields.nlink > 0 ? inode : undefined;
}

function splitKey(key: string): [number, string] {
  const slash = key.indexOf('/');
  return [Number(key.slice(0, slash)), key.slice(slash + 1)];
}

function addInodes(
  sum: Sum,
  a: CatalogInode | undefined,
  b: CatalogInode | undefined,
  page: PageSource,
): void {
  if (a === b) return;
  if (a !== undefined) add(sum, -1, inodeTerm(a));
  if (b !== undefined) add(sum, 1, inodeTerm(b));
  const isSame = a?.extents === b?.extents && a?.fields.sizeBytes === b?.fields.sizeBytes;
  if (isSame) return;
  const endPage = Math.max(visiblePages(a), visiblePages(b));
  const wholeEnd = Math.min(wholePages(a), wholePages(b));
  for (let filePage = 0; filePage < endPage; ) {
    const pieceA = pieceOf(a, filePage, filePage < wholeEnd ? wholeEnd : endPage);
    const pieceB = pieceOf(b, filePage, filePage + pieceA.pageCount);
    const pieceEnd = filePage + pieceB.pageCount;
    const pageA = pieceA.extent?.state === WRITTEN ? pieceA.extent.regionPage : undefined;
    const pageB = pieceB.extent?.state === WRITTEN ? pieceB.extent.regionPage : undefined;
    if (pageA !== pageB || filePage >= wholeEnd) {
      for (let at = filePage; at < pieceEnd; at++) {
        if (pageA !== undefined) addAt(sum, -1, a!, at, pageA + at - filePage, page);
        if (pageB !== undefined) addAt(sum, 1, b!, at, pageB + at - filePage, page);
      }
    }
    filePage = pieceEnd;
  }
}

function visiblePages(inode: CatalogInode | undefined): number {
  if (inode === undefined) return 0;
  return Math.min(pagesFor(inode.fields.sizeBytes), inode.extents.endPage);
}

/** File pages that end before the end of the file. */
function wholePages(inode: CatalogInode | undefined): number {
  return inode === undefined ? 0 : pageOf(inode.fields.sizeBytes);
}

function pieceOf(inode: CatalogInode | undefined, filePage: number, endPage: number) {
  if (inode !== undefined) return pieceAt(inode.extents, filePage, endPage);
  return { filePage, pageCount: endPage - filePage, extent: undefined };
}

function addAt(
  sum: Sum,
  sign: 1 | -1,
  inode: CatalogInode,
  filePage: number,
  regionPage: number,
  page: PageSource,
): void {
  const visibleBytes = visibleBytesOf(inode, filePage);
  if (visibleBytes > 0)
    add(sum, sign, pageTerm(inode.ino, filePage, visibleBytes, page(regionPage)));
}

function inodeTerm(inode: CatalogInode): Sum {
  let sum = inodeTerms.get(inode);
  if (sum === undefined) {
    const fields = Object.entries(inode.fields).sort(([a], [b]) => (a < b ? -1 : 1));
    const xattrs = [...inode.xattrs].sort(([a], [b]) => (a < b ? -1 : 1));
    const binary = xattrs.map(([name, value]) => [name, Buffer.from(value).toString('hex')]);
    sum = term(`inode\0${JSON.stringify([inode.ino, fields, binary, runsOf(inode)])}`);
    inodeTerms.set(inode, sum);
  }
  return sum;
}

/** Mapped runs, joined wherever they lie in the region. */
function runsOf({ extents }: CatalogInode): [filePage: number, pageCount: number, state: number][] {
  const runs: [number, number, number][] = [];
  for (const { filePage, pageCount, state } of extents) {
    const last = runs.at(-1);
    if (last !== undefined && last[0] + last[1] === filePage && last[2] === state) {
      last[1] += pageCount;
    } else {
      runs.push([filePage, pageCount, state]);
    }
  }
  return runs;
}

function pageTerm(ino: number, filePage: number, visibleBytes: number, bytes: Uint8Array): Sum {
  const place = `page\0${ino}\0${filePage}\0${visibleBytes}\0`;
  const cached = pageTerms.get(bytes);
  if (cached?.place === place) return cached.term;
  const sum = term(place, bytes.subarray(0, visibleBytes));
  pageTerms.set(bytes, { place, term: sum });
  return sum;
}

function term(text: string, bytes?: Uint8Array): Sum {
  const hash = createHash('sha256').update(text);
  if (bytes !== undefined) hash.update(bytes);
  const digest = hash.digest();
  return Uint32Array.from({ length: 8 }, (_, index) => digest.readUInt32LE(index * 4));
}

function add(sum: Sum, sign: 1 | -1, other: Sum): void {
  for (let index = 0; index < 8; index++) sum[index]! += sign * other[index]!;
}
