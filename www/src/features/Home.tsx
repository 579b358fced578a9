import { Drawer } from "@mantine/core";
import { useDisclosure, useMediaQuery } from "@mantine/hooks";
import { type ReactNode, useEffect, useSyncExternalStore } from "react";
import type { Route } from "../domain/route.ts";
import { addressStore } from "../platform/address.ts";
import { ErrorBoundary } from "../ui/ErrorBoundary.tsx";
import { NoRoom } from "./NoRoom.tsx";
import classes from "./Home.module.css";
import { JoinPage } from "./invite/JoinPage.tsx";
import { RoomPage } from "./room/RoomPage.tsx";
import { RoomList } from "./rooms/RoomList.tsx";
import { ServerPage } from "./server/ServerPage.tsx";
import { NavigationContext } from "./navigation.ts";
import { useUnreadTitle } from "./use-unread-title.ts";

/** The signed-in app: rooms on the left (a drawer on a phone), one place on the right. */
export function Home() {
  const route = useSyncExternalStore(addressStore.subscribe, addressStore.get);
  const narrow = useMediaQuery("(max-width: 48em)", undefined, { getInitialValueInEffect: false });
  const [drawer, { open, close }] = useDisclosure(false);
  useUnreadTitle();
  useEffect(close, [route, close]);
  const rooms = (
    <ErrorBoundary what="The list of rooms">
      <RoomList route={route} />
    </ErrorBoundary>
  );

  if (narrow && route.place === "home") {
    return <div className={classes["full"]}>{rooms}</div>;
  }
  return (
    <NavigationContext value={narrow ? open : undefined}>
      <div className={classes["app"]}>
        {narrow ? (
          <Drawer opened={drawer} onClose={close} size={320} padding={0} withCloseButton={false} title={undefined} aria-label="Rooms">
            <div className={classes["drawer"]}>{rooms}</div>
          </Drawer>
        ) : (
          <div className={classes["side"]}>{rooms}</div>
        )}
        <main className={classes["main"]}>{placeOf(route)}</main>
      </div>
    </NavigationContext>
  );
}

function placeOf(route: Route): ReactNode {
  switch (route.place) {
    case "room":
      return (
        <ErrorBoundary key={route.roomId} what="This room">
          <RoomPage roomId={route.roomId} />
        </ErrorBoundary>
      );
    case "join":
      return <JoinPage key={route.invite.roomId} invite={route.invite} />;
    case "server":
      return (
        <ErrorBoundary key="server" what="This server">
          <ServerPage />
        </ErrorBoundary>
      );
    case "home":
      return <NoRoom />;
  }
}
