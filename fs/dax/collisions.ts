/**
 * Entries of pages and of 2 MiB that were shown at one place of a process: none, but for a bug. Where the
 * kernel makes that mistake a page table is lost, and counters that do not come back to zero tell when
 * the process ends. Here it loses nothing, because shims replace what is shown as a whole and keep
 * what a process has of its own, so nobody would notice: therefore they are counted, and logged.
 */
import type { Mapping, PageRange } from '../../lib/dax/mmu.js';
import type { Collision } from '../../lib/dax/view.js';
import type { Log } from '../../lib/log.js';
import type { Clients } from './clients.js';

/** What `info` shows, since the first run. */
export interface CollisionCounts {
  /** By what the engine believes to be shown: pages where one of 2 MiB is, and the reverse. */
  pteUnderPmd: number;
  pmdOverPte: number;
  /** Found by processes: one of 2 MiB over pages of their own, which they kept. */
  found: number;
}

export class Collisions {
  readonly #log: Log;
  readonly #clients: Clients;
  readonly #counts: CollisionCounts = { pteUnderPmd: 0, pmdOverPte: 0, found: 0 };

  constructor(log: Log, clients: Clients) {
    this.#log = log;
    this.#clients = clients;
  }

  get counts(): CollisionCounts {
    return { ...this.#counts };
  }

  /** The engine is about to have the pages shown. */
  collided({ client, ino }: Mapping, { filePage }: PageRange, collision: Collision): void {
    this.#counts[collision === 'pte-under-pmd' ? 'pteUnderPmd' : 'pmdOverPte'] += 1;
    const where = `page ${filePage} of inode ${ino}`;
    const what =
      collision === 'pte-under-pmd'
        ? 'one page under an entry of 2 MiB'
        : '2 MiB over single pages';
    this.#say(client, `${where} is shown by an entry of ${what}`);
  }

  /** A process kept pages of its own where it was told to show one entry of 2 MiB. */
  found(client: number, count: number): void {
    if (count === 0) return;
    this.#counts.found += count;
    this.#say(client, 'it has pages of its own where it is to show an entry of 2 MiB');
  }

  #say(client: number, what: string): void {
    const pid = this.#clients.pid(client);
    this.#log.error({ client, pid, ...this.#counts }, `process ${pid}: ${what}; nothing is lost`);
  }
}
