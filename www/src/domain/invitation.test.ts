import { expect, test } from "vitest";
import { invitationFailure, isUserId } from "./invitation.ts";

test.each([
  ["@ada:example.org", true],
  ["@ada:example.org:8448", true],
  [`@ada:${"0f".repeat(32)}`, true],
  ["@Ada Lovelace:example.org", false],
  ["ada:example.org", false],
  ["@ada", false],
  ["@ada:", false],
  ["@ada:https://example.org", false],
  [`@${"a".repeat(250)}:example.org`, false],
])("whether %s is a user id: %s", (text, is) => {
  expect(isUserId(text)).toBe(is);
});

test("who cannot be reached may be later, who may not be invited is not", () => {
  expect(invitationFailure({ httpStatus: 502, error: "no route" })).toMatch("cannot be reached right now");
  expect(invitationFailure({ httpStatus: 403, error: "they are banned" })).toBe("The invitation was refused: they are banned");
  expect(invitationFailure({})).toMatch("Try again");
});
