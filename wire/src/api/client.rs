use std::sync::Arc;
use std::time::Duration;

use reqwest::{NoProxy, Proxy};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Never reached through a proxy: this machine, and Google's metadata server, which would hand out the proxy's own token.
const DIRECT: &str = "localhost,127.0.0.0/8,::1,169.254.169.254,metadata.google.internal";

/// The one HTTP client: rustls with ring, roots bundled, no redirects, no decompression.
///
/// Certificates in the file that `SSL_CERT_FILE` names are roots too: a company's proxy that re-encrypts has one.
///
/// `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` hold for https, but never for loopback; plain http, which only an
/// emulator and the metadata server speak, never goes through a proxy. Connecting may take ten seconds. How long
/// a connection may be idle is [`super::Api`]'s business: reqwest's own read timeout also runs while a slow upload
/// is still being sent.
pub fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls_config())
        .user_agent(concat!("sortie/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .http1_only()
        .no_proxy()
        .connect_timeout(Duration::from_secs(10))
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(30));
    if let Some(address) = first_of(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]) {
        let exceptions = first_of(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
        let direct = NoProxy::from_string(&format!("{exceptions},{DIRECT}"));
        builder = builder.proxy(Proxy::https(address)?.no_proxy(direct));
    }
    builder.build()
}

/// Ring and the roots are named here, so that neither an image without CA files nor a process without a default
/// provider matters.
fn tls_config() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(file) = first_of(&["SSL_CERT_FILE"]) {
        add_roots(&mut roots, &file);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::DEFAULT_VERSIONS;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap_or_else(|_| unreachable!("ring has the suites of both versions"))
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// What cannot be read is passed over, as every program does that looks at this file: who depends on it is told so by the
/// handshake.
fn add_roots(roots: &mut rustls::RootCertStore, file: &str) {
    match CertificateDer::pem_file_iter(file) {
        Ok(certificates) => {
            roots.add_parsable_certificates(certificates.filter_map(Result::ok));
        }
        Err(error) => tracing::debug!(file, %error, "cannot read `SSL_CERT_FILE`"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "these variables are every HTTP client's, not sortie's settings"
)]
fn first_of(names: &[&str]) -> Option<String> {
    let mut values = names.iter().filter_map(|name| std::env::var(name).ok());
    values.find(|value| !value.is_empty())
}
