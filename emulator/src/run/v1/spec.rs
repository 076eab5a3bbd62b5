//! The messages of version 1 that clients send.

use crate::schema::{Field, Kind};

const SECRET_KEY: &[Field] = &[
    ("key", Kind::Text),
    ("localObjectReference", Kind::Any),
    ("name", Kind::Text),
    ("optional", Kind::Bool),
];

const ENV: &[Field] = &[
    ("name", Kind::Text),
    ("value", Kind::Present(&Kind::Text)),
    (
        "valueFrom",
        Kind::Message(&[("secretKeyRef", Kind::Message(SECRET_KEY))]),
    ),
];

const METADATA: &[Field] = &[
    ("annotations", Kind::Map),
    ("creationTimestamp", Kind::Output),
    ("deletionTimestamp", Kind::Output),
    ("finalizers", Kind::Output),
    ("generation", Kind::Output),
    ("labels", Kind::Map),
    ("name", Kind::Text),
    ("namespace", Kind::Text),
    ("ownerReferences", Kind::Output),
    ("resourceVersion", Kind::Text),
    ("selfLink", Kind::Output),
    ("uid", Kind::Output),
];

const RESOURCES: &[Field] = &[("limits", Kind::Map), ("requests", Kind::Any)];

const MOUNT: &[Field] = &[
    ("mountPath", Kind::Text),
    ("name", Kind::Text),
    ("readOnly", Kind::Bool),
    ("subPath", Kind::Text),
];

const PORT: &[Field] = &[
    ("containerPort", Kind::Int32),
    ("name", Kind::Text),
    ("protocol", Kind::Text),
];

const CONTAINER: &[Field] = &[
    ("args", Kind::List(&Kind::Text)),
    ("command", Kind::List(&Kind::Text)),
    ("env", Kind::List(&Kind::Message(ENV))),
    ("image", Kind::Text),
    ("name", Kind::Text),
    ("ports", Kind::List(&Kind::Message(PORT))),
    ("resources", Kind::Message(RESOURCES)),
    ("volumeMounts", Kind::List(&Kind::Message(MOUNT))),
    ("workingDir", Kind::Text),
];

const ITEM: &[Field] = &[
    ("key", Kind::Text),
    ("mode", Kind::Int32),
    ("path", Kind::Text),
];

const VOLUME: &[Field] = &[
    (
        "csi",
        Kind::Message(&[
            ("driver", Kind::Text),
            ("readOnly", Kind::Bool),
            ("volumeAttributes", Kind::Map),
        ]),
    ),
    (
        "emptyDir",
        Kind::Message(&[("medium", Kind::Text), ("sizeLimit", Kind::Text)]),
    ),
    ("name", Kind::Text),
    (
        "nfs",
        Kind::Message(&[
            ("path", Kind::Text),
            ("readOnly", Kind::Bool),
            ("server", Kind::Text),
        ]),
    ),
    (
        "secret",
        Kind::Message(&[
            ("defaultMode", Kind::Int32),
            ("items", Kind::List(&Kind::Message(ITEM))),
            ("secretName", Kind::Text),
        ]),
    ),
];

const TASK: &[Field] = &[
    ("containers", Kind::List(&Kind::Message(CONTAINER))),
    ("maxRetries", Kind::Present(&Kind::Int32)),
    ("nodeSelector", Kind::Map),
    ("serviceAccountName", Kind::Text),
    ("timeoutSeconds", Kind::Int64),
    ("volumes", Kind::List(&Kind::Message(VOLUME))),
];

const EXECUTION: &[Field] = &[
    ("parallelism", Kind::Int32),
    ("taskCount", Kind::Int32),
    ("template", Kind::Message(&[("spec", Kind::Message(TASK))])),
];

const EXECUTION_TEMPLATE: &[Field] = &[
    ("metadata", Kind::Message(METADATA)),
    ("spec", Kind::Message(EXECUTION)),
];

pub(crate) const JOB: &[Field] = &[
    ("apiVersion", Kind::Text),
    ("kind", Kind::Text),
    ("metadata", Kind::Message(METADATA)),
    (
        "spec",
        Kind::Message(&[("template", Kind::Message(EXECUTION_TEMPLATE))]),
    ),
    ("status", Kind::Output),
];

const CONTAINER_OVERRIDE: &[Field] = &[
    ("args", Kind::List(&Kind::Text)),
    ("clearArgs", Kind::Bool),
    ("env", Kind::List(&Kind::Message(ENV))),
    ("name", Kind::Text),
];

const OVERRIDES: &[Field] = &[
    (
        "containerOverrides",
        Kind::List(&Kind::Message(CONTAINER_OVERRIDE)),
    ),
    ("delayExecution", Kind::Bool),
    ("taskCount", Kind::Int32),
    ("timeoutSeconds", Kind::Int32),
];

pub(crate) const RUN_REQUEST: &[Field] = &[("overrides", Kind::Message(OVERRIDES))];
