/** How messages wait and are tried again: in order within a room, for minutes rather than seconds. */
import { type MatrixError, MatrixScheduler } from "matrix-js-sdk";

const FIRST_PAUSE_MS = 400;
const LAST_PAUSE_MS = 15_000;
const MAX_ATTEMPTS = 12;

export function createSendQueue(): MatrixScheduler {
  return new MatrixScheduler(
    (_event, attempts, error) => retryPause(attempts, error),
    (event) => event.getRoomId() ?? null,
  );
}

/** What the server answers while its storage is full. */
export const STORAGE_FULL = 507;

/** Milliseconds to wait before the next attempt, or -1 for none. A refusal by the server is final; silence is not. */
function retryPause(attempts: number, error: Partial<MatrixError>): number {
  const status = error.httpStatus;
  const refused = status !== undefined && status >= 400 && status < 500 && status !== 429 && status !== 408;
  if (refused || status === STORAGE_FULL || attempts > MAX_ATTEMPTS) return -1;
  return Math.min(FIRST_PAUSE_MS * 2 ** (attempts - 1), LAST_PAUSE_MS);
}
