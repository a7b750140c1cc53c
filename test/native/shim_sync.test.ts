/** msync without the daemon, as native/shim_sync.c makes it, beside a table that is only memory. */
import t from 'tap';
import { allHold } from './memory_daemon.js';

t.test('an msync flushes what is listed, or asks the daemon', async (t) => {
  allHold(t, ['test/native/shim_sync.c', 'native/shim_sync.c']);
});
