/** Which processes map which files directly, as the fault server told. */
import type { Mapping } from '../../lib/dax/mmu.js';

export interface LiveMapping extends Mapping {
  /** Pages that have not been unmapped. */
  pagesLeft: number;
}

interface Client {
  pid: number;
  readonly mappings: Set<LiveMapping>;
}

export class Clients {
  readonly #clients = new Map<number, Client>();
  readonly #mappings = new Map<number, LiveMapping>();
  #nextId = 1;

  get count(): number {
    return this.#clients.size;
  }

  mapping(id: number): LiveMapping | undefined {
    return this.#mappings.get(id);
  }

  mappings(): IterableIterator<LiveMapping> {
    return this.#mappings.values();
  }

  pid(client: number): number | undefined {
    return this.#clients.get(client)?.pid;
  }

  attached(client: number, pid: number): void {
    this.#clients.set(client, { pid, mappings: new Set() });
  }

  /** @returns undefined when the client is gone already */
  map(client: number, what: Omit<Mapping, 'id' | 'client'>): LiveMapping | undefined {
    const owner = this.#clients.get(client);
    if (owner === undefined) return undefined;
    const { ino, filePage, pageCount, addressPage, isShared, isSync } = what;
    // Each field by name: a file may have thousands, and objects that are copied whole (`...`) are each
    // of a kind of their own to V8, to which every look at a field of theirs is a search.
    const id = this.#nextId;
    const pagesLeft = pageCount;
    const mapping: LiveMapping = {
      id,
      client,
      ino,
      filePage,
      pageCount,
      addressPage,
      isShared,
      isSync,
      pagesLeft,
    };
    this.#nextId += 1;
    owner.mappings.add(mapping);
    this.#mappings.set(mapping.id, mapping);
    return mapping;
  }

  /** A part of a mapping is gone, each only once. */
  unmap(mapping: LiveMapping, pageCount: number): void {
    mapping.pagesLeft -= pageCount;
    if (mapping.pagesLeft > 0) return;
    this.#clients.get(mapping.client)?.mappings.delete(mapping);
    this.#mappings.delete(mapping.id);
  }

  /** @returns the mappings it had left */
  gone(client: number): LiveMapping[] {
    const mappings = [...(this.#clients.get(client)?.mappings ?? [])];
    for (const { id } of mappings) this.#mappings.delete(id);
    this.#clients.delete(client);
    return mappings;
  }
}
