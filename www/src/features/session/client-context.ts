import { createContext, useCallback, useContext, useSyncExternalStore } from "react";
import type { HearthClient } from "../../matrix/hearth-client.ts";

export const ClientContext = createContext<HearthClient | undefined>(undefined);

/** The signed-in user's client. */
export function useClient(): HearthClient {
  const client = useContext(ClientContext);
  if (!client) throw new Error("nobody is signed in");
  return client;
}

/** A value of the client, read again whenever its topic changes. */
export function useTopic<T>(topic: string, read: (client: HearthClient) => T): T {
  const client = useClient();
  const subscribe = useCallback((listener: () => void) => client.subscribe(topic, listener), [client, topic]);
  return useSyncExternalStore(subscribe, () => read(client));
}
