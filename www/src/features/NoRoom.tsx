import { Button, Group, Stack, Text, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconLink, IconPlus } from "@tabler/icons-react";
import { Logo } from "../ui/Logo.tsx";
import { PageHeader } from "./PageHeader.tsx";
import classes from "./PageHeader.module.css";
import { FollowLinkDialog } from "./rooms/FollowLinkDialog.tsx";
import { NewRoomDialog } from "./rooms/NewRoomDialog.tsx";
import { useTopic } from "./session/client-context.ts";

/** What stands beside the list while no room is open. */
export function NoRoom() {
  const name = useTopic("me", (client) => client.myName());
  const empty = useTopic("rooms", (client) => client.rooms()).length === 0;
  const [making, dialog] = useDisclosure(false);
  const [following, link] = useDisclosure(false);
  return (
    <div className={classes["page"]}>
      <PageHeader />
      <Stack align="center" justify="center" flex={1} p="lg" gap="sm">
        <Logo size={72} />
        <Title order={2} fz={24} mt="xs">
          {empty ? `Hello, ${name}` : "Pick a room"}
        </Title>
        <Text c="dimmed" ta="center" maw={400}>
          {empty
            ? "Your server is running in this browser. Make a room and send its link to someone, or follow a link you were sent."
            : "Choose a room on the left, or make a new one."}
        </Text>
        <Group mt="sm" justify="center">
          <Button leftSection={<IconPlus size={18} />} onClick={dialog.open}>
            New room
          </Button>
          <Button variant="default" leftSection={<IconLink size={18} />} onClick={link.open}>
            Join with a link
          </Button>
        </Group>
      </Stack>
      <NewRoomDialog opened={making} onClose={dialog.close} />
      <FollowLinkDialog opened={following} onClose={link.close} />
    </div>
  );
}
