//! Prints, for each tier of a list of endpoints, how many are served (by the router itself) and how many of these a
//! test has had an answer of: `coverage <endpoints.csv> <visits>`. The list's first columns are the API, the method,
//! the path and the tier; each line of the visits is a method and a path of a route.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "printing is what it is for, and a developer reads its panics"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

use http::Method;

/// What is counted of a tier.
#[derive(Default)]
struct Tier {
    rows: usize,
    served: usize,
    tested: usize,
    /// What is not served, and what is not tested.
    gaps: Vec<String>,
}

fn main() {
    let [list, visits] = [1, 2].map(|index| fs::read_to_string(env::args().nth(index).unwrap()).unwrap());
    let visits: BTreeSet<_> = visits.lines().collect();
    let mut tiers = BTreeMap::<(String, String), Tier>::new();
    for line in list.lines().skip(1) {
        let fields: Vec<_> = line.splitn(5, ',').collect();
        let tier = tiers
            .entry((fields[3].to_owned(), fields[0].to_owned()))
            .or_default();
        tier.count(fields[1], fields[2], &visits);
    }
    println!(
        "{:4} {:6} {:>5} {:>7} {:>7}",
        "tier", "api", "rows", "served", "tested"
    );
    for ((name, api), tier) in &tiers {
        println!(
            "{name:4} {api:6} {:5} {:7} {:7}",
            tier.rows, tier.served, tier.tested
        );
    }
    for ((name, _), tier) in tiers.iter().filter(|((name, _), _)| name != "n/a") {
        tier.gaps.iter().for_each(|gap| println!("tier {name}, {gap}"));
    }
}

impl Tier {
    fn count(&mut self, method: &str, path: &str, visits: &BTreeSet<&str>) {
        self.rows += 1;
        match served_as(method, path) {
            None => self.gaps.push(format!("not served: {method} {path}")),
            Some(route) => {
                self.served += 1;
                let prefix = route
                    .strip_prefix("ANY ")
                    .and_then(|path| path.strip_suffix("{rest}"));
                let is_tested = match prefix {
                    Some(prefix) => visits.iter().any(|visit| visit.contains(prefix)),
                    None => visits.contains(&*route),
                };
                self.tested += usize::from(is_tested);
                if !is_tested {
                    self.gaps.push(format!("not tested: {method} {path}"));
                }
            }
        }
    }
}

/// The route that serves a row of the list.
fn served_as(method: &str, path: &str) -> Option<String> {
    match method {
        "ANY" => hearth_api::aliases()
            .any(|prefix| path == format!("{prefix}{{rest}}"))
            .then(|| format!("ANY {path}")),
        // Pre-flight requests are answered on every path.
        "OPTIONS" => Some(format!("OPTIONS {path}")),
        method => hearth_api::route_of(&Method::from_bytes(method.as_bytes()).unwrap(), path),
    }
}
