//! What `:run` may say differently from the job.

use serde_json::{Map, Value, json};

use super::validate;
use crate::refusal::{Outcome, Refusal};

/// What an execution is made from: the job's task template with the overrides applied, and the number of tasks.
pub(crate) struct Plan {
    pub(crate) template: Map<String, Value>,
    pub(crate) task_count: usize,
}

/// Applies the overrides of a run request to a job's body.
pub(crate) fn apply(job: &Map<String, Value>, overrides: &Map<String, Value>) -> Outcome<Plan> {
    let job = Value::Object(job.clone());
    let mut template = job
        .pointer("/template/template")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    validate::timeout(overrides.get("timeout"))?;
    if let Some(timeout) = overrides.get("timeout") {
        template.insert("timeout".into(), timeout.clone());
    }
    validate::task_count(overrides.get("taskCount"))?;
    let count = overrides
        .get("taskCount")
        .or_else(|| job.pointer("/template/taskCount"))
        .and_then(Value::as_i64);
    let given = overrides
        .get("containerOverrides")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    match (
        given,
        template
            .get_mut("containers")
            .and_then(|containers| containers.get_mut(0)),
    ) {
        ([], _) => {}
        ([only], Some(Value::Object(container))) => override_container(container, only)?,
        _ => {
            return Err(Refusal::invalid(
                "There are more container overrides than containers.",
            ));
        }
    }
    Ok(Plan {
        template,
        task_count: count
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(1),
    })
}

fn override_container(container: &mut Map<String, Value>, given: &Value) -> Outcome<()> {
    let name = given.get("name");
    if name.is_some() && name != container.get("name") {
        return Err(Refusal::invalid(format!(
            "The container override's name {} is not that of the job's container.",
            name.unwrap_or(&Value::Null)
        )));
    }
    let clear = given.get("clearArgs") == Some(&Value::Bool(true));
    match given.get("args") {
        Some(_) if clear => {
            return Err(Refusal::invalid(
                "args must be empty when clear_args is set.",
            ));
        }
        Some(args) => drop(container.insert("args".into(), args.clone())),
        None if clear => drop(container.remove("args")),
        None => {}
    }
    let env = given.get("env").and_then(Value::as_array);
    env.map_or(Ok(()), |env| merge_env(container, env))
}

/// By name: what is there is replaced where it stands, what is new comes after.
fn merge_env(container: &mut Map<String, Value>, given: &[Value]) -> Outcome<()> {
    validate::env(given)?;
    let mut merged = container
        .get("env")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for variable in given {
        let name = variable.get("name");
        if variable.get("valueSource").is_some() {
            return Err(Refusal::invalid("Only literal values can be overridden."));
        }
        match merged.iter_mut().find(|known| known.get("name") == name) {
            Some(known) if known.get("valueSource").is_some() => {
                let message = format!(
                    "Cannot override {}: it is a secret in the job.",
                    name.unwrap_or(&Value::Null)
                );
                return Err(Refusal::invalid(message));
            }
            Some(known) => *known = variable.clone(),
            None => merged.push(variable.clone()),
        }
    }
    validate::env(&merged)?;
    container.insert("env".into(), json!(merged));
    Ok(())
}
