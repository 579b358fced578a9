/** The worker's log, as people read and copy it. */
import { momentOf } from "./time.ts";

export const LOG_LEVELS = ["error", "warn", "info", "debug", "trace"] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogLine {
  ts: number;
  level: LogLevel;
  target: string;
  message: string;
}

/** The answer of `/_hearth/log`. */
export function parseLog(json: unknown): LogLine[] {
  const lines = typeof json === "object" && json !== null && "lines" in json ? json.lines : undefined;
  return Array.isArray(lines) ? lines.map(parseLine) : [];
}

/** A level by its name; `info` for anything unknown. */
export function parseLogLevel(name: string): LogLevel {
  return LOG_LEVELS.find((known) => known === name) ?? "info";
}

function parseLine(json: unknown): LogLine {
  const value = typeof json === "object" && json !== null ? (json as Record<string, unknown>) : {};
  return {
    ts: momentOf(Number(value["ts"]) || 0),
    level: parseLogLevel(String(value["level"]).toLowerCase()),
    target: typeof value["target"] === "string" ? value["target"] : "",
    message: typeof value["message"] === "string" ? value["message"] : "",
  };
}

/** Lines at least as serious as `least` that hold `query`. */
export function filterLog(lines: readonly LogLine[], least: LogLevel, query: string): LogLine[] {
  const limit = LOG_LEVELS.indexOf(least);
  const wanted = query.trim().toLowerCase();
  return lines.filter(
    (line) =>
      LOG_LEVELS.indexOf(line.level) <= limit && (!wanted || `${line.target} ${line.message}`.toLowerCase().includes(wanted)),
  );
}

/** The lines as text, one each. */
export function logText(lines: readonly LogLine[]): string {
  return lines.map((line) => `${new Date(line.ts).toISOString()} ${line.level.toUpperCase()} ${line.target}: ${line.message}`).join("\n");
}
