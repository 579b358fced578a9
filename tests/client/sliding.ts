/** Sliding sync as matrix-js-sdk has it: a window on the rooms where something was said last, and rooms that are open. */
import type { MatrixClient } from "matrix-js-sdk";
import { SlidingSync } from "matrix-js-sdk/lib/sliding-sync.js";

/** The name of the one list. */
const LIST = "newest";

/** What is asked of a room in the list: little, so that it shows which rooms are open. */
const LISTED = { timeline_limit: 1, required_state: [["m.room.create", ""], ["m.room.member", "$ME"]] };

/** What is asked of an open room. */
const OPEN = { timeline_limit: 20, required_state: [["*", "*"]] };

export class Sliding {
  readonly sync: SlidingSync;

  /** A client of the homeserver at `url` that sees one room of its list. */
  constructor(client: MatrixClient, url: string, timeout: number) {
    this.sync = new SlidingSync(url, new Map([[LIST, { ranges: [[0, 0]], ...LISTED }]]), OPEN, client, timeout);
  }

  /** Opens these rooms and closes all others. */
  open(roomIds: string[]): void {
    this.sync.modifyRoomSubscriptions(new Set(roomIds));
  }

  /** How many rooms the list has. */
  count(): number | undefined {
    return this.sync.getListData(LIST)?.joinedCount;
  }
}
