//! Prints `METHOD /path` for each route, read from the router itself; `ANY` for prefixes that stand for newer ones.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

fn main() {
    let routes = hearth_api::routes().map(|(method, path)| (path.to_owned(), method.to_string()));
    let aliases = hearth_api::aliases().map(|prefix| (format!("{prefix}{{rest}}"), "ANY".to_owned()));
    // Pre-flight requests are answered on every path.
    let preflight = ("/_matrix/{rest}".to_owned(), "OPTIONS".to_owned());
    let mut lines: Vec<_> = routes.chain(aliases).chain([preflight]).collect();
    lines.sort();
    for (path, method) in lines {
        println!("{method} {path}");
    }
}
