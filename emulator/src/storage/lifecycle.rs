//! Deletes what a bucket's lifecycle rules say has had its time. Google does so once a day or so; here it happens when
//! the emulator starts, and then every hour.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::holdings::Bucket;
use super::object::Object;
use super::store::Store;
use crate::options::Clock;
use crate::refusal::Refusal;

const INTERVAL: Duration = Duration::from_hours(1);

/// Sweeps now and every hour, until dropped.
pub(crate) async fn keep_sweeping(store: Arc<Store>, clock: Clock) {
    loop {
        for bucket in store.buckets() {
            sweep(&bucket, clock()).await;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn sweep(bucket: &Arc<Bucket>, now: Timestamp) {
    let rules = rules(bucket);
    if rules.is_empty() {
        return;
    }
    let mut over = Vec::new();
    bucket.scan("", |object| {
        if rules.iter().any(|rule| is_met(rule, object, now)) {
            over.push(Arc::clone(object));
        }
        true
    });
    for object in over {
        // Only what was looked at: another may have taken its name since. What is held stays, as it does there.
        let is_same = |current: Option<&Object>| match current {
            Some(current) if current.generation == object.generation => Ok(()),
            _ => Err(Refusal::condition_not_met("If-Match")),
        };
        if let Err(refusal) = bucket.delete(&object.name, is_same).await {
            tracing::debug!(
                name = object.name,
                reason = refusal.message,
                "an object stays"
            );
        }
    }
}

/// The conditions of the rules that delete.
fn rules(bucket: &Bucket) -> Vec<Map<String, Value>> {
    let record = crate::lock::lock(&bucket.record);
    let rules = record.setting("/lifecycle/rule").and_then(Value::as_array);
    let deleting = rules.into_iter().flatten().filter(|rule| {
        rule.pointer("/action/type")
            .is_some_and(|kind| kind == "Delete")
    });
    deleting
        .filter_map(|rule| rule.get("condition")?.as_object().cloned())
        .collect()
}

/// Whether every condition of a rule is met; a rule of none deletes nothing, nor one that we do not know.
fn is_met(conditions: &Map<String, Value>, object: &Object, now: Timestamp) -> bool {
    let mut conditions = conditions
        .iter()
        .filter(|(_, value)| !value.is_null())
        .peekable();
    conditions.peek().is_some() && conditions.all(|(name, value)| holds(name, value, object, now))
}

fn holds(name: &str, value: &Value, object: &Object, now: Timestamp) -> bool {
    let any = |matches: &dyn Fn(&str) -> bool| {
        let values = value.as_array().into_iter().flatten();
        values.filter_map(Value::as_str).any(matches)
    };
    let attributes = &object.attributes;
    match name {
        "age" => is_past(object.created, value, now),
        "daysSinceCustomTime" => {
            let custom = attributes.custom_time;
            custom.is_some_and(|time| is_past(time, value, now))
        }
        "createdBefore" => is_before(object.created, value),
        "customTimeBefore" => {
            let custom = attributes.custom_time;
            custom.is_some_and(|time| is_before(time, value))
        }
        "matchesPrefix" => any(&|prefix| object.name.starts_with(prefix)),
        "matchesSuffix" => any(&|suffix| object.name.ends_with(suffix)),
        "matchesStorageClass" => {
            let class = attributes.storage_class.as_deref().unwrap_or("STANDARD");
            any(&|wanted| wanted == class)
        }
        // There are live objects only.
        "isLive" => value.as_bool().unwrap_or(false),
        "numNewerVersions" => value.as_i64() == Some(0),
        _ => false,
    }
}

/// Whether so many days have gone by since.
fn is_past(since: Timestamp, days: &Value, now: Timestamp) -> bool {
    let Some(hours) = days.as_i64().and_then(|days| days.checked_mul(24)) else {
        return false;
    };
    let end = since.checked_add(SignedDuration::from_hours(hours));
    end.is_ok_and(|end| now >= end)
}

/// Whether it was before a day began, in UTC.
fn is_before(time: Timestamp, day: &Value) -> bool {
    let day = day.as_str().and_then(|text| text.parse::<Date>().ok());
    let start = day.and_then(|day| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok());
    start.is_some_and(|start| time < start)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::storage::attributes::Attributes;

    fn met(condition: &Value, name: &str, custom: Option<&str>, now: &str) -> bool {
        let created: Timestamp = "2026-01-10T12:00:00Z".parse().unwrap();
        let object = Object {
            name: name.into(),
            generation: 1,
            metageneration: 1,
            size: 0,
            md5: None,
            crc32c: String::new(),
            components: None,
            created,
            updated: created,
            inline: true,
            attributes: Attributes {
                custom_time: custom.map(|time| time.parse().unwrap()),
                ..Attributes::default()
            },
        };
        is_met(
            condition.as_object().unwrap(),
            &object,
            now.parse().unwrap(),
        )
    }

    #[test]
    fn every_condition_counts() {
        let week = json!({"age": 7, "matchesPrefix": ["logs/", "tmp/"]});
        assert!(!met(&week, "logs/a", None, "2026-01-17T11:59:59Z"));
        assert!(met(&week, "logs/a", None, "2026-01-17T12:00:00Z"));
        assert!(met(&week, "tmp/a", None, "2026-02-17T12:00:00Z"));
        assert!(!met(&week, "kept/a", None, "2026-02-17T12:00:00Z"));

        let used = json!({"daysSinceCustomTime": 30});
        assert!(!met(&used, "a", None, "2027-01-01T00:00:00Z"));
        assert!(!met(
            &used,
            "a",
            Some("2026-03-01T00:00:00Z"),
            "2026-03-30T23:59:59Z"
        ));
        assert!(met(
            &used,
            "a",
            Some("2026-03-01T00:00:00Z"),
            "2026-03-31T00:00:00Z"
        ));

        let now = "2026-01-10T12:00:01Z";
        assert!(met(&json!({"createdBefore": "2026-01-11"}), "a", None, now));
        assert!(!met(
            &json!({"createdBefore": "2026-01-10"}),
            "a",
            None,
            now
        ));
        assert!(met(
            &json!({"age": 0, "matchesSuffix": [".log"]}),
            "a.log",
            None,
            now
        ));
        assert!(met(
            &json!({"age": 0, "matchesStorageClass": ["STANDARD"]}),
            "a",
            None,
            now
        ));
        for never in [
            json!({}),
            json!({"age": 0, "unheardOf": 1}),
            json!({"age": 0, "isLive": false}),
            json!({"age": "0"}),
        ] {
            assert!(!met(&never, "a", None, now), "{never}");
        }
    }
}
