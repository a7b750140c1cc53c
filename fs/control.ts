/**
 * The control socket: `control` in the image directory, a Unix stream socket, mode 0600, one JSON
 * object a line each way (SPEC.md, Control). Server in the daemon, client in tools and the API. The
 * socket is reached through /proc/self/fd, since a socket's path may be 107 bytes at most and an
 * image's longer.
 */
import { closeSync, existsSync, openSync, chmodSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Errno, type ErrnoName } from '../lib/errno.js';

const SOCKET_NAME = 'control';
const LINE_CHARS_MAX = 1 << 20;
const CONNECT_MS_MAX = 5000;

/** Who calls. */
export interface Connection {
  /** Calls once when it hangs up, or has. */
  onClose(run: () => void): void;
}

export type Calls = Record<
  string,
  (args: Record<string, unknown>, connection: Connection) => unknown
>;

interface Answer {
  id: number;
  result?: unknown;
  error?: { code: string; message: string };
}

/** Runs `use` with a short path to the socket of an image directory. */
function withSocketPath<T>(imageDir: string, use: (path: string) => T): T {
  const fd = openSync(imageDir, 'r');
  try {
    return use(`/proc/self/fd/${fd}/${SOCKET_NAME}`);
  } finally {
    closeSync(fd);
  }
}

export class ControlServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #path: string;

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.#path = path;
  }

  /**
   * Whether a daemon of this image ended without closing its own; asked before listen(), which takes
   * that socket away. The caller holds the image's lock.
   */
  static isLeft(imageDir: string): boolean {
    return existsSync(join(imageDir, SOCKET_NAME));
  }

  /** Listens; the caller holds the image's lock, so a socket that is there is a dead daemon's. */
  static async listen(imageDir: string, calls: Calls): Promise<ControlServer> {
    const path = join(imageDir, SOCKET_NAME);
    rmSync(path, { force: true });
    const server = createServer();
    const control = new ControlServer(server, path);
    server.on('connection', (socket) => control.#serve(socket, calls));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      // bind(2) happens inside listen(): the descriptor may be closed when it returns.
      withSocketPath(imageDir, (short) => server.listen(short, resolve));
    });
    chmodSync(path, 0o600);
    return control;
  }

  #serve(socket: Socket, calls: Calls): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    const connection: Connection = {
      onClose: (run) => {
        if (socket.closed) run();
        else socket.once('close', run);
      },
    };
    eachLine(socket, (line) => {
      void answer(line, calls, connection).then((reply) => {
        if (!socket.destroyed) socket.write(`${JSON.stringify(reply)}\n`);
      });
    });
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.end();
    rmSync(this.#path, { force: true });
  }
}

async function answer(line: string, calls: Calls, connection: Connection): Promise<Answer> {
  let id = 0;
  try {
    const message = JSON.parse(line) as { id?: unknown; call?: unknown } & Record<string, unknown>;
    id = typeof message.id === 'number' ? message.id : 0;
    const name = String(message.call);
    const call = Object.hasOwn(calls, name) ? calls[name] : undefined;
    if (call === undefined) throw new Errno('ENOSYS', `no call '${name}'`);
    return { id, result: (await call(message, connection)) ?? null };
  } catch (error) {
    const code = error instanceof Errno ? error.code : (error as Error).name;
    return { id, error: { code, message: (error as Error).message } };
  }
}

function eachLine(socket: Socket, take: (line: string) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    rest += chunk;
    if (rest.length > LINE_CHARS_MAX && !rest.includes('\n')) socket.destroy();
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(line);
  });
}

/** An error that the daemon answered with. */
export class ControlError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export class ControlClient {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #nextId = 1;
  #isClosed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    eachLine(socket, (line) => {
      const reply = JSON.parse(line) as Answer;
      this.#waiting.get(reply.id)?.(reply);
      this.#waiting.delete(reply.id);
    });
    socket.on('close', () => this.#lost());
    socket.on('error', () => socket.destroy());
    socket.unref();
  }

  /** @throws {Errno} ENOTCONN when no daemon serves the image */
  static async connect(imageDir: string): Promise<ControlClient> {
    if (!existsSync(join(imageDir, SOCKET_NAME))) {
      throw new Errno('ENOTCONN', `${imageDir}: not mounted`);
    }
    return await new Promise((resolve, reject) => {
      const socket = withSocketPath(imageDir, (path) => createConnection(path));
      const timer = setTimeout(() => socket.destroy(new Error('timed out')), CONNECT_MS_MAX);
      socket.once('error', (error) => {
        clearTimeout(timer);
        reject(new Errno('ENOTCONN', `${imageDir}: no daemon answers (${error.message})`));
      });
      socket.once('connect', () => {
        clearTimeout(timer);
        resolve(new ControlClient(socket));
      });
    });
  }

  /**
   * Asks the daemon and waits for its answer.
   * @throws {ControlError} what the daemon refused, with its errno name
   */
  async call(name: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#socket.ref();
    try {
      const reply = await new Promise<Answer>((resolve) => {
        this.#waiting.set(id, resolve);
        this.#socket.write(`${JSON.stringify({ ...args, id, call: name })}\n`);
      });
      if (reply.error !== undefined) {
        throw new ControlError(reply.error.code as ErrnoName, reply.error.message);
      }
      return reply.result;
    } finally {
      if (this.#waiting.size === 0) this.#socket.unref();
    }
  }

  #lost(): void {
    for (const [id, resolve] of this.#waiting) {
      resolve({ id, error: { code: 'ENOTCONN', message: 'the daemon went away' } });
    }
    this.#waiting.clear();
  }

  /** Calls once when the daemon has hung up, not for close(). */
  onLost(run: () => void): void {
    this.#socket.once('close', () => {
      if (!this.#isClosed) run();
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#socket.destroy();
  }
}
