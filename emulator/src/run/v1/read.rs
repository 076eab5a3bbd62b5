//! What version 1's clients send, in the words of version 2.

use serde_json::{Map, Value, json};

use super::show::renamed;
use super::template::BUCKET_DRIVER;
use crate::refusal::{Outcome, Refusal};

const NAMESPACE: &str = "run.googleapis.com/";

/// The overrides of a run.
pub(crate) fn overrides(given: Option<&Value>) -> Map<String, Value> {
    let Some(given) = given else {
        return Map::new();
    };
    let names = [
        ("taskCount", "taskCount"),
        ("delayExecution", "delayExecution"),
    ];
    let mut made = renamed(given, &names);
    if let Some(seconds) = given.get("timeoutSeconds") {
        made["timeout"] = format!("{seconds}s").into();
    }
    if given.get("containerOverrides").is_some() {
        made["containerOverrides"] = each(&given["containerOverrides"], |container| {
            let mut container = container.clone();
            if container.get("env").is_some() {
                container["env"] = each(&container["env"], variable);
            }
            container
        });
    }
    into_map(made)
}

/// A job's name and its body.
pub(crate) fn job(given: Map<String, Value>) -> Outcome<(String, Map<String, Value>)> {
    let given = Value::Object(given);
    let text = |pointer| given.pointer(pointer).and_then(Value::as_str);
    if text("/kind") != Some("Job") || text("/apiVersion") != Some("run.googleapis.com/v1") {
        return Err(Refusal::invalid(
            "The resource must have kind `Job` and apiVersion `run.googleapis.com/v1`.",
        ));
    }
    let id = text("/metadata/name").unwrap_or_default().to_owned();
    let mut job = json!({"template": execution_template(&given["spec"]["template"])?});
    if let Some(stage) = text("/metadata/annotations/run.googleapis.com~1launch-stage") {
        job["launchStage"] = stage.into();
    }
    add_metadata(&mut job, &given["metadata"]);
    Ok((id, into_map(job)))
}

fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Labels and annotations; those of the platform are its own, or say what version 2 has fields for.
fn add_metadata(made: &mut Value, metadata: &Value) {
    for key in ["labels", "annotations"] {
        let entries = metadata[key].as_object().into_iter().flatten();
        let system = |name: &str| {
            name.split_once('/').is_some_and(|(space, _)| {
                [
                    "run.googleapis.com",
                    "cloud.googleapis.com",
                    "serving.knative.dev",
                ]
                .contains(&space)
            })
        };
        let kept: Map<String, Value> = entries
            .filter(|(name, _)| !system(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !kept.is_empty() {
            made[key] = kept.into();
        }
        let client = |name: &str| metadata[key].get(format!("{NAMESPACE}{name}"));
        for (name, field) in [
            ("client-name", "client"),
            ("client-version", "clientVersion"),
        ] {
            if let Some(value) = client(name) {
                made[field] = value.clone();
            }
        }
    }
}

fn execution_template(given: &Value) -> Outcome<Value> {
    let spec = &given["spec"];
    let names = [("parallelism", "parallelism"), ("taskCount", "taskCount")];
    let mut made = renamed(spec, &names);
    let mut task = task_template(&spec["template"]["spec"])?;
    let annotation =
        |name: &str| given["metadata"]["annotations"].get(format!("{NAMESPACE}{name}"));
    match annotation("execution-environment").and_then(Value::as_str) {
        Some("gen1") => task["executionEnvironment"] = "EXECUTION_ENVIRONMENT_GEN1".into(),
        Some("gen2") => task["executionEnvironment"] = "EXECUTION_ENVIRONMENT_GEN2".into(),
        _ => {}
    }
    if let Some(key) = annotation("encryption-key") {
        task["encryptionKey"] = key.clone();
    }
    let vpc = vpc_access(&annotation)?;
    if !vpc.is_empty() {
        task["vpcAccess"] = vpc.into();
    }
    made["template"] = task;
    add_metadata(&mut made, &given["metadata"]);
    Ok(made)
}

fn vpc_access<'a>(annotation: &impl Fn(&str) -> Option<&'a Value>) -> Outcome<Map<String, Value>> {
    let mut vpc = Map::new();
    if let Some(connector) = annotation("vpc-access-connector") {
        vpc.insert("connector".into(), connector.clone());
    }
    match annotation("vpc-access-egress").and_then(Value::as_str) {
        Some("all" | "all-traffic") => drop(vpc.insert("egress".into(), "ALL_TRAFFIC".into())),
        Some("private-ranges-only") => {
            drop(vpc.insert("egress".into(), "PRIVATE_RANGES_ONLY".into()));
        }
        _ => {}
    }
    if let Some(text) = annotation("network-interfaces").and_then(Value::as_str) {
        let interfaces: Value = serde_json::from_str(text).map_err(|_| {
            Refusal::invalid(format!(
                "Annotation `{NAMESPACE}network-interfaces` is no JSON."
            ))
        })?;
        vpc.insert("networkInterfaces".into(), interfaces);
    }
    Ok(vpc)
}

fn task_template(spec: &Value) -> Outcome<Value> {
    let names = [
        ("maxRetries", "maxRetries"),
        ("serviceAccountName", "serviceAccount"),
    ];
    let mut made = renamed(spec, &names);
    if let Some(seconds) = spec.get("timeoutSeconds").and_then(Value::as_str) {
        made["timeout"] = format!("{seconds}s").into();
    }
    if let Some(accelerator) = spec["nodeSelector"].get("run.googleapis.com/accelerator") {
        made["nodeSelector"] = json!({ "accelerator": accelerator });
    }
    made["containers"] = each(&spec["containers"], container);
    if let Some(volumes) = spec.get("volumes").and_then(Value::as_array) {
        let volumes: Vec<Value> = volumes.iter().map(volume).collect::<Outcome<_>>()?;
        made["volumes"] = volumes.into();
    }
    Ok(made)
}

fn each(list: &Value, translate: impl Fn(&Value) -> Value) -> Value {
    list.as_array()
        .into_iter()
        .flatten()
        .map(translate)
        .collect()
}

fn container(container: &Value) -> Value {
    let same = ["name", "image", "command", "args", "workingDir"];
    let mut made = renamed(container, &same.map(|name| (name, name)));
    if let Some(limits) = container.pointer("/resources/limits") {
        made["resources"] = json!({ "limits": limits });
    }
    if container.get("env").is_some() {
        made["env"] = each(&container["env"], variable);
    }
    if container.get("ports").is_some() {
        let names = [("containerPort", "containerPort"), ("name", "name")];
        made["ports"] = each(&container["ports"], |port| renamed(port, &names));
    }
    if container.get("volumeMounts").is_some() {
        let names = [
            ("mountPath", "mountPath"),
            ("name", "name"),
            ("subPath", "subPath"),
        ];
        made["volumeMounts"] = each(&container["volumeMounts"], |mount| renamed(mount, &names));
    }
    made
}

fn variable(variable: &Value) -> Value {
    let mut made = renamed(variable, &[("name", "name"), ("value", "value")]);
    if let Some(secret) = variable.pointer("/valueFrom/secretKeyRef") {
        let key = renamed(secret, &[("name", "secret"), ("key", "version")]);
        made["valueSource"] = json!({ "secretKeyRef": key });
    }
    made
}

fn volume(volume: &Value) -> Outcome<Value> {
    let mut made = renamed(volume, &[("name", "name"), ("nfs", "nfs")]);
    if let Some(secret) = volume.get("secret") {
        let mut source = renamed(
            secret,
            &[("secretName", "secret"), ("defaultMode", "defaultMode")],
        );
        if secret.get("items").is_some() {
            let names = [("key", "version"), ("path", "path"), ("mode", "mode")];
            source["items"] = each(&secret["items"], |item| renamed(item, &names));
        }
        made["secret"] = source;
    }
    if let Some(directory) = volume.get("emptyDir") {
        let mut source = renamed(directory, &[("sizeLimit", "sizeLimit")]);
        if let Some(medium) = directory["medium"].as_str() {
            source["medium"] = medium.to_ascii_uppercase().into();
        }
        made["emptyDir"] = source;
    }
    if let Some(mount) = volume.get("csi") {
        if mount["driver"] != BUCKET_DRIVER {
            let driver = &mount["driver"];
            return Err(Refusal::invalid(format!(
                "The volume driver {driver} is unknown."
            )));
        }
        let mut source = renamed(mount, &[("readOnly", "readOnly")]);
        source["bucket"] = mount["volumeAttributes"]["bucketName"].clone();
        made["gcs"] = source;
    }
    Ok(made)
}
