//! The two listeners, and the life of the process behind them.

use std::fs::{DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::activity::Activity;
use crate::around::Around;
use crate::clock;
use crate::config::{Account, Config};
use crate::door::Tokens;
use crate::error::Error;
use crate::exchange::Exchanges;
use crate::listener::{self, Kind, LAST_ANSWERS};
use crate::options::{Clock, Options};
use crate::run::Run;
use crate::secret::Secrets;
use crate::storage::lifecycle;
use crate::storage::store::Store;

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
    pub(crate) around: Around,
    pub(crate) activity: Activity,
    /// Where everything said is written down, if anywhere.
    pub(crate) exchanges: Option<Exchanges>,
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
    clock: Clock,
    /// Held, not read: the lock on the state directory.
    _held: File,
}

impl Emulator {
    /// Takes the state directory, reads what it holds, and binds both listeners.
    pub async fn start(config: Config) -> Result<Self, Error> {
        Self::start_with(config, Options::default()).await
    }

    /// The same, with some of what [`Options`] has said otherwise.
    pub async fn start_with(config: Config, options: Options) -> Result<Self, Error> {
        if !config.listen.ip().is_loopback() {
            return Err(Error::NotLoopback(config.listen));
        }
        let (main, address) = listen(config.listen).await?;
        let beside = SocketAddr::new(config.listen.ip(), 0);
        let (metadata, metadata_address) = listen(beside).await?;
        let idle_exit = config.idle_exit;
        let clock = options.clock();
        let opening =
            tokio::task::spawn_blocking(move || open(config, &options, address, metadata_address));
        let (site, held) = opening.await.map_err(|failure| Error::State {
            path: PathBuf::new(),
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
            clock,
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
        let (closing, closed) = watch::channel(false);
        let serve = |listener, kind| {
            tokio::spawn(listener::serve(
                listener,
                Arc::clone(&self.site),
                kind,
                closed.clone(),
            ))
        };
        let listeners = [
            serve(self.main, Kind::Main),
            serve(self.metadata, Kind::Metadata),
        ];
        tokio::select! {
            () = shutdown => {}
            () = idle(&self.site, self.idle_exit) => {}
            () = lifecycle::keep_sweeping(Arc::clone(&self.site.store), self.clock) => {}
        }
        self.site.run.stop().await;
        closing.send_replace(true);
        for listener in listeners {
            let _ = listener.await;
        }
        // Also those whose clients have left.
        let _ = tokio::time::timeout(LAST_ANSWERS, self.site.activity.rest()).await;
        Ok(())
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn open(
    config: Config,
    options: &Options,
    address: SocketAddr,
    metadata: SocketAddr,
) -> Result<(Site, File), Error> {
    let failed = |source| Error::State {
        path: config.state.clone(),
        source,
    };
    let state = private_directory(&config.state).map_err(failed)?;
    let config = Config { state, ..config };
    let failed = |source| Error::State {
        path: config.state.clone(),
        source,
    };
    let held = hold(&config)?;
    let exchanges = match &options.record {
        Some(path) => Some(Exchanges::open(path).map_err(|source| Error::Record {
            path: path.clone(),
            source,
        })?),
        None => None,
    };
    let base = format!("http://{address}");
    let store = Arc::new(Store::open(&config.state).map_err(failed)?);
    let secrets = Arc::new(Secrets::default());
    let run = Run::open(&config, options, &base, metadata, Arc::clone(&secrets)).map_err(failed)?;
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
        around: Around::open(&config.state).map_err(failed)?,
        activity: Activity::default(),
        exchanges,
    };
    Ok((site, held))
}

/// Made for its owner alone; and its one true path, by which open files in it are recognised.
fn private_directory(path: &Path) -> io::Result<PathBuf> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path)?;
    fs::canonicalize(path)
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
