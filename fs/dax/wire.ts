/** The numbers of native/wire.h that the daemon and `fauxdax run` need. */

export const WIRE_VERSION = 9;

/** The environment of a program, and the bits of its flags. */
export const WIRE_ENV_SOCKET = 'FAUXDAX_SOCKET';
export const WIRE_ENV_DEVICE = 'FAUXDAX_DEVICE';
export const WIRE_ENV_FLAGS = 'FAUXDAX_FLAGS';
export const WIRE_ENV_PARENT = 'FAUXDAX_PARENT';
export const WIRE_RUN_NO_DATA = 1;
export const WIRE_RUN_VERBOSE = 2;
/** In a recording: programs with flush instructions of their own run. */
export const WIRE_RUN_OWN_FLUSHES = 4;

export const WIRE_MAP_SHARED = 1;
export const WIRE_MAP_SYNC = 2;
export const WIRE_MAP_OWN = 4;

export const WIRE_DROP_OWN = 1;
export const WIRE_STORABLE = 2;
export const WIRE_POPULATE = 4;
export const WIRE_HUGE = 8;
