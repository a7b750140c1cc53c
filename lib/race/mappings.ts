/** The mappings of a scenario by name: those of its processes, and the copies that children of fork get. */
import assert from 'node:assert/strict';
import type { Mapping } from '../dax/mmu.js';
import type { Scenario } from './scenario.js';

/** Ids count from 1, in the order of the scenario; a client is the number of its process. */
export function mappingsOf(
  { processes, files, threads }: Scenario,
  inoOf: (file: string) => number,
): Map<string, Mapping> {
  const mappings = new Map<string, Mapping>();
  const names = Object.keys(processes);
  const add = (name: string, mapping: Omit<Mapping, 'id'>): void => {
    assert(!mappings.has(name), `two mappings are named ${name}`);
    mappings.set(name, { ...mapping, id: mappings.size + 1 });
  };
  for (const [process, maps] of Object.entries(processes)) {
    for (const [name, map] of Object.entries(maps)) {
      const { file, page = 0, addressPage = page, isPrivate = false, isSync = false } = map;
      add(name, {
        client: names.indexOf(process),
        ino: inoOf(file),
        filePage: page,
        pageCount: map.pageCount ?? files[file]!.pages - page,
        addressPage,
        isShared: !isPrivate,
        isSync,
      });
    }
  }
  for (const { process, script } of threads) {
    for (const op of script) {
      if (op.op !== 'fork') continue;
      const child = threads.find(({ name }) => name === op.child)!.process;
      for (const name of Object.keys(processes[process]!)) {
        const client = names.indexOf(child);
        add(forkedName(child, name), { ...mappings.get(name)!, client });
      }
    }
  }
  return mappings;
}

/** Name of a child's copy of a mapping. */
export function forkedName(child: string, map: string): string {
  return `${child}.${map}`;
}
