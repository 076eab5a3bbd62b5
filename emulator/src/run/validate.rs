//! The documented limits, and the defaults that Cloud Run fills in.

use serde_json::{Map, Value, json};

use crate::refusal::{Outcome, Refusal};
use crate::schema;

const ENV_VALUE_LIMIT: usize = 32_768;
const ENV_COUNT_LIMIT: usize = 1000;
const TASK_LIMIT: i64 = 10_000;
const RETRY_LIMIT: i64 = 10;
/// 168 hours.
const TIMEOUT_LIMIT: f64 = 604_800.0;
const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// Names that the platform sets itself.
pub(crate) const RESERVED: [&str; 9] = [
    "CLOUD_RUN_EXECUTION",
    "CLOUD_RUN_JOB",
    "CLOUD_RUN_TASK_ATTEMPT",
    "CLOUD_RUN_TASK_COUNT",
    "CLOUD_RUN_TASK_INDEX",
    "K_CONFIGURATION",
    "K_REVISION",
    "K_SERVICE",
    "PORT",
];

const RESERVED_NAMESPACES: [&str; 4] = [
    "run.googleapis.com",
    "cloud.googleapis.com",
    "serving.knative.dev",
    "autoscaling.knative.dev",
];

pub(crate) fn job_id(id: &str) -> Outcome<()> {
    let letters = id
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let starts = id
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    if letters && starts && !id.ends_with('-') && id.len() <= 63 {
        return Ok(());
    }
    Err(violation(
        "CreateJobRequest.job_id",
        "must begin with a letter, end with a letter or digit, contain only lowercase letters, digits and hyphens, \
         and have at most 63 characters",
    ))
}

fn violation(field: &str, rule: &str) -> Refusal {
    Refusal::invalid(format!("Violation in {field}: {rule}."))
}

/// Checks a job and fills in what its sender left to Cloud Run.
pub(crate) fn job(job: &mut Map<String, Value>, account: &str) -> Outcome<()> {
    for holder in [Some(&*job), job.get("template").and_then(Value::as_object)]
        .into_iter()
        .flatten()
    {
        namespaces(holder.get("labels"), "labels")?;
        namespaces(holder.get("annotations"), "annotations")?;
    }
    let template = object(job, "template");
    task_count(template.get("taskCount"))?;
    template.entry("taskCount").or_insert(json!(1));
    let parallelism = template
        .get("parallelism")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    if parallelism < 0 {
        return Err(violation(
            "job.template.parallelism",
            "must not be negative",
        ));
    }
    task_template(object(template, "template"), account)?;
    job.entry("launchStage").or_insert(json!("GA"));
    Ok(())
}

fn object<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let entry = parent.entry(key.to_owned()).or_insert(Value::Null);
    if !entry.is_object() {
        *entry = json!({});
    }
    match entry {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

fn namespaces(entries: Option<&Value>, kind: &str) -> Outcome<()> {
    let keys = entries
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::keys);
    for key in keys {
        let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
        if RESERVED_NAMESPACES.contains(&namespace) {
            let rule = format!("system {kind} such as `{key}` cannot be set");
            return Err(violation(&format!("job.{kind}"), &rule));
        }
    }
    Ok(())
}

fn task_template(template: &mut Map<String, Value>, account: &str) -> Outcome<()> {
    template.entry("maxRetries").or_insert(json!(3));
    let retries = template
        .get("maxRetries")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    if !(0..=RETRY_LIMIT).contains(&retries) {
        return Err(violation(
            "job.template.template.max_retries",
            "must be between 0 and 10",
        ));
    }
    timeout(template.get("timeout"))?;
    template.entry("timeout").or_insert(json!("600s"));
    template.entry("serviceAccount").or_insert(json!(account));
    template
        .entry("executionEnvironment")
        .or_insert(json!("EXECUTION_ENVIRONMENT_GEN2"));
    let containers = template.get_mut("containers").and_then(Value::as_array_mut);
    match containers.map(Vec::as_mut_slice) {
        Some([Value::Object(only)]) => container(only),
        Some([_, _, ..]) => Err(Refusal::unimplemented(
            "This emulator runs jobs of one container only.",
        )),
        _ => Err(violation(
            "job.template.template.containers",
            "exactly one container is required",
        )),
    }
}

fn container(container: &mut Map<String, Value>) -> Outcome<()> {
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if image.is_empty() || image.contains(char::is_whitespace) {
        return Err(violation(
            "job.template.template.containers[0].image",
            "a valid image is required",
        ));
    }
    env(container
        .get("env")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice))?;
    let limits = object(object(container, "resources"), "limits");
    limits.entry("cpu").or_insert(json!("1"));
    limits.entry("memory").or_insert(json!("512Mi"));
    resources(limits)
}

/// Checks a container's whole environment.
pub(crate) fn env(variables: &[Value]) -> Outcome<()> {
    if variables.len() > ENV_COUNT_LIMIT {
        return Err(violation(
            "env",
            "at most 1000 environment variables are allowed",
        ));
    }
    let mut names = std::collections::HashSet::new();
    let mut reserved = Vec::new();
    for variable in variables {
        let name = variable
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if name.is_empty() || name.len() > ENV_VALUE_LIMIT || name.contains(['=', '\0']) {
            return Err(violation(
                "env.name",
                "a name must not be empty, nor hold `=`",
            ));
        }
        if !names.insert(name) {
            return Err(violation("env.name", &format!("`{name}` is given twice")));
        }
        if RESERVED.contains(&name) {
            reserved.push(name);
        }
        value(name, variable)?;
    }
    if reserved.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "The following reserved env names were provided: {}. These values are automatically set by the system.",
        reserved.join(", ")
    )))
}

fn value(name: &str, variable: &Value) -> Outcome<()> {
    let literal = variable.get("value").and_then(Value::as_str);
    let source = variable.get("valueSource");
    if literal.is_some() && source.is_some() {
        return Err(violation(
            "env",
            &format!("`{name}` has both a value and a source"),
        ));
    }
    if literal.is_some_and(|value| value.len() > ENV_VALUE_LIMIT) {
        return Err(violation(
            "env.value",
            &format!("the value of `{name}` exceeds {ENV_VALUE_LIMIT} bytes"),
        ));
    }
    if literal.is_some_and(|value| value.contains('\0')) {
        return Err(violation(
            "env.value",
            &format!("the value of `{name}` holds a null byte"),
        ));
    }
    let secret = source.map(|source| {
        source
            .pointer("/secretKeyRef/secret")
            .and_then(Value::as_str)
    });
    if secret.is_some_and(|secret| secret.unwrap_or_default().is_empty()) {
        return Err(violation(
            "env.value_source.secret_key_ref.secret",
            "a secret is required",
        ));
    }
    Ok(())
}

pub(crate) fn task_count(count: Option<&Value>) -> Outcome<()> {
    match count.and_then(Value::as_i64) {
        Some(count) if !(1..=TASK_LIMIT).contains(&count) => {
            Err(violation("task_count", "must be between 1 and 10000"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn timeout(timeout: Option<&Value>) -> Outcome<()> {
    let Some(text) = timeout.and_then(Value::as_str) else {
        return Ok(());
    };
    match schema::seconds(text) {
        Some(seconds) if seconds > 0.0 && seconds <= TIMEOUT_LIMIT => Ok(()),
        _ => Err(violation(
            "timeout",
            "must be positive and at most 168 hours",
        )),
    }
}

/// The pairs of cpu and memory that Cloud Run has for jobs.
fn resources(limits: &Map<String, Value>) -> Outcome<()> {
    let text = |key| limits.get(key).and_then(Value::as_str).unwrap_or_default();
    if let Some(unknown) = limits
        .keys()
        .find(|key| !["cpu", "memory", "nvidia.com/gpu"].contains(&key.as_str()))
    {
        return Err(violation(
            "resources.limits",
            &format!("`{unknown}` is not a resource"),
        ));
    }
    let memory = bytes(text("memory"))
        .ok_or_else(|| violation("resources.limits.memory", "is not a quantity"))?;
    let range = match text("cpu") {
        "1" | "1000m" => 512 * MIB..=4 * GIB,
        "2" | "2000m" => 512 * MIB..=8 * GIB,
        "4" | "4000m" => 2 * GIB..=16 * GIB,
        "6" | "6000m" => 4 * GIB..=24 * GIB,
        "8" | "8000m" => 4 * GIB..=32 * GIB,
        _ if limits.contains_key("nvidia.com/gpu") => return Ok(()),
        other => {
            let rule = format!("`{other}` is none of 1, 2, 4, 6 and 8");
            return Err(violation("resources.limits.cpu", &rule));
        }
    };
    if range.contains(&memory) {
        return Ok(());
    }
    let (least, most) = (range.start() / MIB, range.end() / MIB);
    let rule = format!(
        "with {} cpu it must be between {least}Mi and {most}Mi",
        text("cpu")
    );
    Err(violation("resources.limits.memory", &rule))
}

fn bytes(quantity: &str) -> Option<u64> {
    let digits = quantity
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(digits);
    let scale = match unit {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1024,
        "Mi" => MIB,
        "Gi" => GIB,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(cpu: &str, memory: &str) -> Outcome<()> {
        resources(json!({"cpu": cpu, "memory": memory}).as_object().unwrap())
    }

    #[test]
    fn cpu_and_memory_go_together() {
        for (cpu, memory) in [
            ("1", "512Mi"),
            ("1", "4Gi"),
            ("1000m", "1G"),
            ("2", "8Gi"),
            ("4", "2Gi"),
            ("8", "32Gi"),
        ] {
            assert!(pair(cpu, memory).is_ok(), "{cpu} {memory}");
        }
        let wrong = [
            ("1", "256Mi"),
            ("1", "5Gi"),
            ("2", "9Gi"),
            ("4", "1Gi"),
            ("3", "2Gi"),
            ("0.5", "512Mi"),
            ("1", "x"),
        ];
        for (cpu, memory) in wrong {
            assert!(pair(cpu, memory).is_err(), "{cpu} {memory}");
        }
    }

    #[test]
    fn ids() {
        assert!(job_id("a-1").is_ok());
        for id in ["", "1a", "a-", "A", "a_b", &"a".repeat(64)] {
            assert!(job_id(id).is_err(), "{id}");
        }
    }
}
