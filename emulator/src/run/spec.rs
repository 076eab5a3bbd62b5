//! The messages of the Cloud Run Admin API v2 that clients send.

use crate::schema::{Field, Kind};

const LAUNCH_STAGE: Kind = Kind::Enum(&[
    ("LAUNCH_STAGE_UNSPECIFIED", 0),
    ("UNIMPLEMENTED", 6),
    ("PRELAUNCH", 7),
    ("EARLY_ACCESS", 1),
    ("ALPHA", 2),
    ("BETA", 3),
    ("GA", 4),
    ("DEPRECATED", 5),
]);

const EXECUTION_ENVIRONMENT: Kind = Kind::Enum(&[
    ("EXECUTION_ENVIRONMENT_UNSPECIFIED", 0),
    ("EXECUTION_ENVIRONMENT_GEN1", 1),
    ("EXECUTION_ENVIRONMENT_GEN2", 2),
]);

const EGRESS: Kind = Kind::Enum(&[
    ("VPC_EGRESS_UNSPECIFIED", 0),
    ("ALL_TRAFFIC", 1),
    ("PRIVATE_RANGES_ONLY", 2),
]);

const MEDIUM: Kind = Kind::Enum(&[("MEDIUM_UNSPECIFIED", 0), ("MEMORY", 1), ("DISK", 2)]);

const SECRET_KEY: &[Field] = &[("secret", Kind::Text), ("version", Kind::Text)];

const ENV: &[Field] = &[
    ("name", Kind::Text),
    ("value", Kind::Present(&Kind::Text)),
    (
        "valueSource",
        Kind::Message(&[("secretKeyRef", Kind::Message(SECRET_KEY))]),
    ),
];

const RESOURCES: &[Field] = &[
    ("cpuIdle", Kind::Bool),
    ("limits", Kind::Map),
    ("startupCpuBoost", Kind::Bool),
];

const PORT: &[Field] = &[("containerPort", Kind::Int32), ("name", Kind::Text)];

const MOUNT: &[Field] = &[
    ("mountPath", Kind::Text),
    ("name", Kind::Text),
    ("subPath", Kind::Text),
];

const HEADER: &[Field] = &[("name", Kind::Text), ("value", Kind::Text)];

const PROBE: &[Field] = &[
    ("failureThreshold", Kind::Int32),
    (
        "grpc",
        Kind::Message(&[("port", Kind::Int32), ("service", Kind::Text)]),
    ),
    (
        "httpGet",
        Kind::Message(&[
            ("httpHeaders", Kind::List(&Kind::Message(HEADER))),
            ("path", Kind::Text),
            ("port", Kind::Int32),
        ]),
    ),
    ("initialDelaySeconds", Kind::Int32),
    ("periodSeconds", Kind::Int32),
    ("tcpSocket", Kind::Message(&[("port", Kind::Int32)])),
    ("timeoutSeconds", Kind::Int32),
];

const CONTAINER: &[Field] = &[
    ("args", Kind::List(&Kind::Text)),
    ("baseImageUri", Kind::Text),
    ("buildInfo", Kind::Output),
    ("command", Kind::List(&Kind::Text)),
    ("dependsOn", Kind::List(&Kind::Text)),
    ("env", Kind::List(&Kind::Message(ENV))),
    ("image", Kind::Text),
    ("livenessProbe", Kind::Message(PROBE)),
    ("name", Kind::Text),
    ("ports", Kind::List(&Kind::Message(PORT))),
    ("readinessProbe", Kind::Message(PROBE)),
    ("resources", Kind::Message(RESOURCES)),
    ("sandboxLauncher", Kind::Any),
    ("sourceCode", Kind::Any),
    ("startupProbe", Kind::Message(PROBE)),
    ("volumeMounts", Kind::List(&Kind::Message(MOUNT))),
    ("workingDir", Kind::Text),
];

const SECRET_ITEM: &[Field] = &[
    ("mode", Kind::Int32),
    ("path", Kind::Text),
    ("version", Kind::Text),
];

const VOLUME: &[Field] = &[
    (
        "cloudSqlInstance",
        Kind::Message(&[("instances", Kind::List(&Kind::Text))]),
    ),
    (
        "emptyDir",
        Kind::Message(&[("medium", MEDIUM), ("sizeLimit", Kind::Text)]),
    ),
    (
        "gcs",
        Kind::Message(&[
            ("bucket", Kind::Text),
            ("mountOptions", Kind::List(&Kind::Text)),
            ("readOnly", Kind::Bool),
        ]),
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
            ("items", Kind::List(&Kind::Message(SECRET_ITEM))),
            ("secret", Kind::Text),
        ]),
    ),
];

const INTERFACE: &[Field] = &[
    ("network", Kind::Text),
    ("subnetwork", Kind::Text),
    ("tags", Kind::List(&Kind::Text)),
];

const VPC: &[Field] = &[
    ("connector", Kind::Text),
    ("egress", EGRESS),
    ("networkInterfaces", Kind::List(&Kind::Message(INTERFACE))),
];

const TASK_TEMPLATE: &[Field] = &[
    ("containers", Kind::List(&Kind::Message(CONTAINER))),
    ("encryptionKey", Kind::Text),
    ("executionEnvironment", EXECUTION_ENVIRONMENT),
    ("gpuZonalRedundancyDisabled", Kind::Present(&Kind::Bool)),
    ("maxRetries", Kind::Present(&Kind::Int32)),
    (
        "nodeSelector",
        Kind::Message(&[("accelerator", Kind::Text)]),
    ),
    ("sandboxes", Kind::Any),
    ("serviceAccount", Kind::Text),
    ("timeout", Kind::Duration),
    ("volumes", Kind::List(&Kind::Message(VOLUME))),
    ("vpcAccess", Kind::Message(VPC)),
    ("workloadIdentityConfig", Kind::Any),
];

const EXECUTION_TEMPLATE: &[Field] = &[
    ("annotations", Kind::Map),
    ("client", Kind::Text),
    ("clientVersion", Kind::Text),
    ("labels", Kind::Map),
    ("parallelism", Kind::Int32),
    ("taskCount", Kind::Int32),
    ("template", Kind::Message(TASK_TEMPLATE)),
];

pub(crate) const JOB: &[Field] = &[
    ("annotations", Kind::Map),
    (
        "binaryAuthorization",
        Kind::Message(&[
            ("breakglassJustification", Kind::Text),
            ("policy", Kind::Text),
            ("useDefault", Kind::Bool),
        ]),
    ),
    ("client", Kind::Text),
    ("clientVersion", Kind::Text),
    ("conditions", Kind::Output),
    ("createTime", Kind::Output),
    ("creator", Kind::Output),
    ("delayExecution", Kind::Bool),
    ("deleteTime", Kind::Output),
    ("etag", Kind::Text),
    ("executionCount", Kind::Output),
    ("expireTime", Kind::Output),
    ("functionalType", Kind::Any),
    ("generation", Kind::Output),
    ("labels", Kind::Map),
    ("lastModifier", Kind::Output),
    ("latestCreatedExecution", Kind::Output),
    ("launchStage", LAUNCH_STAGE),
    ("name", Kind::Text),
    ("observedGeneration", Kind::Output),
    ("reconciling", Kind::Output),
    ("runExecutionToken", Kind::Text),
    ("satisfiesPzs", Kind::Output),
    ("startExecutionToken", Kind::Text),
    ("template", Kind::Message(EXECUTION_TEMPLATE)),
    ("terminalCondition", Kind::Output),
    ("uid", Kind::Output),
    ("updateTime", Kind::Output),
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
    ("timeout", Kind::Duration),
];

pub(crate) const RUN_REQUEST: &[Field] = &[
    ("etag", Kind::Text),
    ("overrides", Kind::Message(OVERRIDES)),
    ("validateOnly", Kind::Bool),
];

pub(crate) const CANCEL_REQUEST: &[Field] = &[("etag", Kind::Text), ("validateOnly", Kind::Bool)];

pub(crate) const WAIT_REQUEST: &[Field] = &[("timeout", Kind::Duration)];
