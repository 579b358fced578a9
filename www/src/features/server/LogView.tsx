import { Button, SegmentedControl, TextInput } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { type LogLevel, type LogLine, filterLog, logText, parseLogLevel } from "../../domain/log-lines.ts";
import { copyText } from "../../platform/clipboard.ts";
import { fetchLog } from "../../platform/server.ts";
import classes from "./ServerPage.module.css";

const REFRESH_MS = 3_000;
/** More lines than this make a page slow and nobody wiser. */
const SHOWN = 500;

const LEVELS = [
  { value: "error", label: "Errors" },
  { value: "warn", label: "Warnings" },
  { value: "info", label: "Info" },
  { value: "trace", label: "All" },
];

/** The worker's log, kept up to date while one looks. */
export function LogView() {
  const lines = useLog();
  const [least, setLeast] = useState<LogLevel>("info");
  const [query, setQuery] = useState("");
  const found = useMemo(() => filterLog(lines, least, query), [lines, least, query]);
  return (
    <section className={classes["section"]} aria-label="Log">
      <h2>Log</h2>
      <div className={classes["tools"]}>
        <SegmentedControl size="xs" aria-label="Log level" data={LEVELS} value={least} onChange={(value) => setLeast(parseLogLevel(value))} />
        <TextInput size="xs" flex={1} miw={120} aria-label="Search the log" placeholder="Search" value={query} onChange={(event) => setQuery(event.currentTarget.value)} />
        <CopyLog lines={found} />
      </div>
      <Lines lines={found.slice(-SHOWN)} />
    </section>
  );
}

function CopyLog({ lines }: { lines: readonly LogLine[] }) {
  const [copied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    setCopied(await copyText(logText(lines)));
    setTimeout(() => setCopied(false), 1_500);
  };
  return (
    <Button size="xs" variant="default" leftSection={copied ? <IconCheck size={15} /> : <IconCopy size={15} />} onClick={() => void copy()}>
      {copied ? "Copied" : "Copy log"}
    </Button>
  );
}

function Lines({ lines }: { lines: readonly LogLine[] }) {
  const box = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  useLayoutEffect(() => {
    if (box.current && following.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines]);
  const scrolled = (): void => {
    const { current } = box;
    if (current) following.current = current.scrollHeight - current.scrollTop - current.clientHeight < 30;
  };
  return (
    <div className={classes["log"]} ref={box} role="log" aria-label="Log lines" tabIndex={0} onScroll={scrolled}>
      {lines.length === 0 && <div className={classes["none"]}>Nothing here.</div>}
      {lines.map((line, index) => (
        <div key={`${line.ts}-${index}`} className={classes["entry"]} data-level={line.level}>
          <time>{new Date(line.ts).toLocaleTimeString(undefined, { hour12: false })}</time>
          <b>{line.level}</b>
          <span>{line.target}</span>
          <span className={classes["text"]}>{line.message}</span>
        </div>
      ))}
    </div>
  );
}

function useLog(): readonly LogLine[] {
  const [lines, setLines] = useState<readonly LogLine[]>([]);
  useEffect(() => {
    const read = (): void => {
      if (!document.hidden) fetchLog().then(setLines, () => undefined);
    };
    read();
    const timer = setInterval(read, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  return lines;
}
