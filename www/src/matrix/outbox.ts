/** Messages that were not acknowledged yet, kept over a reload. Sent again under their transaction ids, none is lost or doubled. */
const KEY = "hearth.outbox";
const MAX_MESSAGES = 200;

export interface Unsent {
  /** Who sends it: nobody else who signs in here does. Those that an earlier version kept name nobody. */
  userId?: string;
  roomId: string;
  txnId: string;
  body: string;
}

export const outbox = {
  /** The messages of one user, oldest first. */
  list(userId: string): Unsent[] {
    return read().filter((one) => (one.userId ?? userId) === userId);
  },
  add(message: Unsent): void {
    write([...read().filter((one) => one.txnId !== message.txnId), message].slice(-MAX_MESSAGES));
  },
  remove(txnId: string): void {
    write(read().filter((one) => one.txnId !== txnId));
  },
};

function read(): Unsent[] {
  try {
    const list = JSON.parse(localStorage.getItem(KEY) ?? "[]") as unknown;
    return Array.isArray(list) ? (list as Unsent[]) : [];
  } catch {
    return [];
  }
}

function write(messages: readonly Unsent[]): void {
  try {
    if (messages.length === 0) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, JSON.stringify(messages));
  } catch {
    // Another client of this origin has filled the storage: the message is sent all the same, only not after a reload.
  }
}
