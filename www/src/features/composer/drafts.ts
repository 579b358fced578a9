/** What was written but not sent, by room, for as long as the page lives. */
const texts = new Map<string, string>();

export const drafts = {
  get: (roomId: string): string => texts.get(roomId) ?? "",
  set(roomId: string, text: string): void {
    if (text) texts.set(roomId, text);
    else texts.delete(roomId);
  },
};
