/** fork: the child has the parent's own private pages and nothing else mapped. */
import { fork, hole, load, type Scenario, store, truncate, written } from '../scenario.js';

export const forkShared: Scenario = {
  name: 'fork-shared',
  title: 'a process forks while its shared page is stored to',
  files: { f: hole(1) },
  processes: { parent: { a: { file: 'f' } }, child: {} },
  threads: [
    { name: 'Parent', process: 'parent', script: [load('a', 0), fork('Child'), store('a', 0, 1)] },
    { name: 'Child', process: 'child', script: [load('child.a', 0), load('child.a', 0)] },
  ],
};

export const forkPrivate: Scenario = {
  name: 'fork-private',
  title: 'a process forks after it made a private page its own; both load around it',
  files: { f: written(2) },
  processes: { parent: { a: { file: 'f', isPrivate: true } }, child: {} },
  threads: [
    { name: 'Parent', process: 'parent', script: [store('a', 0, 1), fork('Child'), load('a', 0)] },
    { name: 'Child', process: 'child', script: [load('child.a', 1), load('child.a', 0)] },
  ],
};

export const forkTruncate: Scenario = {
  name: 'fork-truncate',
  title: 'a file is cut under a private page that a child has from its parent',
  files: { f: written(2) },
  processes: { parent: { a: { file: 'f', isPrivate: true } }, child: {}, cutter: {} },
  threads: [
    {
      name: 'Parent',
      process: 'parent',
      script: [store('a', 1, 1), fork('Child'), truncate('f', 1)],
    },
    { name: 'Child', process: 'child', script: [load('child.a', 1)] },
  ],
};
