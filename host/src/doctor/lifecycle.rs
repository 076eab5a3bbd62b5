//! What the bucket forgets by itself: inputs when they are no longer used, and never by their age; runs by theirs.

use serde_json::Value;
use wire::names::{INPUTS, RUNS};

use super::Finding;
use super::bucket::APPLY;

/// Conditions that come true of an input however often it is used.
const AGING: &[&str] = &["age", "createdBefore"];

/// A task may run for 7 days, and what it uses was used first up to a day before; the kit takes no less.
const INPUTS_LEAST: u64 = 9;

/// The results of such a task must be there for a while, too; the kit takes no less.
const RUNS_LEAST: u64 = 14;

pub(super) fn examine(bucket: &Value) -> Vec<Finding> {
    let rules = bucket["lifecycle"]["rule"].as_array();
    let rules: Vec<&Value> = rules
        .into_iter()
        .flatten()
        .filter(|rule| rule["action"]["type"] == "Delete")
        .map(|rule| &rule["condition"])
        .filter(|condition| !is_of_the_dead(condition))
        .collect();
    vec![inputs(&rules), runs(&rules)]
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
        Some(days) => long_enough(
            CHECK,
            days,
            INPUTS_LEAST,
            format!("forgotten {days} days after their last use"),
        ),
        None => Finding::warning(
            CHECK,
            "no rule forgets inputs: they are kept, and billed, for ever",
        )
        .with_hint(APPLY),
    }
}

fn runs(rules: &[&Value]) -> Finding {
    const CHECK: &str = "bucket.runs";
    let ours = rules.iter().filter(|rule| touches(rule, RUNS));
    match ours.filter_map(|rule| rule["age"].as_u64()).min() {
        Some(days) => long_enough(
            CHECK,
            days,
            RUNS_LEAST,
            format!("forgotten after {days} days"),
        ),
        None => Finding::warning(
            CHECK,
            "no rule forgets runs: they are kept, and billed, for ever",
        )
        .with_hint(APPLY),
    }
}

fn long_enough(check: &str, days: u64, least: u64, says: String) -> Finding {
    if days >= least {
        return Finding::ok(check, says);
    }
    let says = format!("{says}, and a task may run for 7: {least} are the least that is safe");
    Finding::warning(check, says).with_hint(APPLY)
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
        let findings = examine(&json!({"lifecycle": {"rule": rules}}));
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
    fn what_is_forgotten_too_soon_or_never_is_told() {
        let rules = |inputs: u32, runs: u32| {
            json!([
                {"matchesPrefix": ["inputs/"], "daysSinceCustomTime": inputs},
                {"matchesPrefix": ["runs/"], "age": runs},
            ])
        };
        assert_eq!(statuses(&rules(9, 14)), [Status::Ok, Status::Ok]);
        assert_eq!(statuses(&rules(8, 13)), [Status::Warning, Status::Warning]);
        let inputs_alone = json!([{"matchesPrefix": ["inputs/"], "daysSinceCustomTime": 14}]);
        assert_eq!(statuses(&inputs_alone), [Status::Ok, Status::Warning]);
        // The shortest counts.
        let two = json!([
            {"matchesPrefix": ["runs/"], "age": 30},
            {"matchesPrefix": ["runs/x"], "age": 1},
        ]);
        let found = examine(&json!({"lifecycle": {"rule": [
            {"action": {"type": "Delete"}, "condition": two[0]},
            {"action": {"type": "Delete"}, "condition": two[1]},
        ]}}));
        assert_eq!(found[1].status, Status::Warning);
        assert!(found[1].says.starts_with("forgotten after 1 days"));
        assert!(found[1].hint.is_some());
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
