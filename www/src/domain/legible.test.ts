import { expect, test } from "vitest";
import { clipped, legible } from "./legible.ts";

test("marks beyond what a writing needs are left out", () => {
  expect(legible(`a${"\u0301".repeat(9_999)}b`)).toBe(`a${"\u0301".repeat(16)}b`);
});

test.each(["", "Ada", "Zoë", "ก็", "👩‍🚀 ❤️", "x".repeat(60_000)])("what people write stays as it is", (text) => {
  expect(legible(text)).toBe(text);
});

test("a long text is clipped between characters", () => {
  expect(clipped("Ada", 3)).toBe("Ada");
  expect(clipped("Adaline", 3)).toBe("Ada…");
  expect(clipped("😀😀", 3)).toBe("😀…");
  expect(clipped(`a${"\u0301".repeat(9_999)}`, 100)).toHaveLength(18);
});
