import { ActionIcon } from "@mantine/core";
import { IconMenu2 } from "@tabler/icons-react";
import { type ReactNode, use } from "react";
import { NavigationContext } from "./navigation.ts";
import classes from "./PageHeader.module.css";
import { StatusPill } from "./server/StatusPill.tsx";

/** The bar above every place: the way to the rooms on a narrow screen, what the place is, and the connection. */
export function PageHeader({ children, actions }: { children?: ReactNode; actions?: ReactNode }) {
  const openRooms = use(NavigationContext);
  return (
    <header className={classes["header"]}>
      {openRooms && (
        <ActionIcon aria-label="Show rooms" size="lg" onClick={openRooms}>
          <IconMenu2 size={20} />
        </ActionIcon>
      )}
      <div className={classes["title"]}>{children}</div>
      <StatusPill />
      {actions}
    </header>
  );
}
