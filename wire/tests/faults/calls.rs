//! Retries and errors of plain calls.

use reqwest::Method;
use serde_json::{Value, json};
use wire::api::{ApiError, ErrorKind};
use wire::token::Tokens;

use crate::script::{Act, Server, refusal, reply};
use crate::{api, chain};

async fn call(server: &Server, idempotent: bool) -> Result<Value, ApiError> {
    let url = server.url.join("/v2/thing").unwrap();
    let body = json!({"a": 1});
    api(Tokens::anonymous())
        .json("cannot do it", Method::POST, url, Some(&body), idempotent)
        .await
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        let server = Server::start([refusal(status, "x"), reply(200).text("{}").act()]).await;
        assert_eq!(call(&server, true).await.unwrap(), json!({}), "{status}");
        let seen = server.seen();
        assert_eq!(seen.len(), 2, "{status}");
        assert_eq!(seen[1].body, br#"{"a":1}"#);
        assert_eq!(seen[1].header("content-type"), Some("application/json"));
    }
}

/// Four callers side by side, half of whose calls are refused: a connection is made for each of them, or for one
/// that was quicker than expected, and not for each call.
#[tokio::test]
async fn connections_are_used_again_by_calls_side_by_side() {
    let answers = [refusal(404, "notFound"), reply(200).text("{}").act()];
    let server = Server::start(answers.into_iter().cycle().take(80)).await;
    let url = server.url.join("/v2/thing").unwrap();
    let api = api(Tokens::anonymous());
    let caller = || async {
        for _ in 0..20 {
            let done: Result<Value, ApiError> = api
                .json(
                    "cannot do it",
                    Method::GET,
                    url.clone(),
                    None::<&Value>,
                    true,
                )
                .await;
            assert!(done.is_ok() || done.is_err_and(|error| error.kind == ErrorKind::NotFound));
        }
    };
    tokio::join!(caller(), caller(), caller(), caller());
    assert_eq!(server.seen().len(), 80);
    assert!(server.connections() <= 8, "{}", server.connections());
}

#[tokio::test]
async fn what_will_not_pass_is_not() {
    let kinds = [
        (400, ErrorKind::Invalid),
        (401, ErrorKind::Unauthenticated),
        (403, ErrorKind::Forbidden),
        (404, ErrorKind::NotFound),
        (409, ErrorKind::Exists),
        (412, ErrorKind::Precondition),
        (302, ErrorKind::Protocol),
    ];
    for (status, kind) in kinds {
        let server = Server::start([refusal(status, "why")]).await;
        let error = call(&server, true).await.unwrap_err();
        assert_eq!(
            (error.kind, error.status, error.tries),
            (kind, Some(status), 1)
        );
        assert_eq!(error.reason.as_deref(), Some("why"));
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_call_that_may_have_acted_is_not_repeated_unless_that_is_safe() {
    let lost = [Act::Vanish, refusal(503, "backendError")];
    for act in lost {
        let server = Server::start([act]).await;
        let error = call(&server, false).await.unwrap_err();
        assert_eq!((error.kind, error.tries), (ErrorKind::Unavailable, 1));
        assert_eq!(server.seen().len(), 1);
    }
    for act in [
        refusal(429, "rateLimitExceeded"),
        refusal(403, "quotaExceeded"),
    ] {
        let server = Server::start([act, reply(200).act()]).await;
        assert_eq!(call(&server, false).await.unwrap(), Value::Null);
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_cut_answer_is_asked_for_again() {
    let whole = reply(200).text(r#"{"items":[1,2,3]}"#);
    let server = Server::start([Act::Cut(whole.clone(), 7), whole.act()]).await;
    assert_eq!(
        call(&server, true).await.unwrap(),
        json!({"items": [1, 2, 3]})
    );
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn the_error_tells_how_often_it_was_tried_and_what_the_server_said() {
    let server = Server::start(vec![refusal(503, "backendError"); 5]).await;
    let error = call(&server, true).await.unwrap_err();
    assert_eq!((error.kind, error.tries), (ErrorKind::Unavailable, 5));
    assert_eq!(chain(&error), "cannot do it: the server answered 503: no");
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_even_if_repeating_were_unsafe() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let api = api(Tokens::anonymous());
    let error = api
        .json(
            "cannot do it",
            Method::POST,
            url.parse().unwrap(),
            None,
            false,
        )
        .await;
    let error = error.unwrap_err();
    assert_eq!((error.kind, error.tries), (ErrorKind::Unavailable, 5));
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_named_as_such() {
    let server = Server::start([reply(200).text("<html>log in here</html>").act()]).await;
    assert_eq!(
        call(&server, true).await.unwrap_err().kind,
        ErrorKind::Protocol
    );
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = Server::start([]).await;
    let away = reply(307).header("location", &other.url);
    let server = Server::start([away.act()]).await;
    assert_eq!(
        call(&server, true).await.unwrap_err().kind,
        ErrorKind::Protocol
    );
    assert!(other.seen().is_empty());
}
