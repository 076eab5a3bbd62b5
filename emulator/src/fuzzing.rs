//! What the fuzz targets reach, and nobody else.

use bytes::Bytes;

use crate::body::Source;
use crate::storage::multipart::{Parts, boundary};

/// The headers and the data of each part.
pub type Part = (Vec<(String, String)>, Vec<u8>);

/// Reads a multipart body that arrives in pieces of `step` bytes; `Err` if it is none.
pub fn multipart(content_type: &str, body: &[u8], step: usize) -> Result<Vec<Part>, ()> {
    let pieces = body.chunks(step).map(Bytes::copy_from_slice);
    let reading = async {
        let mut source = Source::pieces(pieces);
        let boundary = boundary(content_type).map_err(drop)?;
        let mut parts = Parts::new(&mut source, &boundary);
        let mut found = Vec::new();
        while let Some(headers) = parts.next().await.map_err(drop)? {
            let data = parts.collect(1 << 20).await.map_err(drop)?;
            found.push((headers, data.to_vec()));
        }
        Ok(found)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.map_err(drop)?.block_on(reading)
}
