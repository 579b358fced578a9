//! Which routes have answered with success, for `cargo xtask coverage`: a line for each answer, in the file that
//! `HEARTH_VISITS` names, if it does. No run depends on it.

use std::{env, fs::OpenOptions, io::Write};

use http::{Method, StatusCode};

/// Notes that a request was answered with `status`.
///
/// # Panics
/// If the file cannot be written.
#[allow(clippy::expect_used, reason = "a count that is not right is worth nothing")]
pub(crate) fn note(method: &Method, path: &str, status: StatusCode) {
    let Some(file) = env::var_os("HEARTH_VISITS").filter(|_| status.is_success()) else {
        return;
    };
    if let Some(route) = hearth_api::route_of(method, path) {
        let file = OpenOptions::new().create(true).append(true).open(file);
        let line = format!("{route}\n");
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the visits can be written");
    }
}
