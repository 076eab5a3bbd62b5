//! Against Debian's `docker-registry` on loopback, and the result run by Podman.
//!
//! `make` builds the static entrypoint and names it in `SORTIE_STATIC_ENTRYPOINT`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod image;
mod podman;
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use registry::{
    Added, Arrival, Digest, ENTRYPOINT, Options, Progress, Reference, RegistryError, add, resolve,
};
use serde_json::{Value, json};
use wire::token::{StaticToken, Token};

use crate::image::{Base, DOCKER, OCI, Types, layer};
use crate::server::{Server, TOKEN};

#[expect(clippy::disallowed_methods, reason = "the settings of this test")]
fn entrypoint() -> PathBuf {
    let path = std::env::var_os("SORTIE_STATIC_ENTRYPOINT");
    PathBuf::from(path.expect("`SORTIE_STATIC_ENTRYPOINT` names the static binary"))
}

async fn added(base: &str, target: &str) -> (Result<Added, RegistryError>, Vec<Arrival>) {
    added_with(base, target, &Options::default()).await
}

async fn added_with(
    base: &str,
    target: &str,
    options: &Options,
) -> (Result<Added, RegistryError>, Vec<Arrival>) {
    let parse = |text: &str| text.parse::<Reference>().unwrap();
    let mut arrivals = Vec::new();
    let mut tell = |progress| {
        if let Progress::Arrived { how, .. } = progress {
            arrivals.push(how);
        }
    };
    let added = add(
        &parse(base),
        &parse(target),
        &entrypoint(),
        options,
        &mut tell,
    )
    .await;
    (added, arrivals)
}

/// Holds what was pushed against the base.
async fn check(base: &Value, types: Types, target: &Base, added: &Added) {
    let path = format!("manifests/{}", added.digest);
    let bytes = target.get(&path, types.0[0]).await;
    assert_eq!(Digest::of(&bytes), added.digest);
    let got: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(got["mediaType"], types.0[0]);
    let layers = got["layers"].as_array().unwrap();
    let (ours, theirs) = layers.split_last().unwrap();
    assert_eq!(theirs, base["layers"].as_array().unwrap().as_slice());
    assert_eq!(ours["mediaType"], types.0[2]);
    assert_eq!(got["config"]["mediaType"], types.0[1]);
    for layer in layers {
        let digest = layer["digest"].as_str().unwrap();
        let bytes = target.get(&format!("blobs/{digest}"), "*/*").await;
        assert_eq!(Digest::of(&bytes).as_str(), digest);
    }
    let digest = got["config"]["digest"].as_str().unwrap();
    let config = target.json(&format!("blobs/{digest}"), "*/*").await;
    assert_eq!(config["config"]["Entrypoint"], json!([ENTRYPOINT]));
    assert_eq!(
        config["config"]["Env"],
        json!(["PATH=/bin:/usr/local/bin", "KEPT=yes"])
    );
    assert_eq!(
        config["rootfs"]["diff_ids"].as_array().unwrap().len(),
        layers.len()
    );
}

#[tokio::test]
async fn layers_are_mounted_within_a_registry() {
    let server = Server::open();
    for (name, types) in [("docker", DOCKER), ("oci", OCI)] {
        let base = Base::new(&server.host, &format!("{name}/base"));
        let layers = [
            (types.0[2], layer("a", name.as_bytes())),
            (types.0[2], layer("b", b"2")),
        ];
        let manifest = base.image(types, "1", "amd64", &layers).await;
        let target = Base::new(&server.host, &format!("team/{name}"));
        let names = [
            format!("{}/{name}/base:1", server.host),
            format!("{}/team/{name}:x", server.host),
        ];
        let (first, arrivals) = added(&names[0], &names[1]).await;
        let first = first.unwrap();
        let expected = [
            Arrival::Mounted,
            Arrival::Mounted,
            Arrival::Sent,
            Arrival::Sent,
        ];
        assert_eq!(arrivals, expected);
        assert_eq!((first.reused_blobs, first.sent_blobs), (2, 2));
        check(&manifest, types, &target, &first).await;
        let (second, arrivals) = added(&names[0], &names[1]).await;
        let second = second.unwrap();
        assert_eq!(arrivals, [Arrival::Present; 4]);
        assert_eq!(second.digest, first.digest, "the same again");
        let tagged = target.get("manifests/x", types.0[0]).await;
        assert_eq!(Digest::of(&tagged), first.digest);
    }
}

#[tokio::test]
async fn layers_are_sent_from_one_registry_to_another() {
    let (from, to) = (Server::open(), Server::open());
    let base = Base::new(&from.host, "base");
    // More than any buffer on the way holds.
    let large: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    let layers = [
        (OCI.0[2], layer("large", &large)),
        (zstd, b"\x28\xb5\x2f\xfd no real one".to_vec()),
        (OCI.0[2], layer("twice", b"")),
        (OCI.0[2], layer("twice", b"")),
    ];
    let manifest = base.image(OCI, "1", "amd64", &layers).await;
    let target = Base::new(&to.host, "team/app");
    let name = format!("{}/base:1", from.host);
    let (added, arrivals) = added(&name, &format!("{}/team/app", to.host)).await;
    let added = added.unwrap();
    assert_eq!(
        arrivals,
        [Arrival::Sent; 5],
        "the layer that is there twice goes once"
    );
    check(&manifest, OCI, &target, &added).await;
    assert_eq!(
        added.reference.to_string(),
        format!("{}/team/app@{}", to.host, added.digest)
    );
}

#[tokio::test]
async fn of_an_index_the_right_image_is_taken() {
    let server = Server::open();
    let base = Base::new(&server.host, "many");
    for types in [OCI, DOCKER] {
        let mut entries = Vec::new();
        for architecture in ["arm64", "amd64"] {
            let layers = [(types.0[2], layer(architecture, b""))];
            let manifest = base.image(types, architecture, architecture, &layers).await;
            let size = manifest.to_string().len();
            let digest = Digest::of(manifest.to_string().as_bytes());
            let platform = json!({"os": "linux", "architecture": architecture});
            entries.push(json!({"mediaType": types.0[0], "digest": digest.as_str(), "size": size, "platform": platform}));
        }
        let both = json!({"schemaVersion": 2, "mediaType": types.0[3], "manifests": entries});
        let digest = base.manifest("both", &both).await;
        let amd64 = base.json("manifests/amd64", types.0[0]).await;
        let target = Base::new(&server.host, "team/app");
        let to = format!("{}/team/app:1", server.host);
        for name in [
            format!("{}/many:both", server.host),
            format!("{}/many@{digest}", server.host),
        ] {
            let added = added(&name, &to).await.0.unwrap();
            assert_eq!(added.base.digest().unwrap().as_str(), entries[1]["digest"]);
            let resolved = resolve(&name.parse().unwrap(), &Options::default()).await;
            let expected = if name.contains('@') {
                name.clone()
            } else {
                added.base.to_string()
            };
            assert_eq!(resolved.unwrap().to_string(), expected);
            check(&amd64, types, &target, &added).await;
        }
        let arm = json!({"schemaVersion": 2, "mediaType": types.0[3], "manifests": [entries[0]]});
        base.manifest("arm", &arm).await;
        let error = added(&format!("{}/many:arm", server.host), &to)
            .await
            .0
            .unwrap_err();
        assert!(
            error.to_string().contains("only for `linux/arm64`"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn name_and_password_are_given_where_the_caller_says_so() {
    let server = Server::closed();
    let base = Base::new(&server.host, "base");
    let manifest = base
        .image(OCI, "1", "amd64", &[(OCI.0[2], layer("a", b""))])
        .await;
    let names = [
        format!("{}/base:1", server.host),
        format!("{}/team/app:1", server.host),
    ];
    let token = Token::new(TOKEN, None);
    let mut options = Options {
        tokens: Some(Arc::new(StaticToken(token))),
        ..Options::default()
    };
    let refused = added_with(&names[0], &names[1], &options)
        .await
        .0
        .unwrap_err();
    assert_eq!(refused.kind(), wire::api::ErrorKind::Unauthenticated);
    options.tokens_to_loopback = true;
    let added = added_with(&names[0], &names[1], &options).await.0.unwrap();
    let target = Base::new(&server.host, "team/app");
    check(&manifest, OCI, &target, &added).await;
}

#[tokio::test]
async fn a_missing_base_is_named() {
    let server = Server::open();
    let name = format!("{}/nobody:1", server.host);
    let error = added(&name, &format!("{}/team/app:1", server.host))
        .await
        .0
        .unwrap_err();
    assert_eq!(error.kind(), wire::api::ErrorKind::NotFound);
    assert_eq!(error.to_string(), format!("cannot read `{name}`"));
}
