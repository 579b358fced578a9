/** What MSC4186 says of simplified sliding sync, which the specification's document does not list yet. */
import type { Operation } from "./specification.ts";

const ROOM = {
  type: "object",
  properties: {
    name: { type: "string" },
    avatar: { type: ["string", "null"] },
    heroes: { type: "array", items: { type: "object", required: ["user_id"] } },
    is_dm: { type: "boolean" },
    initial: { type: "boolean" },
    expanded_timeline: { type: "boolean" },
    required_state: { type: "array", items: { type: "object" } },
    timeline: { type: "array", items: { type: "object", required: ["type", "content"] } },
    invite_state: { type: "array", items: { type: "object" } },
    prev_batch: { type: "string" },
    limited: { type: "boolean" },
    num_live: { type: "integer" },
    joined_count: { type: "integer" },
    invited_count: { type: "integer" },
    notification_count: { type: "integer" },
    highlight_count: { type: "integer" },
    bump_stamp: { type: "integer" },
  },
};

const LIST = { type: "object", required: ["count"], properties: { count: { type: "integer" } } };

export const SLIDING_SYNC: Operation = {
  security: [{ accessTokenBearer: [] }],
  requestBody: { content: { "application/json": { schema: { type: "object" } } } },
  responses: {
    200: {
      content: {
        "application/json": {
          schema: {
            type: "object",
            required: ["pos", "rooms", "lists", "extensions"],
            properties: {
              pos: { type: "string" },
              lists: { type: "object", additionalProperties: LIST },
              rooms: { type: "object", patternProperties: { "^!": ROOM }, additionalProperties: false },
              extensions: { type: "object" },
            },
          },
        },
      },
    },
  },
};
