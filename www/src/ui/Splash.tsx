import { Button, Stack, Text, Title } from "@mantine/core";
import { Logo } from "./Logo.tsx";
import classes from "./Splash.module.css";

/** The whole window while nothing else can be shown. */
export function Splash({ text }: { text: string }) {
  return (
    <div className={classes["splash"]} role="status">
      <div className={classes["flame"]}>
        <Logo size={64} />
      </div>
      <Text c="dimmed" size="sm">
        {text}
      </Text>
    </div>
  );
}

/** The whole window when the app cannot go on by itself. */
export function Trouble({ title, detail }: { title: string; detail: string }) {
  return (
    <div className={classes["splash"]} role="alert">
      <Stack align="center" maw={420} px="lg" gap="sm">
        <Logo size={56} />
        <Title order={2} size="h3" ta="center">
          {title}
        </Title>
        <Text c="dimmed" ta="center">
          {detail}
        </Text>
        <Button mt="sm" onClick={() => location.reload()}>
          Try again
        </Button>
      </Stack>
    </div>
  );
}
