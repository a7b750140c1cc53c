// What `fauxdax info` says of direct mappings.
import t from 'tap';
import { cannotMap, daxMount, fauxdax, Mapper } from './place.js';

t.test(
  'faults are all there were, stores only noted among them',
  { skip: cannotMap },
  async (t) => {
    const { dir, mount } = await daxMount(t);
    const mapper = Mapper.direct(t, dir);
    await mapper.check(t, [
      ['open A f rw+creat', '0'],
      ['truncate A 4194304', '0'],
      ['map M A 0 4194304 shared', '0'],
      ['store M 0 once', '0'],
    ]);
    for (let round = 0; round < 8; round++) {
      await mapper.check(t, [
        ['msync M 0 4194304', '0'],
        ['store M 0 again', '0'],
      ]);
    }
    const { dax } = (await mount.info()).daemon;
    const { faults = 0, caughtStores = 0 } = dax ?? {};
    t.ok(caughtStores > faults, `${caughtStores} stores, ${faults} other faults`);
    const all = faults + caughtStores;
    t.match(
      fauxdax('info', dir).text,
      `  ${all}, ${caughtStores} of them stores only noted; 0 wait\n`,
    );
    t.equal(await mapper.end(), 0);
  },
);
