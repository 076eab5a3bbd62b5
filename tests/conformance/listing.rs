//! Listings.

use bytes::Bytes;
use wire::bucket::List;

use crate::objects::absent;
use crate::server::Subject;

async fn fill(subject: &Subject, names: &[&str]) {
    for name in names {
        let name = subject.name(name);
        subject
            .bucket
            .insert(&name, &absent(), Bytes::from_static(b"x"))
            .await
            .unwrap();
    }
}

/// The objects' and the prefixes' names, ours taken off.
async fn list(subject: &Subject, list: List<'_>) -> (Vec<String>, Vec<String>, Option<String>) {
    let page = subject.bucket.list(&list).await.unwrap();
    let short = |name: &str| name.strip_prefix(&subject.prefix).unwrap().to_owned();
    let objects = page
        .objects
        .iter()
        .map(|object| short(&object.name))
        .collect();
    (
        objects,
        page.prefixes.iter().map(|prefix| short(prefix)).collect(),
        page.next,
    )
}

pub(crate) async fn prefixes(subject: Subject) {
    fill(&subject, &["a", "b/1", "b/2", "c/d/1", "ca"]).await;
    let prefix = subject.prefix.clone();
    let all = List {
        prefix: &prefix,
        ..List::default()
    };
    let (objects, none, next) = list(&subject, all).await;
    assert_eq!(objects, ["a", "b/1", "b/2", "c/d/1", "ca"]);
    assert!(none.is_empty() && next.is_none());
    let top = List {
        prefix: &prefix,
        delimiter: Some("/"),
        ..List::default()
    };
    let (objects, prefixes, _) = list(&subject, top).await;
    assert_eq!(
        (objects, prefixes),
        (
            vec!["a".to_owned(), "ca".to_owned()],
            vec!["b/".to_owned(), "c/".to_owned()]
        )
    );
    let inner = subject.name("c");
    let (objects, _, _) = list(
        &subject,
        List {
            prefix: &inner,
            ..List::default()
        },
    )
    .await;
    assert_eq!(objects, ["c/d/1", "ca"]);
    let nothing = subject.name("nothing");
    let (objects, _, next) = list(
        &subject,
        List {
            prefix: &nothing,
            ..List::default()
        },
    )
    .await;
    assert!(objects.is_empty() && next.is_none());
}

pub(crate) async fn pages(subject: Subject) {
    let names: Vec<_> = (0..7).map(|number| format!("object-{number}")).collect();
    let borrowed: Vec<_> = names.iter().map(String::as_str).collect();
    fill(&subject, &borrowed).await;
    let (mut found, mut page, mut pages) = (Vec::new(), None, 0);
    loop {
        let prefix = subject.prefix.clone();
        let query = List {
            prefix: &prefix,
            max_results: Some(3),
            page: page.as_deref(),
            ..List::default()
        };
        let (objects, _, next) = list(&subject, query).await;
        assert!(objects.len() <= 3);
        found.extend(objects);
        pages += 1;
        page = next;
        if page.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (names, 3));
}

pub(crate) async fn offset(subject: Subject) {
    fill(&subject, &["1", "2", "3"]).await;
    let (prefix, start) = (subject.prefix.clone(), subject.name("2"));
    let query = List {
        prefix: &prefix,
        start_offset: Some(&start),
        ..List::default()
    };
    assert_eq!(list(&subject, query).await.0, ["2", "3"]);
}
