import { expect, test } from "vitest";
import { type JoinFailure, type JoinProgress, type JoinSteps, joinByInvite } from "./join.ts";

const INVITE = { roomId: "!room", via: ["one", "two"], relays: ["/relay"] };

/** Steps whose joins fail with `failures` first; all that was done is in `done`. */
function steps(failures: JoinFailure[], done: string[] = []): JoinSteps {
  return {
    addRelays: async (relays) => void done.push(`relays ${relays.join()}`),
    addRoute: async (server) => void done.push(`route ${server}`),
    join: async (roomId, via) => {
      done.push(`join ${roomId} ${via.join()}`);
      const failure = failures.shift();
      if (failure) throw Object.assign(new Error("failed"), failure);
    },
    pause: async (ms) => void done.push(`pause ${ms}`),
  };
}

async function run(given: JoinSteps, signal = new AbortController().signal): Promise<JoinProgress[]> {
  const told: JoinProgress[] = [];
  await joinByInvite(INVITE, given, (progress) => told.push(progress), signal);
  return told;
}

test("relays and routes are known before the room is asked for", async () => {
  const done: string[] = [];
  const told = await run(steps([], done));
  expect(done).toEqual(["relays /relay", "route one", "route two", "join !room one,two"]);
  expect(told.map((progress) => progress.step)).toEqual(["connecting", "asking", "joined"]);
});

test("while nobody is online it tries again, ever less often", async () => {
  const done: string[] = [];
  const absent = { httpStatus: 502, errcode: "M_UNKNOWN" };
  const told = await run(steps([absent, absent, absent], done));
  expect(told.at(-1)).toEqual({ step: "joined" });
  expect(done.filter((line) => line.startsWith("pause"))).toEqual(["pause 800", "pause 1200", "pause 1800"]);
  expect(done.filter((line) => line.startsWith("relays"))).toHaveLength(4);
});

test("a refusal is final", async () => {
  const told = await run(steps([{ httpStatus: 403, errcode: "M_FORBIDDEN" }]));
  expect(told.at(-1)).toMatchObject({ step: "refused" });
});

test("once aborted it asks no more", async () => {
  const stop = new AbortController();
  const given = steps([{ httpStatus: 502 }, { httpStatus: 502 }]);
  given.pause = async () => stop.abort();
  const told = await run(given, stop.signal);
  expect(told.filter((progress) => progress.step === "asking")).toHaveLength(1);
});
