//! Prints `METHOD /path` for each route, read from the router itself.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

fn main() {
    let mut lines: Vec<String> = hearth_api::routes()
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    lines.sort_by(|a, b| {
        a.split_once(' ')
            .map(|(_, path)| path)
            .cmp(&b.split_once(' ').map(|(_, path)| path))
    });
    for line in lines {
        println!("{line}");
    }
}
