/** Inviting a person by user id, which is the way into rooms that a link alone does not open. */

const MAX_LENGTH = 255;
const USER_ID = /^@[^:\s]*:[A-Za-z0-9.:[\]-]+$/;

/** What a failed invitation says of itself. */
export interface InvitationFailure {
  httpStatus?: number;
  /** The server's words. */
  error?: string;
}

/** Whether the text has the form of a user id. */
export function isUserId(text: string): boolean {
  return text.length <= MAX_LENGTH && USER_ID.test(text);
}

/** Why an invitation failed, for who sent it. */
export function invitationFailure({ httpStatus, error }: InvitationFailure): string {
  if (httpStatus === undefined) return "Your server is busy. Try again.";
  if (httpStatus === 502) return "Their server cannot be reached right now. Try again when they are online.";
  return `The invitation was refused: ${error ?? httpStatus}`;
}
