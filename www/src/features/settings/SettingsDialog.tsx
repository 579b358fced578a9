import { Anchor, Button, Group, Modal, SegmentedControl, Stack, Text, TextInput, useMantineColorScheme } from "@mantine/core";
import { useState } from "react";
import { formatRoute } from "../../domain/route.ts";
import { CopyAction } from "../../ui/CopyAction.tsx";
import { notifyDone, notifyFailure } from "../../ui/notify.ts";
import { useClient, useTopic } from "../session/client-context.ts";
import { OtherClients } from "./OtherClients.tsx";

/** The few things that one can set. */
export function SettingsDialog({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} title="Settings">
      <Stack gap="lg">
        <NameSetting />
        <UserId />
        <AppearanceSetting />
        <OtherClients />
        <Text size="sm">
          <Anchor href={formatRoute({ place: "server" })} onClick={onClose}>
            This server: relays, peers and log
          </Anchor>
        </Text>
      </Stack>
    </Modal>
  );
}

function NameSetting() {
  const client = useClient();
  const current = useTopic("me", (one) => one.myName());
  const [name, setName] = useState(current);
  const [busy, setBusy] = useState(false);
  const save = async (): Promise<void> => {
    setBusy(true);
    try {
      await client.setMyName(name.trim());
      notifyDone("Your name was changed");
    } catch (error) {
      notifyFailure("Your name was not changed", error);
    }
    setBusy(false);
  };
  return (
    <Group align="flex-end" gap="xs">
      <TextInput flex={1} label="Your name" maxLength={64} value={name} onChange={(event) => setName(event.currentTarget.value)} />
      <Button variant="light" loading={busy} disabled={!name.trim() || name.trim() === current} onClick={() => void save()}>
        Save
      </Button>
    </Group>
  );
}

function UserId() {
  const { userId } = useClient();
  return <TextInput label="Your user id" description="Others need it to invite you." readOnly value={userId} rightSection={<CopyAction what="your user id" value={userId} />} />;
}

function AppearanceSetting() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <div>
      <Text size="sm" fw={500} mb={4} id="appearance">
        Appearance
      </Text>
      <SegmentedControl fullWidth aria-labelledby="appearance" value={colorScheme} data={[{ value: "auto", label: "As the system" }, { value: "light", label: "Light" }, { value: "dark", label: "Dark" }]} onChange={(value) => setColorScheme(value)} />
    </div>
  );
}
