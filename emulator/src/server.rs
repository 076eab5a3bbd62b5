//! The two listeners, and the life of the process behind them.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fs_err as fs;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::answer::Answer;
use crate::config::{Account, Config};
use crate::door::Tokens;
use crate::error::Error;
use crate::lock::lock;
use crate::run::Run;
use crate::secret::Secrets;
use crate::storage::store::Store;
use crate::{clock, metadata, router};

/// How long requests in flight may take once everything else has stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What every request sees.
pub(crate) struct Site {
    pub(crate) project: String,
    pub(crate) region: String,
    pub(crate) account: Account,
    /// `http://host:port` of the main listener.
    pub(crate) base: String,
    pub(crate) tokens: Tokens,
    pub(crate) store: Arc<Store>,
    pub(crate) run: Run,
    pub(crate) secrets: Arc<Secrets>,
    activity: Activity,
}

/// Cloud Storage, Cloud Run jobs and the metadata server of one machine.
///
/// It listens from [`Emulator::start`] on, and answers within [`Emulator::serve`].
pub struct Emulator {
    site: Arc<Site>,
    main: TcpListener,
    metadata: TcpListener,
    address: SocketAddr,
    metadata_address: SocketAddr,
    idle_exit: Option<Duration>,
    /// Held, not read: the lock on the state directory.
    _held: File,
}

impl Emulator {
    /// Takes the state directory, reads what it holds, and binds both listeners.
    pub async fn start(config: Config) -> Result<Self, Error> {
        if !config.listen.ip().is_loopback() {
            return Err(Error::NotLoopback(config.listen));
        }
        let (main, address) = listen(config.listen).await?;
        let beside = SocketAddr::new(config.listen.ip(), 0);
        let (metadata, metadata_address) = listen(beside).await?;
        let idle_exit = config.idle_exit;
        let opening = tokio::task::spawn_blocking(move || open(config, address, metadata_address));
        let (site, held) = opening.await.map_err(|failure| Error::State {
            path: std::path::PathBuf::new(),
            source: io::Error::other(failure),
        })??;
        let site = Arc::new(site);
        Ok(Self {
            site,
            main,
            metadata,
            address,
            metadata_address,
            idle_exit,
            _held: held,
        })
    }

    /// Where storage, Cloud Run and Secret Manager answer.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the metadata server answers.
    pub fn metadata_address(&self) -> SocketAddr {
        self.metadata_address
    }

    /// Makes a bucket unless there is one of that name. Unlike the API this allows names that start with `goog`, which
    /// no real bucket can have.
    pub async fn ensure_bucket(&self, name: &str) -> Result<(), Error> {
        self.site.store.ensure_bucket(name).await
    }

    /// Answers until `shutdown` is ready or nothing has happened for [`Config::idle_exit`]. Running attempts then get
    /// SIGTERM, ten seconds (in which requests are still answered), and SIGKILL, and are recorded.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let main = tokio::spawn(accept(self.main, Arc::clone(&self.site), Listener::Main));
        let metadata = tokio::spawn(accept(
            self.metadata,
            Arc::clone(&self.site),
            Listener::Metadata,
        ));
        tokio::select! {
            () = shutdown => {}
            () = idle(&self.site, self.idle_exit) => {}
        }
        self.site.run.stop().await;
        main.abort();
        metadata.abort();
        // The answers to those who waited for what has just ended.
        let quiet = async {
            while self.site.activity.in_flight.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(LAST_ANSWERS, quiet).await;
        Ok(())
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn open(config: Config, address: SocketAddr, metadata: SocketAddr) -> Result<(Site, File), Error> {
    let failed = |source| Error::State {
        path: config.state.clone(),
        source,
    };
    fs::create_dir_all(&config.state).map_err(failed)?;
    let held = hold(&config)?;
    let base = format!("http://{address}");
    let store = Arc::new(Store::open(&config.state).map_err(failed)?);
    let secrets = Arc::new(Secrets::default());
    let run = Run::open(&config, &base, metadata, Arc::clone(&secrets)).map_err(failed)?;
    let tokens = Tokens::new(
        config.owner_token,
        format!("ya29.{}", clock::secret()),
        config.anonymous_storage,
    );
    let site = Site {
        project: config.project,
        region: config.region,
        account: config.container_account,
        base,
        tokens,
        store,
        run,
        secrets,
        activity: Activity::new(),
    };
    Ok((site, held))
}

fn hold(config: &Config) -> Result<File, Error> {
    let failed = |source| Error::State {
        path: config.state.clone(),
        source,
    };
    let file = fs::File::create(config.state.join("lock"))
        .map_err(failed)?
        .into_parts()
        .0;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::InUse(config.state.clone())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[derive(Clone, Copy)]
enum Listener {
    Main,
    Metadata,
}

async fn accept(listener: TcpListener, site: Arc<Site>, kind: Listener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, Arc::clone(&site), kind));
            }
            Err(reason) => {
                // Out of descriptors, most likely: others must end before the next can begin.
                tracing::warn!(%reason, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, site: Arc<Site>, kind: Listener) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, Arc::clone(&site), kind));
    let mut server = hyper::server::conn::http1::Builder::new();
    let connection = server
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    if let Err(reason) = connection.await {
        tracing::debug!(%reason, "a connection ended early");
    }
}

async fn answer(
    request: http::Request<Incoming>,
    site: Arc<Site>,
    kind: Listener,
) -> Result<Answer, Infallible> {
    let _busy = site.activity.begin();
    Ok(match kind {
        Listener::Main => router::answer(&site, request).await,
        Listener::Metadata => metadata::answer(&site, &request),
    })
}

/// When something last happened.
struct Activity {
    in_flight: AtomicUsize,
    last: std::sync::Mutex<Instant>,
}

impl Activity {
    fn new() -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            last: std::sync::Mutex::new(Instant::now()),
        }
    }

    fn begin(&self) -> Busy<'_> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        Busy(self)
    }

    fn touch(&self) {
        *lock(&self.last) = Instant::now();
    }

    fn quiet_for(&self) -> Duration {
        if self.in_flight.load(Ordering::SeqCst) > 0 {
            return Duration::ZERO;
        }
        lock(&self.last).elapsed()
    }
}

struct Busy<'a>(&'a Activity);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn idle(site: &Site, limit: Option<Duration>) {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    loop {
        if site.run.is_busy() {
            site.activity.touch();
        }
        let quiet = site.activity.quiet_for();
        if quiet >= limit {
            return;
        }
        tokio::time::sleep(limit.saturating_sub(quiet).min(Duration::from_secs(1))).await;
    }
}
