/**
 * Logical records: every change of the metadata, in order, as plain data. The records between two
 * `end-operation` records belong to one filesystem operation and are kept or lost together. A
 * crash state is made by Metadata.rollback() and applying a prefix of whole operations again.
 */
import type { ExtentState } from '../space/extent_list.js';
import type { InodeFields } from './inode.js';
import type { Metadata } from './metadata.js';

export type MetadataRecord =
  | { type: 'create-inode'; ino: number; fields: InodeFields }
  | { type: 'set-inode'; ino: number; patch: Partial<InodeFields> }
  | { type: 'remove-inode'; ino: number }
  | { type: 'add-name'; parentIno: number; name: string; ino: number }
  | { type: 'remove-name'; parentIno: number; name: string }
  | { type: 'replace-name'; parentIno: number; name: string; ino: number }
  | { type: 'set-xattr'; ino: number; name: string; value: Uint8Array }
  | { type: 'remove-xattr'; ino: number; name: string }
  | {
      type: 'map';
      ino: number;
      filePage: number;
      regionPage: number;
      pageCount: number;
      state: ExtentState;
    }
  | { type: 'unmap'; ino: number; filePage: number; pageCount: number }
  | { type: 'shift'; ino: number; fromPage: number; deltaPages: number }
  | { type: 'end-operation' };

/**
 * Does again what `record` says, through the same methods that made it. Records must be applied in
 * their order to the state they were made on. A sink that is set sees them again.
 */
export function applyRecord(metadata: Metadata, record: MetadataRecord): void {
  switch (record.type) {
    case 'create-inode':
      metadata.createInode(record.fields, record.ino);
      return;
    case 'set-inode':
      metadata.updateInode(metadata.existingInode(record.ino), record.patch);
      return;
    case 'remove-inode':
      metadata.removeInode(metadata.existingInode(record.ino));
      return;
    case 'add-name':
      metadata.addName(record.parentIno, record.name, record.ino);
      return;
    case 'remove-name':
      metadata.removeName(record.parentIno, record.name);
      return;
    case 'replace-name':
      metadata.replaceName(record.parentIno, record.name, record.ino);
      return;
    case 'set-xattr':
      metadata.setXattr(record.ino, record.name, record.value);
      return;
    case 'remove-xattr':
      metadata.removeXattr(record.ino, record.name);
      return;
    case 'map': {
      const inode = metadata.existingInode(record.ino);
      metadata.claimPages(inode, record);
      metadata.map(inode, record);
      return;
    }
    case 'unmap':
      metadata.unmap(metadata.existingInode(record.ino), record);
      return;
    case 'shift':
      metadata.shift(metadata.existingInode(record.ino), record);
      return;
    case 'end-operation':
      metadata.endOperation();
  }
}
