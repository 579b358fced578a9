import { ActionIcon, Button, Tooltip } from "@mantine/core";
import { IconAlertCircle, IconCheck, IconClock, IconTrash } from "@tabler/icons-react";
import { isOnlyEmoji, linkify } from "../../domain/links.ts";
import { serverOf, shortServer } from "../../domain/person.ts";
import { clock } from "../../domain/time.ts";
import type { TimelineEvent, TimelineItem } from "../../domain/timeline.ts";
import { notifyFailure } from "../../ui/notify.ts";
import { PersonAvatar } from "../../ui/PersonAvatar.tsx";
import { useClient } from "../session/client-context.ts";
import classes from "./Message.module.css";

type Group = Extract<TimelineItem, { kind: "group" }>;

/** What one person said in one go. */
export function MessageGroup({ group, roomId }: { group: Group; roomId: string }) {
  const { sender, own, messages } = group;
  return (
    <li className={classes["group"]} data-own={own || undefined}>
      {!own && <PersonAvatar id={sender.userId} name={sender.name} size={34} />}
      <div className={classes["stack"]}>
        {!own && (
          <div className={classes["sender"]} title={sender.userId}>
            {sender.name} <span className={classes["server"]}>{shortServer(serverOf(sender.userId))}</span>
          </div>
        )}
        {messages.map((message) => (
          <Message key={message.key} message={message} own={own} roomId={roomId} />
        ))}
      </div>
    </li>
  );
}

function Message({ message, own, roomId }: { message: TimelineEvent; own: boolean; roomId: string }) {
  const { content, delivery } = message;
  const large = content.kind === "text" && isOnlyEmoji(content.body);
  return (
    <div className={classes["message"]} data-delivery={delivery}>
      <div className={classes["row"]}>
        {own && delivery === "sent" && content.kind !== "redacted" && <Delete message={message} roomId={roomId} />}
        <div className={classes["bubble"]} data-large={large || undefined} data-quiet={content.kind !== "text" || undefined} tabIndex={-1}>
          <Body message={message} />
          <span className={classes["meta"]}>
            <time dateTime={new Date(message.ts).toISOString()} title={new Date(message.ts).toLocaleString()}>
              {clock(message.ts)}
            </time>
            {own && <Mark delivery={delivery} />}
          </span>
        </div>
      </div>
      {delivery === "failed" && <Failed message={message} roomId={roomId} />}
    </div>
  );
}

function Body({ message: { content, sender } }: { message: TimelineEvent }) {
  switch (content.kind) {
    case "text":
      return (
        <span className={classes["body"]} data-notice={content.notice || undefined}>
          {content.emote && <i>{sender.name} </i>}
          <Linked text={content.body} />
        </span>
      );
    case "redacted":
      return <span className={classes["body"]}>Message deleted</span>;
    default:
      return <span className={classes["body"]}>This app cannot show this message yet</span>;
  }
}

function Linked({ text }: { text: string }) {
  // One part is left bare: a span per message would be of no use.
  return linkify(text).map((part, index) =>
    part.kind === "text" ? (
      part.text
    ) : (
      <a key={index} href={part.href} target="_blank" rel="noreferrer noopener nofollow">
        {part.text}
      </a>
    ),
  );
}

function Mark({ delivery }: { delivery: TimelineEvent["delivery"] }) {
  if (delivery === "failed") return <IconAlertCircle size={14} aria-label="Not sent" />;
  if (delivery === "sending") return <IconClock size={13} aria-label="Sending" />;
  return <IconCheck size={14} aria-label="Sent" />;
}

function Failed({ message, roomId }: { message: TimelineEvent; roomId: string }) {
  const client = useClient();
  return (
    <div className={classes["failed"]} role="alert">
      {message.reason ? `Not sent: ${message.reason}` : "Not sent"}
      <Button size="compact-xs" variant="light" color="red" onClick={() => client.retry(roomId, message.key)}>
        Try again
      </Button>
      <Button size="compact-xs" variant="subtle" color="gray" onClick={() => client.discard(roomId, message.key)}>
        Discard
      </Button>
    </div>
  );
}

function Delete({ message, roomId }: { message: TimelineEvent; roomId: string }) {
  const client = useClient();
  const remove = (): void => {
    client.redact(roomId, message.eventId).catch((error: unknown) => notifyFailure("The message was not deleted", error));
  };
  return (
    <Tooltip label="Delete for everyone">
      <ActionIcon className={classes["delete"] ?? ""} size="sm" aria-label="Delete" onClick={remove}>
        <IconTrash size={15} />
      </ActionIcon>
    </Tooltip>
  );
}
