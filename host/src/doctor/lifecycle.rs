//! What the bucket forgets by itself: inputs when they are no longer used, and never by their age; runs by theirs.

use serde_json::Value;
use wire::names::{INPUTS, RUNS};

use super::Finding;
use super::bucket::APPLY;

/// Conditions that come true of an input however often it is used.
const AGING: &[&str] = &["age", "createdBefore"];

/// Inputs that are forgotten sooner after a use may go while a run of a week still starts tasks.
const INPUTS_DAYS: u64 = 9;

/// Runs that are forgotten sooner may go before their results were fetched.
const RUNS_DAYS: u64 = 14;

/// `longest`: that a task may run, in days.
pub(super) fn examine(bucket: &Value, longest: u64) -> Vec<Finding> {
    let rules = bucket["lifecycle"]["rule"].as_array();
    let rules: Vec<&Value> = rules
        .into_iter()
        .flatten()
        .filter(|rule| rule["action"]["type"] == "Delete")
        .map(|rule| &rule["condition"])
        .filter(|condition| !is_of_the_dead(condition))
        .collect();
    vec![inputs(&rules), runs(&rules, longest)]
}

/// Whether it never comes true of an object that is there.
fn is_of_the_dead(condition: &Value) -> bool {
    const DEAD: &[&str] = &[
        "numNewerVersions",
        "daysSinceNoncurrentTime",
        "noncurrentTimeBefore",
    ];
    condition["isLive"] == false || DEAD.iter().any(|name| !condition[*name].is_null())
}

fn inputs(rules: &[&Value]) -> Finding {
    const CHECK: &str = "bucket.inputs";
    let by_use = |rule: &Value| rule["daysSinceCustomTime"].as_u64();
    let ours = || rules.iter().filter(|rule| touches(rule, INPUTS));
    let ages = |rule: &&&Value| AGING.iter().any(|name| !rule[*name].is_null());
    if ours().any(|rule| by_use(rule).is_none() && ages(&rule)) {
        let says = "a rule deletes inputs by their age, and so from beneath runs that use them";
        return Finding::failure(CHECK, says).with_hint(APPLY);
    }
    match ours().filter_map(|rule| by_use(rule)).min() {
        Some(days) if days < INPUTS_DAYS => {
            let says =
                format!("forgotten {days} days after their last use, which may be beneath a run");
            Finding::warning(CHECK, says).with_hint(APPLY)
        }
        Some(days) => Finding::ok(CHECK, format!("forgotten {days} days after their last use")),
        None => Finding::warning(
            CHECK,
            "no rule forgets inputs: they are kept, and billed, for ever",
        )
        .with_hint(APPLY),
    }
}

fn runs(rules: &[&Value], longest: u64) -> Finding {
    const CHECK: &str = "bucket.runs";
    let ours = rules.iter().filter(|rule| touches(rule, RUNS));
    match ours.filter_map(|rule| rule["age"].as_u64()).min() {
        Some(days) if days <= longest => {
            let says = format!("forgotten after {days} days, and a task may run for {longest}");
            Finding::failure(CHECK, says).with_hint(APPLY)
        }
        Some(days) if days < RUNS_DAYS => {
            let says = format!("forgotten after {days} days, perhaps before they are fetched");
            Finding::warning(CHECK, says).with_hint(APPLY)
        }
        Some(days) => Finding::ok(CHECK, format!("forgotten after {days} days")),
        None => Finding::warning(
            CHECK,
            "no rule forgets runs: they are kept, and billed, for ever",
        )
        .with_hint(APPLY),
    }
}

/// Whether a rule is about names that begin so, all or some of them.
fn touches(rule: &Value, names: &str) -> bool {
    let prefixes = rule["matchesPrefix"].as_array();
    let matches = |prefix: &str| names.starts_with(prefix) || prefix.starts_with(names);
    prefixes.is_none_or(|all| all.iter().filter_map(Value::as_str).any(matches))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Status;

    fn statuses(conditions: &Value) -> Vec<Status> {
        let rules = conditions.as_array().unwrap().iter();
        let rules: Vec<Value> = rules
            .map(|condition| json!({"action": {"type": "Delete"}, "condition": condition}))
            .collect();
        let findings = examine(&json!({"lifecycle": {"rule": rules}}), 7);
        findings.into_iter().map(|finding| finding.status).collect()
    }

    #[test]
    fn the_kits_rules_are_as_they_should_be() {
        let kit = json!([
            {"matchesPrefix": ["inputs/"], "daysSinceCustomTime": 14},
            {"matchesPrefix": ["runs/"], "age": 30},
        ]);
        assert_eq!(statuses(&kit), [Status::Ok, Status::Ok]);
        assert_eq!(statuses(&json!([])), [Status::Warning, Status::Warning]);
    }

    #[test]
    fn what_forgets_too_soon_is_found() {
        let days = |inputs: u64, runs: u64| {
            statuses(&json!([
                {"matchesPrefix": ["inputs/"], "daysSinceCustomTime": inputs},
                {"matchesPrefix": ["runs/"], "age": runs},
            ]))
        };
        assert_eq!(days(9, 14), [Status::Ok, Status::Ok]);
        assert_eq!(days(8, 13), [Status::Warning, Status::Warning]);
        assert_eq!(days(0, 8), [Status::Warning, Status::Warning]);
        assert_eq!(
            days(9, 7),
            [Status::Ok, Status::Failure],
            "a task's own week"
        );
    }

    #[test]
    fn what_takes_an_input_in_use_is_found_however_it_is_said() {
        for rule in [
            json!({"age": 30}),
            json!({"age": 30, "matchesPrefix": ["in"]}),
            json!({"age": 30, "matchesPrefix": ["inputs/0"]}),
            json!({"age": 30, "matchesPrefix": ["runs/", "inputs/"]}),
            json!({"createdBefore": "2026-01-01"}),
        ] {
            let found = statuses(&json!([rule]));
            assert_eq!(found[0], Status::Failure, "{rule}");
        }
        for dead in [
            json!({"age": 30, "isLive": false}),
            json!({"age": 30, "numNewerVersions": 3}),
        ] {
            let found = statuses(&json!([dead]));
            assert_eq!(found, [Status::Warning, Status::Warning], "{dead}");
        }
        let both = json!([{"age": 30, "daysSinceCustomTime": 14}]);
        assert_eq!(statuses(&both)[0], Status::Ok, "both must come true");
        let dead = json!([{"age": 30, "matchesPrefix": ["runs/"]}]);
        assert_eq!(statuses(&dead), [Status::Warning, Status::Ok]);
    }
}
