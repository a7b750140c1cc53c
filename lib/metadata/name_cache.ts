/**
 * Names that were looked up or made lately, and the inodes they lead to: what NameTable would find
 * in SQLite, which takes ten times as long. Names that are not there are not kept. Only NameTable
 * changes it, with each change of the table, and a rollback empties it.
 */

/** All names go when there would be more than this many. */
export const CACHED_NAMES_MAX = 16_384;

export class NameCache {
  private readonly directories = new Map<number, Map<string, number>>();
  private count = 0;

  get(parentIno: number, name: string): number | undefined {
    return this.directories.get(parentIno)?.get(name);
  }

  set(parentIno: number, name: string, ino: number): void {
    if (this.count >= CACHED_NAMES_MAX) this.clear();
    let names = this.directories.get(parentIno);
    if (names === undefined) {
      names = new Map();
      this.directories.set(parentIno, names);
    }
    this.count -= names.size;
    names.set(name, ino);
    this.count += names.size;
  }

  remove(parentIno: number, name: string): void {
    const names = this.directories.get(parentIno);
    if (names === undefined || !names.delete(name)) return;
    this.count--;
    if (names.size === 0) this.directories.delete(parentIno);
  }

  clear(): void {
    this.directories.clear();
    this.count = 0;
  }
}
