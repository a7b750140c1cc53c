/** What a record of the metadata says, for a person who reads a schedule. */
import type { MetadataRecord } from '../metadata/records.js';
import { WRITTEN } from '../space/extent_list.js';
import { span } from './page_table.js';

/** Of an inode. */
const FIELDS: Readonly<Record<string, string>> = { mtimeSec: 'mtime', sizeBytes: 'size' };

export function recordText(record: MetadataRecord): string {
  switch (record.type) {
    case 'map': {
      const { pageCount, regionPage, state } = record;
      const what = state === WRITTEN ? 'written' : 'unwritten';
      const pages = span({ filePage: regionPage, pageCount });
      return `map: page ${span(record)} is region page ${pages}, ${what}`;
    }
    case 'unmap':
      return `map: page ${span(record)} is a hole`;
    case 'shift':
      return `map: pages from ${record.fromPage} move by ${record.deltaPages}`;
    case 'set-inode':
      return `inode: ${Object.keys(record.patch)
        .map((key) => FIELDS[key] ?? key)
        .join(', ')}`;
    case 'end-operation':
      return 'the operation ends';
    default:
      return record.type;
  }
}
