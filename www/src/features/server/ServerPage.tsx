import { Badge, CopyButton, Tooltip } from "@mantine/core";
import { type ReactNode, useSyncExternalStore } from "react";
import { shortServer } from "../../domain/person.ts";
import { type ServerStatus, reachability } from "../../domain/server-status.ts";
import { duration } from "../../domain/time.ts";
import { statusStore } from "../../platform/status-store.ts";
import { PageHeader } from "../PageHeader.tsx";
import pageClasses from "../PageHeader.module.css";
import { useNow } from "../session/use-now.ts";
import { LogView } from "./LogView.tsx";
import classes from "./ServerPage.module.css";

const MINUTE_MS = 60_000;

/** What the server in this browser is, whom it knows, and what it logged. */
export function ServerPage() {
  const { status, answered } = useSyncExternalStore(statusStore.subscribe, statusStore.get);
  const { detail } = reachability(status, answered);
  return (
    <div className={pageClasses["page"]}>
      <PageHeader>
        <h1 className={classes["title"]}>This server</h1>
      </PageHeader>
      <div className={classes["scroll"]}>
        <div className={classes["column"]}>
          <p className={classes["lead"]}>{detail}.</p>
          {status && <Facts status={status} />}
          {status && <Relays status={status} />}
          {status && <Peers status={status} />}
          <LogView />
        </div>
      </div>
    </div>
  );
}

function Facts({ status }: { status: ServerStatus }) {
  const now = useNow();
  return (
    <Section title="Identity">
      <dl className={classes["facts"]}>
        <dt>Name</dt>
        <dd>
          <Copyable text={status.serverName} label="Copy the server name" />
        </dd>
        <dt>Peer id</dt>
        <dd>
          <Copyable text={status.peerId} label="Copy the peer id" />
        </dd>
        <dt>Version</dt>
        <dd>{status.version || "unknown"}</dd>
        {status.startedMs !== undefined && (
          <>
            <dt>Awake for</dt>
            <dd>{now - status.startedMs < MINUTE_MS ? "less than a minute" : duration(now - status.startedMs)}</dd>
          </>
        )}
      </dl>
    </Section>
  );
}

function Relays({ status }: { status: ServerStatus }) {
  return (
    <Section title="Relays" count={status.relays.length}>
      {status.relays.length === 0 && <p className={classes["none"]}>None known. Others cannot reach this server.</p>}
      <ul className={classes["rows"]} aria-label="Relays">
        {status.relays.map((relay) => (
          <li key={relay.address}>
            <Copyable text={relay.address} label="Copy the relay's address" />
            <span className={classes["tags"]}>
              <Rtt ms={relay.rttMs} />
              <State good={relay.connected} yes={relay.reserved ? "reachable through it" : "connected"} no="not connected" />
            </span>
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Peers({ status }: { status: ServerStatus }) {
  return (
    <Section title="Peers" count={status.peers.length}>
      {status.peers.length === 0 && <p className={classes["none"]}>Nobody right now. People of your rooms appear here while they are online.</p>}
      <ul className={classes["rows"]} aria-label="Peers">
        {status.peers.map((peer) => (
          <li key={peer.serverName}>
            <Copyable text={peer.serverName} shown={shortServer(peer.serverName)} label="Copy the peer's name" />
            <span className={classes["tags"]}>
              <Rtt ms={peer.rttMs} />
              <State good={peer.connected} yes={peer.relayed ? "relayed" : "direct"} no="away" />
            </span>
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Section({ title, count, children }: { title: string; count?: number; children: ReactNode }) {
  return (
    <section className={classes["section"]} aria-label={title}>
      <h2>
        {title} {count !== undefined && <span className={classes["count"]}>{count}</span>}
      </h2>
      {children}
    </section>
  );
}

function Rtt({ ms }: { ms: number | undefined }) {
  return ms === undefined ? null : <span className={classes["rtt"]}>{ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms</span>;
}

function State({ good, yes, no }: { good: boolean; yes: string; no: string }) {
  return (
    <Badge variant="light" color={good ? "green" : "gray"} tt="none">
      {good ? yes : no}
    </Badge>
  );
}

function Copyable({ text, shown = text, label }: { text: string; shown?: string; label: string }) {
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? "Copied" : "Click to copy"}>
          <button type="button" className={classes["mono"]} aria-label={label} onClick={copy}>
            {shown}
          </button>
        </Tooltip>
      )}
    </CopyButton>
  );
}
