import { Tooltip } from "@mantine/core";
import { useSyncExternalStore } from "react";
import { reachability } from "../../domain/server-status.ts";
import { statusStore } from "../../platform/status-store.ts";
import classes from "./StatusPill.module.css";

/** How reachable this server is, in a word; the whole sentence for who points at it or listens. Leads to its page. */
export function StatusPill() {
  const { status, answered } = useSyncExternalStore(statusStore.subscribe, statusStore.get);
  const { level, label, detail } = reachability(status, answered);
  const peers = status?.peers.filter((peer) => peer.connected).length ?? 0;
  return (
    <div role="status" aria-label="Connection">
      <Tooltip label={detail}>
        <a className={classes["pill"]} data-level={level} href="#/server" aria-label={`${detail}. This server`}>
          <span className={classes["dot"]} />
          <span className={classes["label"]}>{label}</span>
          {level === "online" && peers > 0 && <span className={classes["count"]}>{peers}</span>}
        </a>
      </Tooltip>
    </div>
  );
}
