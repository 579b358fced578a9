import { Button, Stack, Text } from "@mantine/core";
import { Component, type ReactNode } from "react";

interface Props {
  /** What failed, for people. */
  what: string;
  children: ReactNode;
}

/** Keeps an error of one part from taking the others with it. */
export class ErrorBoundary extends Component<Props, { error?: Error }> {
  override state: { error?: Error } = {};

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <Stack role="alert" align="center" justify="center" h="100%" p="xl" gap="xs">
        <Text fw={600}>{this.props.what} cannot be shown</Text>
        <Text c="dimmed" size="sm" maw={480} ta="center">
          {error.message}
        </Text>
        <Button variant="light" onClick={() => this.setState({ error: undefined as never })}>
          Try again
        </Button>
      </Stack>
    );
  }
}
