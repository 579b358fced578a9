import { beforeEach, expect, test, vi } from "vitest";
import { outbox } from "./outbox.ts";

const message = (userId: string, txnId: string) => ({ userId, roomId: "!room:here", txnId, body: "hi" });

/** What `localStorage` holds. */
let stored: Map<string, string>;
let isFull: boolean;

beforeEach(() => {
  stored = new Map();
  isFull = false;
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => stored.get(key) ?? null,
    removeItem: (key: string) => void stored.delete(key),
    setItem: (key: string, value: string) => {
      if (isFull) throw new DOMException("full", "QuotaExceededError");
      stored.set(key, value);
    },
  });
});

test("each user's messages are their own, oldest first", () => {
  outbox.add(message("@ada:here", "1"));
  outbox.add(message("@bob:here", "2"));
  outbox.add(message("@ada:here", "3"));
  expect(outbox.list("@ada:here").map(({ txnId }) => txnId)).toEqual(["1", "3"]);
  outbox.remove("1");
  expect(outbox.list("@ada:here").map(({ txnId }) => txnId)).toEqual(["3"]);
  expect(outbox.list("@bob:here").map(({ txnId }) => txnId)).toEqual(["2"]);
});

test("a storage that another client has filled keeps nobody from sending", () => {
  outbox.add(message("@ada:here", "1"));
  isFull = true;
  outbox.add(message("@ada:here", "2"));
  expect(outbox.list("@ada:here").map(({ txnId }) => txnId)).toEqual(["1"]);
});

test("what is no list of messages is none", () => {
  stored.set("hearth.outbox", "{");
  expect(outbox.list("@ada:here")).toEqual([]);
});

test("what an earlier version kept, which names nobody, is of whoever signs in", () => {
  stored.set("hearth.outbox", JSON.stringify([{ roomId: "!room:here", txnId: "1", body: "hi" }]));
  expect(outbox.list("@ada:here")).toHaveLength(1);
});
