//! What can go wrong with a call.

use std::time::Duration;

/// With the haste of the tests five minutes.
const OUTAGE: Duration = Duration::from_secs(10);

/// What the proxy does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection breaks, and no new one is taken for a while.
    Refuse,
    /// It breaks before the body.
    ResetAtOnce,
    /// It breaks in the middle of the body.
    ResetInRequest,
    /// It breaks after the request, which the server never sees.
    ResetUnheard,
    /// The server does it, and the connection breaks before the answer.
    LostAnswer,
    /// It breaks in the middle of the answer.
    ResetInAnswer,
    /// The answer's body ends in its middle, in good order.
    Truncated,
    /// It breaks after the answer.
    ResetAfter,
    /// The server never sees it, and nothing comes.
    StallUnheard,
    /// The server does it, and nothing comes.
    StallDone,
    /// Half of the answer comes, and nothing more.
    StallInAnswer,
    /// The answer comes in small pieces.
    Drip,
    /// The answer comes twice over the same connection.
    AnswerTwice,
    /// The server does it twice; the second answer comes.
    DoneTwice,
    /// A status, and after how many seconds to come back.
    Status(u16, Option<u32>),
    /// The server does it, and a gateway says 503.
    DoneAnd503,
    /// 503 for longer than most calls are tried again.
    Outage,
    /// 401 once: the token has expired.
    Expired,
    /// 401 for ever.
    Unauthenticated,
    /// 403 with `rateLimitExceeded`, once.
    RateLimit,
    /// 403 for ever.
    Forbidden,
    /// A bit of the object flips on its way to the server.
    FlipUp,
    /// A bit of the object flips on its way back.
    FlipDown,
    /// The checksum that comes with the object is another's.
    WrongHash,
}

impl Fault {
    /// For how long it strikes every such call, and not the first alone.
    pub(crate) fn lasts(self) -> Duration {
        match self {
            Self::Outage => OUTAGE,
            Self::Unauthenticated | Self::Forbidden => Duration::MAX,
            _ => Duration::ZERO,
        }
    }

    pub(crate) fn name(self) -> String {
        let name = match self {
            Self::Refuse => "down",
            Self::ResetAtOnce => "reset at once",
            Self::ResetInRequest => "reset in request",
            Self::ResetUnheard => "reset unheard",
            Self::LostAnswer => "answer lost",
            Self::ResetInAnswer => "reset in answer",
            Self::Truncated => "truncated",
            Self::ResetAfter => "reset after",
            Self::StallUnheard => "stall unheard",
            Self::StallDone => "stall done",
            Self::StallInAnswer => "stall in answer",
            Self::Drip => "drip",
            Self::AnswerTwice => "answer twice",
            Self::DoneTwice => "done twice",
            Self::Status(code, None) => return code.to_string(),
            Self::Status(code, Some(_)) => return format!("{code} + retry-after"),
            Self::DoneAnd503 => "done, 503",
            Self::Outage => "503 for long",
            Self::Expired => "401 once",
            Self::Unauthenticated => "401 for ever",
            Self::RateLimit => "403 rate",
            Self::Forbidden => "403 for ever",
            Self::FlipUp => "bit flips up",
            Self::FlipDown => "bit flips down",
            Self::WrongHash => "wrong hash",
        };
        name.to_owned()
    }
}
