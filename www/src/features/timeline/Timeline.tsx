import { ActionIcon, Button, Center, Loader, Stack, Text } from "@mantine/core";
import { IconArrowDown, IconUserPlus } from "@tabler/icons-react";
import { memo, useEffect, useMemo } from "react";
import { dayLabel } from "../../domain/time.ts";
import { type TimelineItem, arrange, typingText } from "../../domain/timeline.ts";
import { useClient, useTopic } from "../session/client-context.ts";
import { useNow } from "../session/use-now.ts";
import { MessageGroup } from "./MessageGroup.tsx";
import classes from "./Timeline.module.css";
import { useOlder } from "./use-older.ts";
import { useStickToBottom } from "./use-stick-to-bottom.ts";

/** A room's messages: older ones load as one scrolls up, new ones appear at the bottom. */
export function Timeline({ roomId, onInvite }: { roomId: string; onInvite: () => void }) {
  const client = useClient();
  const { events, hasOlder } = useTopic(`timeline:${roomId}`, (one) => one.timeline(roomId));
  const items = useMemo(() => arrange(events, client.userId), [events, client.userId]);
  const { scroller, content, atBottom, toBottom } = useStickToBottom(items[0]?.key, lastOwnKey(items));
  const { sentinel, failed, load } = useOlder(roomId, hasOlder, events.length, scroller);
  useMarkRead(roomId, events.at(-1)?.eventId, atBottom);
  const alone = useTopic(`members:${roomId}`, (one) => one.members(roomId)).length === 1;

  return (
    <div className={classes["frame"]}>
      <div className={classes["scroller"]} ref={scroller} tabIndex={0} role="region" aria-label="Conversation">
        <div className={classes["content"]} ref={content}>
          <div ref={sentinel} />
          {hasOlder && <Older failed={failed} onRetry={load} />}
          <ol className={classes["items"]} aria-label="Messages" aria-live="polite" aria-relevant="additions">
            {items.map((item) => (
              <Item key={item.key} item={item} roomId={roomId} />
            ))}
          </ol>
          {alone && !hasOlder && <Alone onInvite={onInvite} />}
        </div>
      </div>
      {!atBottom && (
        <ActionIcon className={classes["jump"] ?? ""} variant="default" radius="xl" size={38} aria-label="Jump to the newest" onClick={toBottom}>
          <IconArrowDown size={19} />
        </ActionIcon>
      )}
      <Typing roomId={roomId} />
    </div>
  );
}

const Item = memo(function Item({ item, roomId }: { item: TimelineItem; roomId: string }) {
  switch (item.kind) {
    case "day":
      return <Day ts={item.ts} />;
    case "line":
      return <li className={classes["line"]}>{item.text}</li>;
    case "group":
      return <MessageGroup group={item} roomId={roomId} />;
  }
});

function Day({ ts }: { ts: number }) {
  return (
    <li className={classes["day"]}>
      <span>{dayLabel(ts, useNow())}</span>
    </li>
  );
}

function Older({ failed, onRetry }: { failed: boolean; onRetry: () => void }) {
  return (
    <Center py="sm" mih={48}>
      {failed ? (
        <Button variant="subtle" size="xs" onClick={onRetry}>
          Older messages did not load. Try again
        </Button>
      ) : (
        <Loader type="dots" size="sm" aria-label="Loading older messages" />
      )}
    </Center>
  );
}

/** In a room with nobody else, the next step is to get someone in. */
function Alone({ onInvite }: { onInvite: () => void }) {
  return (
    <Stack align="center" gap={6} py="xl">
      <Text c="dimmed" size="sm">
        It’s only you here so far.
      </Text>
      <Button variant="light" leftSection={<IconUserPlus size={17} />} onClick={onInvite}>
        Invite someone
      </Button>
    </Stack>
  );
}

function Typing({ roomId }: { roomId: string }) {
  const people = useTopic(`typing:${roomId}`, (client) => client.typing(roomId));
  return (
    <div className={classes["typing"]} aria-live="polite">
      {people.length > 0 && <Loader type="dots" size={18} aria-hidden="true" />}
      <span>{typingText(people)}</span>
    </div>
  );
}

/** Says that the newest event was seen, when it was: the page visible and scrolled down. */
function useMarkRead(roomId: string, newest: string | undefined, atBottom: boolean): void {
  const client = useClient();
  useEffect(() => {
    const mark = (): void => {
      if (atBottom && document.visibilityState === "visible") client.markRead(roomId);
    };
    mark();
    document.addEventListener("visibilitychange", mark);
    return () => document.removeEventListener("visibilitychange", mark);
  }, [client, roomId, newest, atBottom]);
}

/** Changes when we send: our own message is always scrolled to. */
function lastOwnKey(items: readonly TimelineItem[]): string | undefined {
  const last = items.at(-1);
  return last?.kind === "group" && last.own ? last.messages.at(-1)?.key : undefined;
}
