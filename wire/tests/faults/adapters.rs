//! The blocking reader and writer.

use std::io::{self, Read, Write};

use tokio::runtime::Handle;
use wire::api::{ApiError, ErrorKind};
use wire::bucket::ObjectMeta;

use crate::script::{Act, Server, media, noise, object, partial, refusal, reply};
use crate::{absent, bucket};

const CHUNK: usize = 512 * 1024;

fn begun() -> Act {
    reply(200).header("location", "/session?upload_id=1").act()
}

async fn read_all(server: &Server) -> io::Result<Vec<u8>> {
    let download = bucket(server).download("o", None).await.unwrap();
    let mut reader = download.into_reader(&Handle::current());
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        assert_eq!(reader.read(&mut [0; 8])?, 0, "the end stays the end");
        Ok(bytes)
    });
    reading.await.unwrap()
}

async fn write_all(server: &Server, bytes: Vec<u8>) -> io::Result<ObjectMeta> {
    let upload = bucket(server)
        .with_chunk_size(CHUNK)
        .upload("o", &absent())
        .await
        .unwrap();
    let mut writer = upload.into_writer(&Handle::current());
    let writing = tokio::task::spawn_blocking(move || {
        for piece in bytes.chunks(70_001) {
            writer.write_all(piece)?;
        }
        writer.finish()
    });
    writing.await.unwrap()
}

#[tokio::test]
async fn a_reader_gives_all_bytes_though_the_connection_breaks() {
    let bytes = noise(1_000_000);
    let server = Server::start([
        Act::Cut(media(&bytes, 7), 333_333),
        partial(&bytes, 7, 333_333).act(),
    ])
    .await;
    assert!(read_all(&server).await.unwrap() == bytes);
    server.seen();
}

#[tokio::test]
async fn a_readers_error_is_the_downloads() {
    let bytes = noise(1_000);
    let server = Server::start([Act::Cut(media(&bytes, 7), 500), refusal(404, "notFound")]).await;
    let error = ApiError::from_io(read_all(&server).await.unwrap_err()).unwrap();
    assert_eq!((error.kind, error.status), (ErrorKind::NotFound, Some(404)));
}

#[tokio::test]
async fn a_reader_does_not_take_a_damaged_end_for_the_end() {
    let mut damaged = media(&noise(200_000), 7);
    damaged.body[0] ^= 1;
    let server = Server::start([damaged.act()]).await;
    let error = ApiError::from_io(read_all(&server).await.unwrap_err()).unwrap();
    assert_eq!(error.kind, ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_writer_makes_the_object() {
    let bytes = noise(CHUNK + 300_000);
    let stored = reply(308)
        .header("range", format!("bytes=0-{}", CHUNK - 1))
        .act();
    let server = Server::start([begun(), stored, object("o", &bytes, 9).act()]).await;
    assert_eq!(
        write_all(&server, bytes.clone()).await.unwrap().generation,
        9
    );
    let sent: Vec<u8> = server.seen()[1..]
        .iter()
        .flat_map(|seen| seen.body.clone())
        .collect();
    assert!(sent == bytes);
}

#[tokio::test]
async fn a_writers_error_is_the_uploads() {
    let server = Server::start([begun(), refusal(410, "gone")]).await;
    // Far more than may wait: the writer must notice while it writes.
    let error = write_all(&server, noise(8 * CHUNK)).await.unwrap_err();
    assert_eq!(
        ApiError::from_io(error).unwrap().kind,
        ErrorKind::SessionLost
    );
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_dropped_writer_abandons() {
    let (server, upload) = {
        let server = Server::start([begun(), reply(499).act()]).await;
        let upload = bucket(&server).upload("o", &absent()).await.unwrap();
        (server, upload)
    };
    let mut writer = upload.into_writer(&Handle::current());
    let dropping =
        tokio::task::spawn_blocking(move || writer.write_all(b"half").map(|()| drop(writer)));
    dropping.await.unwrap().unwrap();
    while !server.is_done() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(server.seen()[1].method, "DELETE");
}
