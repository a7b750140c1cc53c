import { load, type Scenario, store } from '../scenario.js';

/** The race of the first seed: two processes, one page of a hole. */
export const holeFaultRace: Scenario = {
  name: 'hole-fault-race',
  title: 'a load looks up a hole; before it shows zeroes, a store allocates and is made',
  seed: {
    file: '000_0d102dbfd08f3d91.txt',
    what: 'Ross Zwisler, Dave Chinner and Matthew Wilcox, January 2016: data corruption race',
  },
  bug: 'hole-fault-race',
  files: { f: { pages: 1 } },
  processes: { reader: { a: { file: 'f' } }, writer: { b: { file: 'f' } } },
  threads: [
    { name: 'Process 1', process: 'reader', script: [load('a', 0), load('a', 0)] },
    { name: 'Process 2', process: 'writer', script: [store('b', 0, 1), load('b', 0)] },
  ],
};
