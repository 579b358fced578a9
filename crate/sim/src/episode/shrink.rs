//! Cutting a plan down to what breaks an invariant.

use super::{Options, Plan, Report, Step, run};

/// The most runs that are tried.
const MAX_RUNS: usize = 300;

/// The smallest plan found that breaks the same invariant as `report`, and how it went: steps are left out, in
/// ever smaller groups, as long as the same goes wrong. `None` if `report` tells of nothing wrong.
#[must_use]
pub fn shrink(seed: u64, options: &Options, plan: &Plan, report: &Report) -> Option<(Plan, Report)> {
    let (number, violation) = report.violation.as_ref()?;
    let mut best = plan.clone();
    best.steps.truncate(number + 1);
    let mut best_report = report.clone();
    let mut runs = 0;
    let mut group = best.steps.len() / 2;
    while group > 0 {
        let mut start = 0;
        let mut changed = false;
        while start < best.steps.len() && runs < MAX_RUNS {
            let smaller = without(&best, start, group);
            runs += 1;
            let tried = run(seed, options, &smaller);
            let same = tried
                .violation
                .as_ref()
                .filter(|(_, found)| found.invariant == violation.invariant);
            match same {
                Some((number, _)) => {
                    let number = *number;
                    best = smaller;
                    best.steps.truncate(number + 1);
                    best_report = tried;
                    changed = true;
                }
                None => start += group,
            }
        }
        if !changed || group > 1 {
            group /= 2;
        }
    }
    Some((best, best_report))
}

/// `plan` without the `count` steps from `start` on. Its last step, at which the invariant breaks, remains.
fn without(plan: &Plan, start: usize, count: usize) -> Plan {
    let last = plan.steps.len().saturating_sub(1);
    let keep = |index: usize, step: &Step| {
        let within = index >= start && index < start + count;
        !within || (index == last && *step == Step::Quiet)
    };
    let steps = plan
        .steps
        .iter()
        .enumerate()
        .filter(|(index, step)| keep(*index, step));
    Plan {
        steps: steps.map(|(_, step)| step.clone()).collect(),
        ..plan.clone()
    }
}
