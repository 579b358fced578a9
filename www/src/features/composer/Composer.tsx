import { ActionIcon, Textarea } from "@mantine/core";
import { IconSend2 } from "@tabler/icons-react";
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { TypingNotifier } from "../../domain/typing.ts";
import { useClient } from "../session/client-context.ts";
import classes from "./Composer.module.css";
import { drafts } from "./drafts.ts";

/** Where messages are written: Enter sends, Shift+Enter begins a line. What is unsent stays with its room. */
export function Composer({ roomId, roomName }: { roomId: string; roomName: string }) {
  const client = useClient();
  const [text, setText] = useState(() => drafts.get(roomId));
  const box = useRef<HTMLTextAreaElement>(null);
  const notifier = useTyping(roomId);

  useEffect(() => {
    // A phone's keyboard would hide what one came to read.
    if (window.matchMedia("(hover: hover)").matches) box.current?.focus();
  }, []);

  const change = (value: string): void => {
    setText(value);
    drafts.set(roomId, value);
    notifier.current?.changed(value.trim() !== "");
  };
  const send = (): void => {
    const body = text.trim();
    if (!body) return;
    client.send(roomId, body);
    change("");
    box.current?.focus();
  };
  const keyDown = (event: KeyboardEvent): void => {
    // While a word is composed (in Japanese, say), Enter chooses it.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };

  return (
    <div className={classes["composer"]}>
      <div className={classes["inner"]}>
        <Textarea
          ref={box}
          className={classes["field"] ?? ""}
          classNames={{ input: classes["input"] ?? "" }}
          aria-label="Message"
          placeholder={`Write to ${roomName}`}
          variant="unstyled"
          autosize
          minRows={1}
          maxRows={8}
          maxLength={20_000}
          value={text}
          onChange={(event) => change(event.currentTarget.value)}
          onKeyDown={keyDown}
        />
        <ActionIcon variant="filled" color="ember" radius="xl" size={36} aria-label="Send" disabled={!text.trim()} onClick={send}>
          <IconSend2 size={18} />
        </ActionIcon>
      </div>
    </div>
  );
}

/** Tells the room while we write in it, and that we stopped when we leave it. */
function useTyping(roomId: string): { readonly current: TypingNotifier | null } {
  const client = useClient();
  const notifier = useRef<TypingNotifier>(null);
  useEffect(() => {
    const mine = new TypingNotifier((typing) => client.setTyping(roomId, typing), Date.now);
    notifier.current = mine;
    return () => mine.stopped();
  }, [client, roomId]);
  return notifier;
}
