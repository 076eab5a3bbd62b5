use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use url::Url;

use super::scope::{Scope, is_google};
use super::{Token, TokenError, TokenSource};

/// A token is replaced so long before its end: time enough for a server that is away to come back.
const MARGIN: Duration = Duration::from_mins(4);

/// While an old token holds, a fetch that failed is tried again after so long.
const AGAIN: Duration = Duration::from_secs(15);

/// Nobody waits longer for a new token while an old one holds; it comes when it comes.
const WAIT: Duration = Duration::from_secs(3);

/// Tokens and where they may go: kept until near their end, fetched once however many ask.
#[derive(Debug, Clone)]
pub struct Tokens {
    scope: Scope,
    cache: Option<Arc<Cache>>,
}

struct Cache {
    source: Arc<dyn TokenSource>,
    /// Fetches that have ended, well or not.
    fetches: AtomicU64,
    /// Held by who fetches.
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// What the last fetch ended with, if it failed: for those who waited for it.
    failed: Option<TokenError>,
}

struct Kept {
    token: Token,
    /// Absent = never.
    renew_at: Option<SystemTime>,
}

impl Tokens {
    /// For Google: sent to `https://*.googleapis.com` and nowhere else.
    pub fn google(source: Arc<dyn TokenSource>) -> Self {
        Self::new(Scope::Google, source)
    }

    /// For one other origin (scheme, host and port): the emulator's own token.
    pub fn origin(origin: &Url, source: Arc<dyn TokenSource>) -> Self {
        Self::new(Scope::Origin(origin.origin()), source)
    }

    /// None at all: an emulator that asks for none.
    pub fn anonymous() -> Self {
        Self {
            scope: Scope::Nowhere,
            cache: None,
        }
    }

    fn new(scope: Scope, source: Arc<dyn TokenSource>) -> Self {
        let cache = Cache {
            source,
            fetches: AtomicU64::new(0),
            turn: Arc::default(),
            state: Mutex::default(),
        };
        Self {
            scope,
            cache: Some(Arc::new(cache)),
        }
    }

    /// The token to send with a request to `url`; `None` if none may go there.
    ///
    /// The only way to a token, so that no caller can send one elsewhere by mistake.
    pub async fn token_for(&self, url: &Url) -> Result<Option<Token>, TokenError> {
        match &self.cache {
            Some(cache) if self.scope.allows(url) => cache.token().await.map(Some),
            _ => Ok(None),
        }
    }

    /// Forgets a token that was refused.
    pub(crate) fn reject(&self, token: &Token) {
        if let Some(cache) = &self.cache {
            let mut state = cache.state();
            // Somebody may have replaced it already.
            state.kept.take_if(|kept| kept.token == *token);
        }
    }

    /// Whether `url` is Google's, and these tokens are for Google.
    pub(crate) fn is_google(&self, url: &Url) -> bool {
        matches!(self.scope, Scope::Google) && is_google(url)
    }
}

impl Cache {
    async fn token(self: &Arc<Self>) -> Result<Token, TokenError> {
        let before = self.fetches.load(Ordering::Acquire);
        if let Some((token, is_fresh)) = self.kept() {
            if is_fresh {
                return Ok(token);
            }
            return Ok(self.renewed().await.unwrap_or(token));
        }
        let _turn = self.turn.lock().await;
        if let Some((token, _)) = self.kept() {
            return Ok(token);
        }
        let waited = self.fetches.load(Ordering::Acquire) != before;
        let failed = self.state().failed.as_ref().map(copy);
        if let Some(error) = failed.filter(|_| waited) {
            return Err(error);
        }
        self.fetch().await
    }

    /// A new token in place of one that holds a while yet, if it comes soon and nobody else has asked for it.
    async fn renewed(self: &Arc<Self>) -> Option<Token> {
        let turn = self.turn.clone().try_lock_owned().ok()?;
        let cache = Arc::clone(self);
        let renewal = tokio::spawn(async move {
            let fetched = cache.fetch().await;
            drop(turn);
            fetched
        });
        let renewed = tokio::time::timeout(WAIT, renewal).await;
        renewed.ok()?.ok()?.ok()
    }

    /// To be called by whose turn it is.
    async fn fetch(&self) -> Result<Token, TokenError> {
        let fetched = self.source.fetch().await;
        self.fetches.fetch_add(1, Ordering::Release);
        let mut state = self.state();
        match fetched {
            Ok(token) => {
                *state = State {
                    kept: Some(Kept::new(token.clone())),
                    failed: None,
                };
                Ok(token)
            }
            Err(error) => {
                if let Some(kept) = state.kept.as_mut().filter(|kept| kept.holds()) {
                    tracing::debug!("{error}: the token in hand holds a while yet");
                    kept.renew_at = Some(SystemTime::now() + AGAIN);
                    return Ok(kept.token.clone());
                }
                state.failed = Some(copy(&error));
                Err(error)
            }
        }
    }

    /// What is kept and not at its end, and whether it is not yet time to replace it.
    fn kept(&self) -> Option<(Token, bool)> {
        let state = self.state();
        let kept = state.kept.as_ref().filter(|kept| kept.holds())?;
        Some((kept.token.clone(), kept.is_fresh()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The metadata server may hand out a token that is near its end, and nothing fresher: such a one is used for
    /// half of what it has left, rather than fetched again for each request.
    fn new(token: Token) -> Self {
        let now = SystemTime::now();
        let renew_at = token.expires_at.map(|end| {
            let left = end.duration_since(now).unwrap_or_default();
            end - MARGIN.min(left / 2)
        });
        Self { token, renew_at }
    }

    /// Whether it is not yet time to replace it.
    fn is_fresh(&self) -> bool {
        self.renew_at.is_none_or(|time| SystemTime::now() < time)
    }

    fn holds(&self) -> bool {
        self.token.lasts(Duration::ZERO)
    }
}

/// The same for somebody else; what lies under it becomes text.
fn copy(error: &TokenError) -> TokenError {
    TokenError {
        message: error.message.clone(),
        hint: error.hint.clone(),
        transient: error.transient,
        source: error
            .source
            .as_ref()
            .map(|source| source.to_string().into()),
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;

    /// Counts its fetches; each token lasts for so many seconds.
    #[derive(Debug)]
    struct Counting {
        fetched: AtomicU64,
        lasts: u64,
        fails: bool,
    }

    #[async_trait]
    impl TokenSource for Counting {
        async fn fetch(&self) -> Result<Token, TokenError> {
            tokio::task::yield_now().await;
            let number = self.fetched.fetch_add(1, Ordering::Relaxed);
            if self.fails {
                return Err(TokenError::permanent("none today"));
            }
            let end = SystemTime::now() + Duration::from_secs(self.lasts);
            Ok(Token::new(format!("token-{number}"), Some(end)))
        }
    }

    fn tokens(lasts: u64, fails: bool) -> (Tokens, Arc<Counting>) {
        let source = Arc::new(Counting {
            fetched: AtomicU64::new(0),
            lasts,
            fails,
        });
        (Tokens::google(Arc::<Counting>::clone(&source)), source)
    }

    fn storage() -> Url {
        "https://storage.googleapis.com/".parse().unwrap()
    }

    async fn ask_together(tokens: &Tokens, count: usize) -> Vec<Result<Option<Token>, TokenError>> {
        let url = storage();
        futures_util::future::join_all((0..count).map(|_| tokens.token_for(&url))).await
    }

    #[tokio::test]
    async fn many_ask_and_one_fetches() {
        let (tokens, source) = tokens(3600, false);
        let got = ask_together(&tokens, 50).await;
        assert!(got.iter().all(|got| got.as_ref().unwrap().is_some()));
        assert_eq!(source.fetched.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn who_waited_for_a_failure_shares_it() {
        let (tokens, source) = tokens(3600, true);
        let got = ask_together(&tokens, 50).await;
        assert!(got.iter().all(Result::is_err));
        assert_eq!(source.fetched.load(Ordering::Relaxed), 1);
        assert!(tokens.token_for(&storage()).await.is_err());
        assert_eq!(
            source.fetched.load(Ordering::Relaxed),
            2,
            "a later caller asks again"
        );
    }

    #[tokio::test]
    async fn a_token_near_its_end_is_used_and_not_fetched_in_a_loop() {
        let (tokens, source) = tokens(30, false);
        for _ in 0..10 {
            assert!(tokens.token_for(&storage()).await.unwrap().is_some());
        }
        assert_eq!(source.fetched.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_token_past_its_end_is_replaced() {
        let (tokens, source) = tokens(0, false);
        for _ in 0..3 {
            tokens.token_for(&storage()).await.unwrap();
        }
        assert_eq!(source.fetched.load(Ordering::Relaxed), 3);
    }

    /// Gives one token that lasts for so many seconds, and fails ever after.
    #[derive(Debug)]
    struct Once(AtomicU64, u64);

    #[async_trait]
    impl TokenSource for Once {
        async fn fetch(&self) -> Result<Token, TokenError> {
            if self.0.fetch_add(1, Ordering::Relaxed) > 0 {
                return Err(TokenError::permanent("away"));
            }
            let end = SystemTime::now() + Duration::from_secs(self.1);
            Ok(Token::new("first", Some(end)))
        }
    }

    fn renew_now(tokens: &Tokens) {
        let mut state = tokens.cache.as_ref().unwrap().state();
        state.kept.as_mut().unwrap().renew_at = Some(SystemTime::now());
    }

    /// Gives one token, and no answer ever after.
    #[derive(Debug)]
    struct Hanging(AtomicU64);

    #[async_trait]
    impl TokenSource for Hanging {
        async fn fetch(&self) -> Result<Token, TokenError> {
            if self.0.fetch_add(1, Ordering::Relaxed) > 0 {
                std::future::pending::<()>().await;
            }
            let end = SystemTime::now() + Duration::from_secs(100);
            Ok(Token::new("first", Some(end)))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_source_that_hangs_while_a_token_holds() {
        let source = Arc::new(Hanging(AtomicU64::new(0)));
        let tokens = Tokens::google(Arc::<Hanging>::clone(&source));
        tokens.token_for(&storage()).await.unwrap();
        renew_now(&tokens);
        let begun = tokio::time::Instant::now();
        for _ in 0..5 {
            let got = ask_together(&tokens, 10).await;
            assert!(got.iter().all(|got| got.as_ref().unwrap().is_some()));
        }
        assert_eq!(begun.elapsed(), WAIT, "one caller waited, once");
        assert_eq!(source.0.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_token_that_holds_outlives_a_fetch_that_fails() {
        let source = Arc::new(Once(AtomicU64::new(0), 100));
        let tokens = Tokens::google(Arc::<Once>::clone(&source));
        let first = tokens.token_for(&storage()).await.unwrap().unwrap();
        renew_now(&tokens);
        for _ in 0..10 {
            assert_eq!(tokens.token_for(&storage()).await.unwrap().unwrap(), first);
        }
        assert_eq!(
            source.0.load(Ordering::Relaxed),
            2,
            "and is not asked each time"
        );
        tokens.reject(&first);
        assert!(
            tokens.token_for(&storage()).await.is_err(),
            "a refused one does not"
        );
    }

    #[tokio::test]
    async fn a_token_past_its_end_is_not_used_when_a_fetch_fails() {
        let tokens = Tokens::google(Arc::new(Once(AtomicU64::new(0), 0)));
        tokens.token_for(&storage()).await.unwrap();
        let error = tokens.token_for(&storage()).await.unwrap_err();
        assert_eq!(error.to_string(), "away");
    }

    #[tokio::test]
    async fn only_the_refused_token_is_forgotten() {
        let (tokens, source) = tokens(3600, false);
        let first = tokens.token_for(&storage()).await.unwrap().unwrap();
        tokens.reject(&first);
        let second = tokens.token_for(&storage()).await.unwrap().unwrap();
        assert_ne!(first, second);
        tokens.reject(&first);
        assert_eq!(tokens.token_for(&storage()).await.unwrap().unwrap(), second);
        assert_eq!(source.fetched.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn nothing_is_fetched_for_a_stranger() {
        let (tokens, source) = tokens(3600, false);
        let stranger = "https://evil.test/".parse().unwrap();
        assert_eq!(tokens.token_for(&stranger).await.unwrap(), None);
        assert_eq!(source.fetched.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn debug_shows_no_secret() {
        let (tokens, _) = tokens(3600, false);
        let token = tokens.token_for(&storage()).await.unwrap().unwrap();
        assert_eq!(token.secret(), "token-0");
        let shown = format!(
            "{tokens:?} {token:?} {:?}",
            crate::token::StaticToken(token.clone())
        );
        assert!(!shown.contains("token-0"), "{shown}");
    }
}
