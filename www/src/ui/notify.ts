import { notifications } from "@mantine/notifications";

/** Tells of something that did not work. */
export function notifyFailure(title: string, error?: unknown): void {
  const message = error instanceof Error ? error.message : "";
  notifications.show({ color: "red", title, message });
}

export function notifyDone(message: string): void {
  notifications.show({ color: "green", message, autoClose: 2_500 });
}
