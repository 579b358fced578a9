//! What happened in an episode, for people to read.

use std::{collections::BTreeMap, fmt, fmt::Write, time::Duration};

use hearth_homeserver::rooms::event::StoredEvent;

/// How much of an event id is shown: enough to tell the events of an episode apart.
const SHORT_ID: usize = 7;

/// Lines with the virtual time of each.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    lines: Vec<(Duration, String)>,
    /// Long names and the short ones shown in their place.
    names: BTreeMap<String, String>,
}

impl Trace {
    /// Shows `name` as `short` from now on.
    pub(crate) fn abbreviate(&mut self, name: &str, short: impl Into<String>) {
        self.names.insert(name.to_owned(), short.into());
    }

    /// Adds a line.
    pub(crate) fn note(&mut self, now: Duration, line: impl AsRef<str>) {
        let line = self.short(line.as_ref());
        self.lines.push((now, line));
    }

    /// `text` with short names in place of long ones.
    #[must_use]
    pub fn short(&self, text: &str) -> String {
        // Users before their servers, whose names are part of theirs.
        let names = self.names.iter().rev();
        names.fold(text.to_owned(), |text, (name, short)| text.replace(name, short))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (time, line) in &self.lines {
            writeln!(formatter, "{:>9.3} s  {line}", time.as_secs_f64())?;
        }
        Ok(())
    }
}

/// The beginning of an event id.
pub(crate) fn short_id(event_id: &str) -> &str {
    event_id.get(..SHORT_ID).unwrap_or(event_id)
}

/// An event in one line.
pub(crate) fn describe(event: &StoredEvent) -> String {
    let mut line = format!("{} {}", short_id(event.event_id.as_str()), event.kind());
    if let Some(key) = event.state_key() {
        let _ = write!(line, "[{key}]");
    }
    for field in [
        "membership",
        "join_rule",
        "history_visibility",
        "topic",
        "name",
        "body",
    ] {
        if let Some(value) = event.content_text(field) {
            let _ = write!(line, " {value}");
            break;
        }
    }
    let ids = |ids: &[_]| {
        let ids: Vec<_> = ids
            .iter()
            .map(|id: &ruma_common::OwnedEventId| short_id(id.as_str()))
            .collect();
        ids.join(" ")
    };
    let _ = write!(
        line,
        " by {} at depth {}, after [{}], by right of [{}]",
        event.sender(),
        event.depth(),
        ids(event.pdu.prev_events()),
        ids(event.pdu.auth_events()),
    );
    line
}

/// What a server decided about an event.
pub(crate) fn decision(event: &StoredEvent) -> String {
    let decision = &event.decision;
    let mut words = Vec::new();
    let shown = if decision.order.is_some() {
        "in the timeline"
    } else {
        "not in the timeline"
    };
    words.push(shown.to_owned());
    words.extend(decision.rejected.then(|| "rejected".to_owned()));
    words.extend(decision.soft_failed.then(|| "soft-failed".to_owned()));
    words.extend(
        decision
            .redacted_by
            .as_ref()
            .map(|id| format!("redacted by {}", short_id(id.as_str()))),
    );
    match &decision.state_before {
        Some(root) => words.push(format!("state {}", root.get(..8).unwrap_or(root))),
        None => words.push("outlier".to_owned()),
    }
    words.join(", ")
}
