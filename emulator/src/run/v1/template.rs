//! What an execution and its tasks are made from, from version 2 to version 1.

use serde_json::{Map, Value, json};

use super::show::renamed;

/// The gcsfuse driver, as which a mounted bucket appears.
pub(crate) const BUCKET_DRIVER: &str = "gcsfuse.run.googleapis.com";

/// A job's `spec.template`.
pub(crate) fn execution(template: &Value) -> Value {
    let task = &template["template"];
    let mut metadata = renamed(template, &[("labels", "labels")]);
    let mut annotations = annotations(task);
    if let Some(own) = template.get("annotations").and_then(Value::as_object) {
        annotations.extend(own.clone());
    }
    metadata["annotations"] = annotations.into();
    let mut spec = renamed(
        template,
        &[("parallelism", "parallelism"), ("taskCount", "taskCount")],
    );
    spec["template"] = json!({"spec": self::task(task)});
    json!({"metadata": metadata, "spec": spec})
}

/// What version 1 keeps in annotations.
pub(crate) fn annotations(task: &Value) -> Map<String, Value> {
    let mut annotations = Map::new();
    let mut set = |name: &str, value: Value| {
        annotations.insert(format!("run.googleapis.com/{name}"), value);
    };
    match task["executionEnvironment"].as_str() {
        Some("EXECUTION_ENVIRONMENT_GEN1") => set("execution-environment", "gen1".into()),
        Some("EXECUTION_ENVIRONMENT_GEN2") => set("execution-environment", "gen2".into()),
        _ => {}
    }
    if let Some(connector) = task.pointer("/vpcAccess/connector") {
        set("vpc-access-connector", connector.clone());
    }
    match task.pointer("/vpcAccess/egress").and_then(Value::as_str) {
        Some("ALL_TRAFFIC") => set("vpc-access-egress", "all-traffic".into()),
        Some("PRIVATE_RANGES_ONLY") => set("vpc-access-egress", "private-ranges-only".into()),
        _ => {}
    }
    if let Some(interfaces) = task.pointer("/vpcAccess/networkInterfaces") {
        set("network-interfaces", interfaces.to_string().into());
    }
    if let Some(key) = task.get("encryptionKey") {
        set("encryption-key", key.clone());
    }
    annotations
}

/// A `TaskSpec`.
pub(crate) fn task(task: &Value) -> Value {
    let mut spec = renamed(
        task,
        &[
            ("maxRetries", "maxRetries"),
            ("serviceAccount", "serviceAccountName"),
        ],
    );
    // Absent is the default of 3, and a task that has none says so in version 2 by leaving it out.
    if spec.get("maxRetries").is_none() && task.get("index").or(task.get("execution")).is_some() {
        spec["maxRetries"] = 0.into();
    }
    let seconds = task["timeout"].as_str().and_then(crate::schema::seconds);
    if let Some(seconds) = seconds {
        spec["timeoutSeconds"] = format!("{}", seconds.ceil()).into();
    }
    if let Some(accelerator) = task.pointer("/nodeSelector/accelerator") {
        spec["nodeSelector"] = json!({"run.googleapis.com/accelerator": accelerator});
    }
    spec["containers"] = each(&task["containers"], container);
    if task.get("volumes").is_some() {
        spec["volumes"] = each(&task["volumes"], volume);
    }
    spec
}

fn each(list: &Value, translate: impl Fn(&Value) -> Value) -> Value {
    list.as_array()
        .into_iter()
        .flatten()
        .map(translate)
        .collect()
}

fn container(container: &Value) -> Value {
    let same = [
        "name",
        "image",
        "command",
        "args",
        "workingDir",
        "ports",
        "volumeMounts",
    ];
    let mut made = renamed(container, &same.map(|name| (name, name)));
    if let Some(limits) = container.pointer("/resources/limits") {
        made["resources"] = json!({ "limits": limits });
    }
    if container.get("env").is_some() {
        made["env"] = each(&container["env"], variable);
    }
    made
}

fn variable(variable: &Value) -> Value {
    let mut made = renamed(variable, &[("name", "name"), ("value", "value")]);
    if let Some(secret) = variable.pointer("/valueSource/secretKeyRef") {
        let key = renamed(secret, &[("secret", "name"), ("version", "key")]);
        made["valueFrom"] = json!({ "secretKeyRef": key });
    }
    made
}

fn volume(volume: &Value) -> Value {
    let mut made = renamed(volume, &[("name", "name"), ("nfs", "nfs")]);
    if let Some(secret) = volume.get("secret") {
        let mut source = renamed(
            secret,
            &[("secret", "secretName"), ("defaultMode", "defaultMode")],
        );
        if secret.get("items").is_some() {
            let names = [("version", "key"), ("path", "path"), ("mode", "mode")];
            source["items"] = each(&secret["items"], |item| renamed(item, &names));
        }
        made["secret"] = source;
    }
    if let Some(directory) = volume.get("emptyDir") {
        let mut source = renamed(directory, &[("sizeLimit", "sizeLimit")]);
        match directory["medium"].as_str() {
            Some("MEMORY") => source["medium"] = "Memory".into(),
            Some("DISK") => source["medium"] = "Disk".into(),
            _ => {}
        }
        made["emptyDir"] = source;
    }
    if let Some(bucket) = volume.get("gcs") {
        let mut source = renamed(bucket, &[("readOnly", "readOnly")]);
        source["driver"] = BUCKET_DRIVER.into();
        source["volumeAttributes"] = renamed(bucket, &[("bucket", "bucketName")]);
        made["csi"] = source;
    }
    made
}
