//! Lists of objects.

use serde_json::json;

use crate::harness::{BUCKET, Server, json_of, refused};

async fn names(server: &Server, query: &str) -> serde_json::Value {
    let page = json_of(server.get(&format!("/storage/v1/b/{BUCKET}/o?{query}"))).await;
    let items = page["items"]
        .as_array()
        .map(|items| items.iter().map(|item| item["name"].clone()).collect());
    let items: Vec<serde_json::Value> = items.unwrap_or_default();
    json!([
        items,
        page["prefixes"].as_array().cloned().unwrap_or_default()
    ])
}

#[tokio::test]
async fn lists_filter_and_group() {
    let server = Server::start().await;
    for name in ["a/", "a/1", "a/b/2", "a/b/3", "b", "c.txt", "d/x.txt"] {
        server.put(name, name).await;
    }
    assert_eq!(
        names(&server, "prefix=a/").await,
        json!([["a/", "a/1", "a/b/2", "a/b/3"], []])
    );
    assert_eq!(
        names(&server, "delimiter=/").await,
        json!([["b", "c.txt"], ["a/", "d/"]])
    );
    assert_eq!(
        names(&server, "delimiter=/&prefix=a/").await,
        json!([["a/", "a/1"], ["a/b/"]])
    );
    let trailing = names(&server, "delimiter=/&includeTrailingDelimiter=true").await;
    assert_eq!(trailing, json!([["a/", "b", "c.txt"], ["a/", "d/"]]));
    assert_eq!(
        names(&server, "startOffset=b&endOffset=d").await,
        json!([["b", "c.txt"], []])
    );
    assert_eq!(
        names(&server, "matchGlob=*.txt").await,
        json!([["c.txt"], []])
    );
    assert_eq!(
        names(&server, "matchGlob=**.txt").await,
        json!([["c.txt", "d/x.txt"], []])
    );
    assert_eq!(names(&server, "prefix=zzz").await, json!([[], []]));
    let page = json_of(server.get(&format!("/storage/v1/b/{BUCKET}/o?prefix=zzz"))).await;
    assert!(page.get("items").is_none());
    refused(
        server.get(&format!("/storage/v1/b/{BUCKET}/o?pageToken=*")),
        400,
    )
    .await;
}

#[tokio::test]
async fn pages_cover_everything_once() {
    let server = Server::start().await;
    for index in 0..7 {
        server.put(&format!("p{index}/x"), "").await;
        server.put(&format!("q{index}"), "").await;
    }
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let query = format!(
            "delimiter=/&maxResults=3&fields=items(name),prefixes,nextPageToken&pageToken={token}"
        );
        let page = json_of(server.get(&format!("/storage/v1/b/{BUCKET}/o?{query}"))).await;
        assert!(page.get("kind").is_none());
        let items = page["items"].as_array().into_iter().flatten();
        let items: Vec<String> = items
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect();
        let prefixes = page["prefixes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| p.as_str().unwrap().to_owned());
        let count = seen.len();
        seen.extend(items.into_iter().chain(prefixes));
        assert!(seen.len() - count <= 3);
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    seen.sort();
    let expected: Vec<String> = (0..7)
        .map(|i| format!("p{i}/"))
        .chain((0..7).map(|i| format!("q{i}")))
        .collect();
    assert_eq!(seen, expected);
}
