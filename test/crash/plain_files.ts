/**
 * The metadata of a trace as plain maps that are copied whole, and SPEC.md's rules of what an
 * operation does where an earlier one is missing, told once more: what the persistence models'
 * references run on. Page ids are whatever the reference calls a page.
 */
import type { MetadataRecord } from '../../lib/metadata/records.js';
import { S_IFDIR, S_IFMT } from '../../lib/metadata/inode.js';
import { WRITTEN } from '../../lib/space/extent_list.js';
import { PAGE_BYTES } from '../../lib/units.js';

const ROOT = 1;

interface PlainInode {
  isDirectory: boolean;
  sizeBytes: number;
  /** By file page. */
  pages: Map<number, { id: string; isWritten: boolean }>;
}

export type PageId = (regionPage: number) => string;

export interface PlainOperation {
  number: number;
  callId: number;
  position: number;
  records: MetadataRecord[];
  /** The recording before and after it. */
  before: PlainFiles;
  after: PlainFiles;
  pageId: PageId;
}

export class PlainFiles {
  inodes = new Map<number, PlainInode>([
    [ROOT, { isDirectory: true, sizeBytes: 0, pages: new Map() }],
  ]);
  /** `parent/name` to inode. */
  names = new Map<string, number>();

  copy(): PlainFiles {
    const copy = new PlainFiles();
    copy.inodes = new Map();
    for (const [ino, inode] of this.inodes) {
      copy.inodes.set(ino, { ...inode, pages: new Map(inode.pages) });
    }
    copy.names = new Map(this.names);
    return copy;
  }

  hasName(ino: number): boolean {
    return ino === ROOT || [...this.names.values()].includes(ino);
  }

  /** What the record says, whatever is there. */
  apply(record: MetadataRecord, pageId: PageId): void {
    const inode = 'ino' in record ? this.inodes.get(record.ino) : undefined;
    switch (record.type) {
      case 'create-inode': {
        const isDirectory = (record.fields.mode & S_IFMT) === S_IFDIR;
        const { sizeBytes } = record.fields;
        this.inodes.set(record.ino, { isDirectory, sizeBytes, pages: new Map() });
        return;
      }
      case 'add-name':
      case 'replace-name':
        this.names.set(`${record.parentIno}/${record.name}`, record.ino);
        return;
      case 'remove-name':
        this.names.delete(`${record.parentIno}/${record.name}`);
        return;
      case 'remove-inode':
        this.inodes.delete(record.ino);
        return;
      case 'set-inode':
        if (inode !== undefined) inode.sizeBytes = record.patch.sizeBytes ?? inode.sizeBytes;
        return;
      case 'map':
        for (let index = 0; index < record.pageCount; index++) {
          const id = pageId(record.regionPage + index);
          inode?.pages.set(record.filePage + index, { id, isWritten: record.state === WRITTEN });
        }
        return;
      case 'unmap':
        for (const page of [...(inode?.pages.keys() ?? [])]) {
          const index = page - record.filePage;
          if (index >= 0 && index < record.pageCount) inode!.pages.delete(page);
        }
        return;
      default:
        if (record.type === 'shift') throw new Error('not in these traces');
    }
  }

  /** The operation as a whole, where some before it may be missing. @returns whether it was done */
  applyWhole(operation: PlainOperation): boolean {
    const { records, before, after, pageId } = operation;
    const created = records.flatMap((one) => (one.type === 'create-inode' ? [one.ino] : []));
    const removed = records.flatMap((one) =>
      one.type === 'remove-name' ? [before.names.get(`${one.parentIno}/${one.name}`)!] : [],
    );
    const added = records.flatMap((one) =>
      one.type === 'add-name' || one.type === 'replace-name' ? [one.ino] : [],
    );
    for (const record of records) {
      if (!('parentIno' in record)) continue;
      const key = `${record.parentIno}/${record.name}`;
      const ino = record.type === 'remove-name' ? before.names.get(key)! : record.ino;
      const isMove = removed.includes(ino) && added.includes(ino);
      if (!this.inodes.has(record.parentIno) || !this.hasName(record.parentIno)) return false;
      const there = this.names.get(key);
      if (record.type === 'remove-name') {
        if (there !== ino && !(isMove && there === undefined)) return false;
        if (!isMove && this.isFull(ino)) return false;
      } else if (!isMove) {
        if (there !== undefined || !(created.includes(ino) || this.inodes.has(ino))) return false;
      } else {
        if (!this.inodes.has(ino) || this.isInside(record.parentIno, ino)) return false;
        if (there !== undefined) {
          const isSameKind =
            this.inodes.get(there)!.isDirectory === this.inodes.get(ino)!.isDirectory;
          if (!isSameKind || this.isFull(there)) return false;
        }
      }
    }
    for (const record of records) {
      if (record.type === 'remove-inode') continue;
      const isNew = record.type === 'create-inode' || 'parentIno' in record;
      if (!isNew && 'ino' in record) {
        const wasUnnamed = !after.hasName(record.ino);
        if (wasUnnamed && this.hasName(record.ino)) continue;
      }
      this.apply(record, pageId);
    }
    for (const record of records) {
      if (record.type === 'remove-inode' && !this.hasName(record.ino)) {
        this.apply(record, pageId);
      }
    }
    return true;
  }

  /** Inodes that `operation`, lost, makes because one of `named` later gives them a name. */
  imply({ records, pageId }: PlainOperation, named: ReadonlySet<number>): void {
    for (const record of records) {
      if (record.type === 'create-inode' && named.has(record.ino)) this.apply(record, pageId);
    }
  }

  /** Paths to contents, as JSON like that of the states of a model. */
  seen(bytesOf: (id: string) => string): string {
    const found: [string, string][] = [];
    const visit = (parentIno: number, path: string) => {
      for (const [key, ino] of this.names) {
        const [parent, name] = key.split('/') as [string, string];
        if (Number(parent) !== parentIno) continue;
        if (this.inodes.get(ino)!.isDirectory) {
          found.push([`${path}${name}/`, '']);
          visit(ino, `${path}${name}/`);
        } else {
          found.push([path + name, this.contents(ino, bytesOf)]);
        }
      }
    };
    visit(ROOT, '');
    return JSON.stringify(found.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Ids of the written pages that files with names show, and how many bytes of each. */
  shown(): Map<string, number> {
    const shown = new Map<string, number>();
    for (const [ino, { sizeBytes, pages }] of this.inodes) {
      if (!this.hasName(ino)) continue;
      for (const [page, { id, isWritten }] of pages) {
        const bytes = Math.min(PAGE_BYTES, sizeBytes - page * PAGE_BYTES);
        if (isWritten && bytes > 0) shown.set(id, bytes);
      }
    }
    return shown;
  }

  private contents(ino: number, bytesOf: (id: string) => string): string {
    const { sizeBytes, pages } = this.inodes.get(ino)!;
    let text = '';
    for (let page = 0; text.length < sizeBytes; page++) {
      const mapped = pages.get(page);
      text += mapped?.isWritten === true ? bytesOf(mapped.id) : '\0'.repeat(PAGE_BYTES);
    }
    return text.slice(0, sizeBytes);
  }

  private isFull(ino: number): boolean {
    return [...this.names.keys()].some((key) => key.startsWith(`${ino}/`));
  }

  private isInside(directoryIno: number, ino: number): boolean {
    if (directoryIno === ino) return true;
    for (const [key, child] of this.names) {
      if (child === directoryIno) return this.isInside(Number(key.split('/')[0]), ino);
    }
    return false;
  }
}
