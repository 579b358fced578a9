import assert from "node:assert/strict";
import { test } from "node:test";
import { listeners, registration, said } from "./browser.ts";
import "../sw.ts";

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("a version asks to take over until another that has overtaken it is in charge", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const ask = async () => {
    const before = said.length;
    context.mock.timers.tick(100);
    await turn();
    return said.slice(before);
  };
  registration.installing = {};
  let installed = Promise.resolve<unknown>(undefined);
  listeners.get("install")?.({ waitUntil: (work) => (installed = work) });
  await installed;
  await turn();
  assert.deepEqual(said, [{ type: "yield" }]);
  registration.installing = null;
  registration.waiting = {};
  assert.deepEqual(await ask(), [{ type: "yield" }]);

  registration.waiting = null;
  assert.deepEqual(await ask(), []);
});
