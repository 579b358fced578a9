/**
 * Joining a room by invite link, for as long as it takes: relays and routes are told to the worker, then the room is asked
 * for, again and again while nobody of it is online. Requests, clock and sleep are arguments.
 */
import type { Invite } from "./invite-link.ts";

export interface JoinSteps {
  addRelays: (relays: readonly string[]) => Promise<void>;
  addRoute: (server: string, relays: readonly string[]) => Promise<void>;
  join: (roomId: string, via: readonly string[]) => Promise<void>;
  /** Resolves after `ms`, or earlier if someone asks to try now. */
  pause: (ms: number) => Promise<void>;
}

export type JoinProgress =
  | { step: "connecting" }
  | { step: "asking"; attempt: number }
  | { step: "waiting"; attempt: number; reason: string }
  | { step: "joined" }
  | { step: "refused"; reason: string };

/** What a failed join means. */
export interface JoinFailure {
  errcode?: string;
  httpStatus?: number;
  message?: string;
}

const FIRST_PAUSE_MS = 800;
const LAST_PAUSE_MS = 20_000;

/** Joins; tells of each step; ends when joined, refused, or aborted. */
export async function joinByInvite(
  invite: Invite,
  steps: JoinSteps,
  tell: (progress: JoinProgress) => void,
  signal: AbortSignal,
): Promise<void> {
  tell({ step: "connecting" });
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      await announce(invite, steps);
      tell({ step: "asking", attempt });
      await steps.join(invite.roomId, invite.via);
      tell({ step: "joined" });
      return;
    } catch (error) {
      const refusal = refused(error as JoinFailure);
      if (refusal) {
        tell({ step: "refused", reason: refusal });
        return;
      }
      tell({ step: "waiting", attempt, reason: waitingReason(error as JoinFailure) });
      await steps.pause(Math.min(FIRST_PAUSE_MS * 1.5 ** (attempt - 1), LAST_PAUSE_MS));
    }
  }
}

/** Told before each attempt: a worker that was restarted in between may have forgotten them. */
async function announce({ relays, via }: Invite, steps: JoinSteps): Promise<void> {
  if (relays.length === 0) return;
  await steps.addRelays(relays);
  for (const server of via) await steps.addRoute(server, relays);
}

/** Why trying again would not help; undefined if it may. */
function refused({ errcode, httpStatus }: JoinFailure): string | undefined {
  switch (errcode) {
    case "M_FORBIDDEN":
      return "This room does not let you in. Ask for an invitation.";
    case "M_INCOMPATIBLE_ROOM_VERSION":
    case "M_UNSUPPORTED_ROOM_VERSION":
      return "This room’s version is not supported yet.";
    case "M_INVALID_PARAM":
      return "This invite link is not complete. Ask for a new one.";
    default:
      return httpStatus === 401 ? "Your session has ended. Reload this page." : undefined;
  }
}

function waitingReason({ httpStatus }: JoinFailure): string {
  return httpStatus === undefined ? "Your server is busy; we keep trying." : "Nobody of this room is online right now; we keep trying.";
}
