//! Which routes the tests have visited, for `cargo xtask coverage`: a line for each request that was answered with
//! success, in the file that `HEARTH_VISITS` names, if it does.

use std::{env, fs::OpenOptions, io::Write};

use http::{Method, StatusCode};

/// Notes that a request was answered with `status`.
pub(super) fn note(method: &Method, path: &str, status: StatusCode) {
    let Some(file) = env::var_os("HEARTH_VISITS") else {
        return;
    };
    if !status.is_success() {
        return;
    }
    let route = match *method {
        Method::OPTIONS => Some("OPTIONS /_matrix/{rest}".to_owned()),
        _ => crate::route_of(method, path),
    };
    if let Some(route) = route {
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        // One write for each line: tests run beside each other.
        file.write_all(format!("{route}\n").as_bytes()).unwrap();
    }
}
