//! The worker's log: the newest lines in memory for `GET /_hearth/log`, and the browser's console.
//!
//! Everything of Hearth from `INFO` up is kept (from `DEBUG` up in a debug build: the module of a release has less), and
//! warnings and errors of libraries. Spans are not.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt::{self, Write},
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::clock;

/// How many lines are kept.
const LINES: usize = 1000;
/// How many bytes of one message are kept.
const MESSAGE_BYTES: usize = 4096;

thread_local! {
    static RING: RefCell<VecDeque<Line>> = const { RefCell::new(VecDeque::new()) };
}

/// One line of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Milliseconds since the Unix epoch.
    ts: u64,
    /// `ERROR`, `WARN`, `INFO` or `DEBUG`.
    level: String,
    /// The module that wrote it.
    target: String,
    message: String,
}

/// The kept lines, oldest first.
#[derive(Serialize)]
pub(crate) struct Lines {
    lines: Vec<Line>,
}

/// Sends every `tracing` event of this module to the log from now on, after `earlier` lines (a JSON list).
pub(crate) fn install(earlier: &str) {
    for line in serde_json::from_str::<Vec<Line>>(earlier).unwrap_or_default() {
        keep(line);
    }
    // Fails only if it is installed already, as when a test starts two homeservers in one module.
    let _ = tracing::subscriber::set_global_default(Log {
        spans: AtomicU64::new(1),
    });
}

/// The lines that are kept. None while the log itself is being written, as in a panic.
pub(crate) fn lines() -> Lines {
    let lines = RING.with(|ring| {
        ring.try_borrow()
            .map(|ring| ring.iter().cloned().collect())
            .unwrap_or_default()
    });
    Lines { lines }
}

fn keep(line: Line) {
    RING.with(|ring| {
        let Ok(mut ring) = ring.try_borrow_mut() else {
            return;
        };
        if ring.len() == LINES {
            ring.pop_front();
        }
        ring.push_back(line);
    });
}

/// Writes a line to the log and the console.
pub(crate) fn write(level: Level, target: &str, mut message: String) {
    truncate(&mut message);
    print(level, &format!("{target}: {message}"));
    keep(Line {
        ts: clock::now(),
        level: level.to_string(),
        target: target.to_owned(),
        message,
    });
}

fn print(level: Level, text: &str) {
    let text = text.into();
    match level {
        Level::ERROR => web_sys::console::error_1(&text),
        Level::WARN => web_sys::console::warn_1(&text),
        Level::INFO => web_sys::console::info_1(&text),
        _ => {}
    }
}

fn truncate(message: &mut String) {
    if message.len() > MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
        message.push('…');
    }
}

/// The subscriber that fills the log.
struct Log {
    /// The id of the next span: spans are not kept, but each needs one.
    spans: AtomicU64,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let most_verbose = if metadata.target().starts_with("hearth") {
            Level::DEBUG
        } else {
            Level::WARN
        };
        metadata.is_event() && *metadata.level() <= most_verbose
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message::default();
        event.record(&mut message);
        write(
            *event.metadata().level(),
            event.metadata().target(),
            message.finish(),
        );
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event as text: its message, then `key=value` of its fields.
#[derive(Default)]
struct Message {
    text: String,
    fields: String,
}

impl Message {
    fn finish(self) -> String {
        self.text + &self.fields
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
