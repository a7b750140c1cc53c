/** Writes without the kernel, as native/shim_write.c makes them, beside a daemon that is only memory. */
import t from 'tap';
import { allHold } from './memory_daemon.js';

t.test('a write is in the queue, or the kernel makes it', async (t) => {
  allHold(t, ['test/native/shim_queue.c', 'native/shim_write.c', 'native/shim_copy.c']);
});
