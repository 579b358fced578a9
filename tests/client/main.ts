/** Begins in a page: clients by number, and one function by which tests call them. */
import { type Account, Client } from "./client.ts";

const clients: Client[] = [];

/** What the page offers. */
export interface Clients {
  register(account: Account): Promise<number>;
  login(account: Account, recoveryKey?: string): Promise<number>;
  call(client: number, path: readonly string[], args: readonly unknown[]): Promise<unknown>;
}

declare global {
  interface Window {
    clients?: Clients;
  }
}

window.clients = {
  register: async (account) => clients.push(await Client.register(account)) - 1,
  login: async (account, recoveryKey) => clients.push(await Client.login(account, recoveryKey)) - 1,
  call: async (client, path, args) => {
    let owner: unknown;
    let value: unknown = clients[client];
    for (const name of path) [owner, value] = [value, (value as Record<string, unknown>)[name]];
    return (value as (...args: unknown[]) => unknown).apply(owner, [...args]);
  },
};
