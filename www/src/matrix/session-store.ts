/**
 * Where the session is kept: in an IndexedDB database of its own, written to the disk before anybody is told, because nobody else knows
 * the password. (`localStorage`, where earlier versions kept it, is written seconds later.) All tabs share it and hear of each other.
 */

export interface Session {
  userId: string;
  deviceId: string;
  accessToken: string;
  password: string;
}

/** The password is kept before it is used, the rest as soon as there is an account. */
export type Kept = Pick<Session, "password"> & Partial<Session>;

const DATABASE = "hearth-session";
const STORE = "session";
const KEY = "own";
const KEY_OF_EARLIER_VERSIONS = "hearth.session";

const changes = new BroadcastChannel(DATABASE);

export const sessionStore = {
  async read(): Promise<Kept | undefined> {
    return (await transact("readonly", (store) => store.get(KEY) as IDBRequest<Kept | undefined>)) ?? moved();
  },
  async write(kept: Kept): Promise<void> {
    await transact("readwrite", (store) => store.put(kept, KEY));
    changes.postMessage(null);
  },
  async remove(): Promise<void> {
    await transact("readwrite", (store) => store.delete(KEY));
    changes.postMessage(null);
  },
  /** Hears of what other tabs write or remove. */
  subscribe(listener: () => void): () => void {
    changes.addEventListener("message", listener);
    return () => changes.removeEventListener("message", listener);
  },
};

/** What an earlier version kept, now kept here. */
async function moved(): Promise<Kept | undefined> {
  const text = localStorage.getItem(KEY_OF_EARLIER_VERSIONS);
  if (text === null) return undefined;
  const kept = JSON.parse(text) as Kept;
  await sessionStore.write(kept);
  localStorage.removeItem(KEY_OF_EARLIER_VERSIONS);
  return kept;
}

async function transact<T>(mode: IDBTransactionMode, request: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode, { durability: "strict" });
      const answer = request(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(answer.result);
      transaction.onabort = () => reject(transaction.error ?? new Error("The session was not kept."));
    });
  } finally {
    database.close();
  }
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("The session cannot be read."));
  });
}
