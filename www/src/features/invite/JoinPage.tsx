import { Alert, Button, Group, Loader, Paper, Stack, Text, Title } from "@mantine/core";
import { IconAlertCircle, IconClock } from "@tabler/icons-react";
import { useEffect } from "react";
import type { Invite } from "../../domain/invite-link.ts";
import type { JoinProgress } from "../../domain/join.ts";
import { goTo } from "../../platform/address.ts";
import { Logo } from "../../ui/Logo.tsx";
import { PageHeader } from "../PageHeader.tsx";
import pageClasses from "../PageHeader.module.css";
import { useTopic } from "../session/client-context.ts";
import { InviteSummary } from "./InviteSummary.tsx";
import { useJoin } from "./use-join.ts";

/** A server that just started is not connected yet: the first failures say nothing. */
const PATIENT_ATTEMPTS = 3;

/** Follows an invite link: joins, says how far it is, and opens the room. */
export function JoinPage({ invite }: { invite: Invite }) {
  const membership = useTopic(`room:${invite.roomId}`, (client) => client.room(invite.roomId)?.membership);
  const { progress, tryNow, restart } = useJoin(invite, membership !== "join");
  const inside = membership === "join" || progress.step === "joined";
  useEffect(() => {
    if (inside) goTo({ place: "room", roomId: invite.roomId }, true);
  }, [inside, invite.roomId]);

  return (
    <div className={pageClasses["page"]}>
      <PageHeader />
      <Stack align="center" justify="center" flex={1} p="md">
        <Paper withBorder radius="lg" p="xl" maw={440} w="100%">
          <Stack align="center" gap="md">
            <Logo size={52} />
            <Title order={2} fz={22} ta="center">
              {invite.name ? `Joining ${invite.name}` : "Joining a room"}
            </Title>
            <InviteSummary invite={invite} />
            <div role="status" aria-label="Joining">
              <Progress progress={progress} />
            </div>
            <Group justify="center">
              {progress.step === "waiting" && <Button onClick={tryNow}>Try now</Button>}
              {progress.step === "refused" && <Button onClick={restart}>Try again</Button>}
              <Button variant="default" onClick={() => goTo({ place: "home" }, true)}>
                {progress.step === "refused" ? "Back" : "Cancel"}
              </Button>
            </Group>
          </Stack>
        </Paper>
      </Stack>
    </div>
  );
}

function Progress({ progress }: { progress: JoinProgress }) {
  switch (progress.step) {
    case "waiting":
      if (progress.attempt < PATIENT_ATTEMPTS) return <Working text="Looking for the people of this room…" />;
      return (
        <Alert color="yellow" icon={<IconClock />}>
          {progress.reason}
          <Text size="xs" c="dimmed">
            Tried {progress.attempt} times. You can leave this page open.
          </Text>
        </Alert>
      );
    case "refused":
      return (
        <Alert color="red" icon={<IconAlertCircle />}>
          {progress.reason}
        </Alert>
      );
    case "asking":
      return <Working text={progress.attempt < PATIENT_ATTEMPTS ? "Asking for the room…" : "Asking again…"} />;
    default:
      return <Working text="Connecting…" />;
  }
}

function Working({ text }: { text: string }) {
  return (
    <Group gap="xs" justify="center">
      <Loader size="sm" />
      <Text size="sm" c="dimmed">
        {text}
      </Text>
    </Group>
  );
}
