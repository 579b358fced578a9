/** Messages that were not acknowledged yet, kept over a reload. Sent again under their transaction ids, none is lost or doubled. */
const KEY = "hearth.outbox";
const MAX_MESSAGES = 200;

export interface Unsent {
  roomId: string;
  txnId: string;
  body: string;
}

export const outbox = {
  list: read,
  add(message: Unsent): void {
    write([...read().filter((one) => one.txnId !== message.txnId), message].slice(-MAX_MESSAGES));
  },
  remove(txnId: string): void {
    write(read().filter((one) => one.txnId !== txnId));
  },
  clear(): void {
    localStorage.removeItem(KEY);
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
  if (messages.length === 0) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, JSON.stringify(messages));
}
